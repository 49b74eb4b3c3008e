/*
 * drivers/ide.c on a channel made of variables: this file is the task file, the
 * two transfers and the clock. Shows what happens to a request when the drive
 * fails, is silent, loses interrupts or goes away.
 */
#include <stdio.h>
#include <string.h>

#include "drivers/clock.h"
#include "drivers/disk.h"
#include "drivers/ide.h"
#include "lib/rng.h"
#include "tests/host/support.h"

#define MS 1000000ull

static struct ide_channel channel;
static uint64_t now;
static bool drive_dead[2];
static bool command_refused;
static enum ide_progress next; /* what advance() finds */
static unsigned commands, resets, aborts;
static const struct ide_transfer *last_transfer;
static bool inside_submit;

/* ---- what ide.c stands on ---------------------------------------------------- */

uint64_t clock_now_ns(void)
{
    return now;
}
void pci_disable_dma(const struct pci_device *device)
{
    (void)device;
}
uint8_t ide_status(const struct ide_channel *c)
{
    (void)c;
    return ATA_STATUS_READY;
}
bool ide_select(const struct ide_channel *c, unsigned unit, unsigned lba_bits)
{
    (void)c;
    (void)lba_bits;
    return !drive_dead[unit];
}
bool ide_command(struct ide_channel *c, const struct ide_drive *drive,
                 const struct block_request *request)
{
    assert_ptr_equal(c->queue.slots[0].request, request);
    commands++;
    last_transfer = drive->transfer;
    return !command_refused && !drive_dead[drive->unit];
}
void ide_reset(const struct ide_channel *c)
{
    (void)c;
    resets++;
}

static void fake_prepare(struct ide_channel *c, const struct block_request *r)
{
    (void)c;
    (void)r;
}
static enum ide_progress fake_begin(struct ide_channel *c, const struct block_request *r)
{
    (void)c;
    (void)r;
    return IDE_PENDING;
}
static enum ide_progress fake_advance(struct ide_channel *c, const struct block_request *r)
{
    assert_ptr_equal(c->queue.slots[0].request, r);
    return next;
}
static void fake_abort(struct ide_channel *c)
{
    (void)c;
    aborts++;
}

#define FAKE(label)                                                                                \
    {                                                                                              \
        .name = label, .prepare = fake_prepare, .begin = fake_begin, .advance = fake_advance,      \
        .abort = fake_abort,                                                                       \
    }
const struct ide_transfer ide_dma = FAKE("DMA"), ide_pio = FAKE("PIO");

/* ---- requests ------------------------------------------------------------------ */

#define REQUESTS 16
static struct block_request requests[REQUESTS];
static unsigned done_count[REQUESTS], done_order[REQUESTS], done_total;
static struct block_request *again; /* submitted from done() */

static void submit(unsigned unit, struct block_request *request);

static void done(struct block_request *request)
{
    unsigned index = (unsigned)(request - requests);
    assert_false(inside_submit);
    assert_int_equal(done_count[index]++, 0);
    done_order[done_total++] = index;
    if (again) {
        struct block_request *follower = again;
        again = NULL;
        submit(request->sector >= 500, follower);
    }
}

static void submit(unsigned unit, struct block_request *request)
{
    request->done = done;
    inside_submit = true;
    disk_submit(&channel.drives[unit].disk->device, request);
    inside_submit = false;
}

static struct block_request *make_request(unsigned index)
{
    requests[index] = (struct block_request){ .sector = index, .sector_count = 1 };
    return &requests[index];
}

static int setup(void **state)
{
    (void)state;
    memset(&channel, 0, sizeof channel);
    disk_queue_init(&channel.queue, &ide_queue_ops, 1);
    for (unsigned unit = 0; unit < 2; unit++) {
        struct ide_drive *drive = &channel.drives[unit];
        drive->channel = &channel;
        drive->unit = unit;
        drive->transfer = &ide_dma;
        drive->disk = &channel.queue.units[unit];
        strcpy(drive->disk->name, unit ? "slave" : "master");
        assert_null(disk_unit_set(&channel.queue, unit, 1000, IDE_SECTORS_MAX));
        drive_dead[unit] = false;
    }
    now = 1000 * MS;
    next = IDE_PENDING;
    command_refused = false;
    commands = resets = aborts = done_total = 0;
    again = NULL;
    memset(done_count, 0, sizeof done_count);
    return 0;
}

/* ---- tests ------------------------------------------------------------------------ */

static void in_order(void **state)
{
    (void)state;
    assert_true(disk_queue_deadline(&channel.queue) == UINT64_MAX);
    for (unsigned i = 0; i < 4; i++)
        submit(0, make_request(i));
    assert_int_equal(commands, 1);
    next = IDE_DONE;
    for (unsigned i = 0; i < 4; i++)
        disk_queue_interrupt(&channel.queue);
    assert_int_equal(done_total, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(done_order[i], i);
        assert_int_equal(requests[i].status, BLOCK_OK);
    }
    disk_queue_interrupt(&channel.queue); /* of nobody */
    assert_true(disk_queue_deadline(&channel.queue) == UINT64_MAX);
}

static void drives_take_turns(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        submit(0, make_request(i));
    for (unsigned i = 4; i < 8; i++)
        submit(1, make_request(i));
    next = IDE_DONE;
    for (unsigned i = 0; i < 8; i++)
        disk_queue_interrupt(&channel.queue);
    static const unsigned expected[] = { 0, 4, 1, 5, 2, 6, 3, 7 };
    assert_memory_equal(done_order, expected, sizeof expected);
}

static void refuses(void **state)
{
    (void)state;
    struct block_request *r = make_request(0);
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        r = make_request(0);                                                                       \
        done_count[0] = done_total = 0;                                                            \
        change;                                                                                    \
        submit(0, r);                                                                              \
        assert_int_equal(done_total, 0);                                                           \
        assert_int_equal(disk_queue_deadline(&channel.queue), 0);                                               \
        disk_queue_poll(&channel.queue, now);                                                                   \
        assert_int_equal(done_total, 1);                                                           \
        assert_int_equal(r->status, BLOCK_REFUSED);                                                \
    } while (0)
    REFUSED(r->sector_count = 0);
    REFUSED(r->sector_count = IDE_SECTORS_MAX + 1);
    REFUSED(r->sector = 1000);
    REFUSED(r->sector = UINT64_MAX);
    REFUSED(r->sector = 999; r->sector_count = 2);
    REFUSED(r->buffer_address.v = 1);
    REFUSED(r->buffer_address.v = 4 * GIB);
    REFUSED(r->buffer_address.v = 4 * GIB - 512; r->sector_count = 2);
    assert_int_equal(commands, 0);
}

static void reports_errors(void **state)
{
    (void)state;
    submit(0, make_request(0));
    submit(0, make_request(1));
    next = IDE_FAILED;
    disk_queue_interrupt(&channel.queue);
    assert_int_equal(requests[0].status, BLOCK_ERROR);
    assert_int_equal(resets, 0);
    next = IDE_DONE;
    disk_queue_interrupt(&channel.queue);
    assert_int_equal(requests[1].status, BLOCK_OK);
}

static void times_out(void **state)
{
    (void)state;
    submit(0, make_request(0));
    submit(0, make_request(1));
    assert_true(disk_queue_deadline(&channel.queue) <= now + 100 * MS);
    now += 29999 * MS;
    disk_queue_poll(&channel.queue, now);
    assert_int_equal(done_total, 0);
    now += 2 * MS;
    disk_queue_poll(&channel.queue, now);
    assert_int_equal(requests[0].status, BLOCK_TIMEOUT);
    assert_int_equal(resets, 1);
    assert_int_equal(aborts, 1);
    /* The next one is tried. */
    assert_int_equal(commands, 2);
    next = IDE_DONE;
    disk_queue_interrupt(&channel.queue);
    assert_int_equal(requests[1].status, BLOCK_OK);
}

static void falls_back_to_pio(void **state)
{
    (void)state;
    next = IDE_TRANSFER_BROKE;
    for (unsigned i = 0; i < 3; i++) {
        submit(0, make_request(i));
        assert_ptr_equal(last_transfer, &ide_dma);
        disk_queue_interrupt(&channel.queue);
        assert_int_equal(requests[i].status, BLOCK_ERROR);
    }
    next = IDE_DONE;
    submit(0, make_request(3));
    assert_ptr_equal(last_transfer, &ide_pio);
    submit(1, make_request(4));
    disk_queue_interrupt(&channel.queue);
    assert_ptr_equal(last_transfer, &ide_dma); /* the other drive is not to blame */
}

static void goes_away(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        submit(0, make_request(i));
    submit(1, make_request(3));
    drive_dead[0] = true;
    now += 30001 * MS;
    disk_queue_poll(&channel.queue, now);
    disk_queue_poll(&channel.queue, now);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(requests[i].status, BLOCK_GONE);
    submit(0, make_request(4));
    disk_queue_poll(&channel.queue, now);
    assert_int_equal(requests[4].status, BLOCK_GONE);
    /* Its neighbour goes on. */
    next = IDE_DONE;
    disk_queue_interrupt(&channel.queue);
    assert_int_equal(requests[3].status, BLOCK_OK);
}

static void refused_commands(void **state)
{
    (void)state;
    command_refused = true;
    for (unsigned i = 0; i < 3; i++)
        submit(0, make_request(i));
    assert_int_equal(done_total, 0);
    for (unsigned i = 0; i < 4; i++)
        disk_queue_poll(&channel.queue, now);
    assert_int_equal(done_total, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(requests[i].status, BLOCK_TIMEOUT);
}

static void lost_interrupts(void **state)
{
    (void)state;
    next = IDE_DONE;
    for (unsigned i = 0; i < 3; i++) {
        submit(0, make_request(i));
        disk_queue_poll(&channel.queue, now + 99 * MS);
        assert_int_equal(done_total, i);
        now += 100 * MS;
        disk_queue_poll(&channel.queue, now);
        assert_int_equal(done_total, i + 1);
        assert_int_equal(requests[i].status, BLOCK_OK);
    }
    submit(0, make_request(3)); /* from now on it is looked at soon */
    now += 1 * MS;
    disk_queue_poll(&channel.queue, now);
    assert_int_equal(done_total, 4);
}

static void submits_from_done(void **state)
{
    (void)state;
    submit(0, make_request(0));
    again = make_request(1);
    next = IDE_DONE;
    disk_queue_interrupt(&channel.queue);
    assert_int_equal(done_total, 1);
    assert_int_equal(commands, 2);
    disk_queue_interrupt(&channel.queue);
    assert_int_equal(done_total, 2);
}

static void faults_on_purpose(void **state)
{
    (void)state;
    disk_fault_set(false, 2, 2);
    disk_fault_set(true, 1, 1);
    next = IDE_DONE;
    for (unsigned i = 0; i < 5; i++) {
        submit(0, make_request(i));
        disk_queue_interrupt(&channel.queue);
        assert_int_equal(requests[i].status, i == 1 || i == 2 ? BLOCK_ERROR : BLOCK_OK);
    }
    assert_int_equal(commands, 3);
    for (unsigned i = 5; i < 7; i++) {
        make_request(i)->operation = BLOCK_WRITE;
        submit(0, &requests[i]);
        disk_queue_interrupt(&channel.queue);
        assert_int_equal(requests[i].status, i == 5 ? BLOCK_ERROR : BLOCK_OK);
    }
}

/* Whatever the hardware does, each request ends exactly once. */
static void random_hardware(void **state)
{
    uint64_t rounds = support_number("BALLAST_STEPS", 20000), ends[BLOCK_REFUSED + 1] = { 0 };
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    for (uint64_t round = 0; round < rounds; round++) {
        setup(state);
        unsigned submitted = 0;
        for (unsigned step = 0; step < 60; step++) {
            next = (enum ide_progress)rng_below(&rng, 4);
            command_refused = rng_below(&rng, 20) == 0;
            drive_dead[1] |= rng_below(&rng, 100) == 0;
            now += rng_below(&rng, 10) ? rng_below(&rng, 200 * MS) : 6000 * MS;
            if (rng_below(&rng, 2) && submitted < REQUESTS) {
                struct block_request *request = make_request(submitted++);
                request->sector = rng_below(&rng, 1010);
                submit((unsigned)rng_below(&rng, 2), request);
            } else if (rng_below(&rng, 2)) {
                disk_queue_interrupt(&channel.queue);
            } else {
                disk_queue_poll(&channel.queue, now);
            }
        }
        for (unsigned i = 0; disk_queue_deadline(&channel.queue) != UINT64_MAX; i++) {
            assert_true(i < 200);
            now += 6000 * MS;
            disk_queue_poll(&channel.queue, now);
        }
        assert_int_equal(done_total, submitted);
        for (unsigned i = 0; i < submitted; i++)
            ends[requests[i].status]++;
    }
    printf("figure: %llu random channels; requests ok %llu, error %llu, time-out %llu, gone %llu, "
           "refused %llu\n",
           (unsigned long long)rounds, (unsigned long long)ends[BLOCK_OK],
           (unsigned long long)ends[BLOCK_ERROR], (unsigned long long)ends[BLOCK_TIMEOUT],
           (unsigned long long)ends[BLOCK_GONE], (unsigned long long)ends[BLOCK_REFUSED]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(in_order, setup),
        cmocka_unit_test_setup(drives_take_turns, setup),
        cmocka_unit_test_setup(refuses, setup),
        cmocka_unit_test_setup(reports_errors, setup),
        cmocka_unit_test_setup(times_out, setup),
        cmocka_unit_test_setup(falls_back_to_pio, setup),
        cmocka_unit_test_setup(goes_away, setup),
        cmocka_unit_test_setup(refused_commands, setup),
        cmocka_unit_test_setup(lost_interrupts, setup),
        cmocka_unit_test_setup(submits_from_done, setup),
        cmocka_unit_test(random_hardware),
        cmocka_unit_test_setup(faults_on_purpose, setup), /* last: it cannot be undone */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
