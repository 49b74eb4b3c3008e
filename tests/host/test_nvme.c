/*
 * The NVMe driver on a controller made of variables: registers, admin commands,
 * queues as the specification has them. It can fail, be silent, lie and die.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/nvme.h"
#include "lib/rng.h"
#include "tests/host/fake_pci.h"
#include "tests/host/support.h"

#define SECTORS 4096u

static struct {
    uint64_t cap;
    uint32_t cc, aqa;
    uint64_t asq, acq;
    struct {
        uint64_t commands, completions;
        unsigned entries, head, tail, done;
    } pairs[2];
    unsigned enables;
    /* What it is like. */
    bool never_ready, never_stops, admin_silent, gone, fatal, hold, wrong_id, wrong_queue;
    uint8_t block_log, mdts;
    uint16_t metadata;
    uint64_t size, bad_lba;
    uint16_t io_status;
} device;
static uint8_t *store;

/* ---- the controller ------------------------------------------------------------------------- */

static void complete(unsigned pair, uint16_t id, unsigned status, unsigned queue)
{
    struct nvme_completion *at =
        (struct nvme_completion *)(uintptr_t)device.pairs[pair].completions +
        device.pairs[pair].done % device.pairs[pair].entries;
    uint16_t phase = device.pairs[pair].done / device.pairs[pair].entries % 2 == 0;
    device.pairs[pair].done++;
    *at = (struct nvme_completion){ .queue = (uint16_t)queue, .id = id };
    at->status = (uint16_t)(status << 1 | phase);
}

static void identify(const struct nvme_command *command)
{
    uint8_t *answer = (uint8_t *)(uintptr_t)command->prp1;
    uint32_t count = 1;
    memset(answer, 0, 4096);
    if (command->dw10 == 1) {
        memcpy(answer + 24, "Fake controller", 15);
        answer[77] = device.mdts;
        memcpy(answer + 516, &count, 4);
        return;
    }
    memcpy(answer, &device.size, 8);
    memcpy(answer + 128, &device.metadata, 2);
    answer[130] = device.block_log;
}

static void admin(const struct nvme_command *command)
{
    if (device.admin_silent)
        return;
    if (command->opcode == NVME_ADMIN_IDENTIFY)
        identify(command);
    if (command->opcode == NVME_ADMIN_CREATE_CQ) {
        device.pairs[1].completions = command->prp1;
        device.pairs[1].entries = (command->dw10 >> 16) + 1;
        assert_true(device.pairs[1].entries <= NVME_CAP_MQES(device.cap) + 1);
    }
    if (command->opcode == NVME_ADMIN_CREATE_SQ)
        device.pairs[1].commands = command->prp1;
    complete(0, command->id, 0, 0);
}

/* Byte `offset` of the command's data (4.3). */
static uint8_t *data_at(const struct nvme_command *command, uint64_t offset, uint64_t bytes)
{
    uint64_t first = 4096 - command->prp1 % 4096;
    if (offset < first)
        return (uint8_t *)(uintptr_t)(command->prp1 + offset);
    offset -= first;
    if (bytes - first <= 4096)
        return (uint8_t *)(uintptr_t)(command->prp2 + offset);
    uint64_t page = ((uint64_t *)(uintptr_t)command->prp2)[offset / 4096];
    assert_true(page % 4096 == 0);
    return (uint8_t *)(uintptr_t)(page + offset % 4096);
}

static void io(const struct nvme_command *command)
{
    uint64_t lba = command->dw10 | (uint64_t)command->dw11 << 32;
    uint64_t bytes = ((command->dw12 & 0xffff) + 1ull) * 512;
    bool bad = device.bad_lba >= lba && device.bad_lba < lba + bytes / 512;
    assert_true(lba + bytes / 512 <= SECTORS);
    assert_int_equal(command->nsid, 1);
    for (uint64_t at = 0; at < bytes && !bad; at += 512) {
        uint8_t *data = data_at(command, at, bytes);
        if (command->opcode == NVME_IO_WRITE)
            memcpy(store + lba * 512 + at, data, 512);
        else
            memcpy(data, store + lba * 512 + at, 512);
    }
    complete(1, device.wrong_id ? 999 : command->id, bad ? 0x281 : device.io_status,
             device.wrong_queue ? 7 : 1);
}

static void run(unsigned pair)
{
    while (device.pairs[pair].head != device.pairs[pair].tail) {
        const struct nvme_command *command =
            (struct nvme_command *)(uintptr_t)device.pairs[pair].commands + device.pairs[pair].head;
        device.pairs[pair].head = (device.pairs[pair].head + 1) % device.pairs[pair].entries;
        pair ? io(command) : admin(command);
    }
}

static unsigned waiting(void)
{
    return (device.pairs[1].tail + device.pairs[1].entries - device.pairs[1].head) %
           device.pairs[1].entries;
}

static uint32_t read_register(unsigned bar, unsigned offset, unsigned bytes)
{
    (void)bar;
    (void)bytes;
    if (device.gone)
        return UINT32_MAX;
    switch (offset) {
    case NVME_CAP:
        return (uint32_t)device.cap;
    case NVME_CAP + 4:
        return (uint32_t)(device.cap >> 32);
    case NVME_CC:
        return device.cc;
    case NVME_CSTS:
        return (device.fatal ? 2u : 0) |
               (device.never_stops || ((device.cc & 1) && !device.never_ready));
    }
    return 0;
}

static void enable(void)
{
    device.enables++;
    memset(device.pairs, 0, sizeof device.pairs);
    device.pairs[0].commands = device.asq;
    device.pairs[0].completions = device.acq;
    device.pairs[0].entries = (device.aqa & 0xfff) + 1;
}

static void write_register(unsigned bar, unsigned offset, unsigned bytes, uint32_t value)
{
    if (bar) /* the table of MSI-X */
        return;
    assert_int_equal(bytes, 4);
    switch (offset) {
    case NVME_CC:
        if (value & 1 && !(device.cc & 1))
            enable();
        device.cc = value;
        return;
    case NVME_AQA:
        device.aqa = value;
        return;
    case NVME_ASQ:
    case NVME_ASQ + 4:
        memcpy((char *)&device.asq + offset - NVME_ASQ, &value, 4);
        return;
    case NVME_ACQ:
    case NVME_ACQ + 4:
        memcpy((char *)&device.acq + offset - NVME_ACQ, &value, 4);
        return;
    case NVME_DOORBELLS:
        device.pairs[0].tail = value;
        run(0);
        return;
    case NVME_DOORBELLS + 8:
        device.pairs[1].tail = value;
        if (!device.hold && !device.gone)
            run(1);
        return;
    }
}

/* ---- what tests begin with ----------------------------------------------------------------------
 */

static void prepare(void)
{
    memset(&device, 0, sizeof device);
    fake_pci_reset(0x1b36, 0x0010, 1, 8, 2);
    fake_bar_set(0, 16384);
    fake_bar_set(4, 4096);
    fake_msix_add(4);
    fake_read = read_register;
    fake_write = write_register;
    device.cap = 1ull << 37 | 1 << 24 | 63;
    device.block_log = 9;
    device.size = SECTORS;
    device.bad_lba = UINT64_MAX;
    if (!store)
        store = malloc(SECTORS * 512);
    for (unsigned i = 0; i < SECTORS * 512; i++)
        store[i] = (uint8_t)(i / 512 * 7 + i);
}

static int setup(void **state)
{
    (void)state;
    prepare();
    fake_probe(&nvme_driver);
    assert_non_null(fake_queue);
    return 0;
}

/* ---- tests
 * ------------------------------------------------------------------------------------------ */

static void comes_up(void **state)
{
    (void)state;
    assert_string_equal(fake_queue->units[0].model, "Fake controller");
    assert_int_equal(fake_queue->units[0].device.sector_count, SECTORS);
    assert_int_equal(fake_queue->depth, 32);
    assert_int_equal(fake_queue->vector, FAKE_VECTOR);
    assert_int_equal(fake_messages, 1);
    assert_true(fake_bus_master());
}

static void moves_data(void **state)
{
    (void)state;
    static const uint32_t counts[] = { 1, 2, 7, 8, 9, 16, 17, 126, 255, 256 };
    for (unsigned i = 0; i < 10; i++) {
        struct block_request *r = fake_submit(i, false, 3 * i, counts[i]);
        assert_int_equal(fake_wait(i), BLOCK_OK);
        assert_memory_equal(r->buffer, store + 3 * i * 512, counts[i] * 512);
        memset(r->buffer, (int)i, counts[i] * 512);
        r = fake_submit(i, true, 1000 + i, counts[i]);
        memset(r->buffer, 0, 1);
        assert_int_equal(fake_wait(i), BLOCK_OK);
        assert_int_equal(store[(1000 + i) * 512 + 5], i);
    }
}

static void holds_many(void **state)
{
    (void)state;
    device.hold = true;
    for (unsigned i = 0; i < 40; i++)
        fake_submit(i, false, i, 8);
    assert_int_equal(waiting(), 32);
    run(1);
    device.hold = false;
    assert_true(disk_queue_interrupt(fake_queue));
    assert_true(disk_queue_interrupt(fake_queue));
    assert_int_equal(fake_done_count, 40);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(fake_requests[i].status, BLOCK_OK);
    assert_false(disk_queue_interrupt(fake_queue)); /* of nobody */
}

static void reports_errors(void **state)
{
    (void)state;
    device.bad_lba = 20;
    for (unsigned i = 0; i < 4; i++)
        fake_submit(i, i & 1, i * 8, 8);
    disk_queue_interrupt(fake_queue);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(fake_requests[i].status, i == 2 ? BLOCK_ERROR : BLOCK_OK);
    assert_int_equal(device.enables, 1);
}

static void lost_interrupts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        fake_submit(i, false, i, 1);
        assert_false(fake_done[i]);
        fake_now += (i < 3 ? 101 : 2) * FAKE_MS;
        disk_queue_poll(fake_queue, fake_now);
        assert_true(fake_done[i]);
    }
}

/* The one that is late is to blame; the others are tried again, alone. */
static void times_out(void **state)
{
    (void)state;
    device.hold = true;
    fake_submit(0, false, 0, 1);
    fake_now += 18000 * FAKE_MS;
    for (unsigned i = 1; i < 4; i++)
        fake_submit(i, false, i, 1);
    fake_now += 15000 * FAKE_MS;
    disk_queue_poll(fake_queue, fake_now);
    assert_int_equal(device.enables, 2);
    assert_int_equal(fake_requests[0].status, BLOCK_TIMEOUT);
    assert_int_equal(fake_done_count, 1);
    assert_int_equal(waiting(), 1);
    device.hold = false;
    run(1);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(fake_wait(i), BLOCK_OK);
    assert_int_equal(device.enables, 2);
}

static void never_answers(void **state)
{
    (void)state;
    device.hold = true;
    for (unsigned i = 0; i < 12; i++) {
        fake_submit(i, false, i, 1);
        assert_int_equal(fake_wait(i), i < 8 ? BLOCK_TIMEOUT : BLOCK_GONE);
    }
    assert_false(fake_bus_master());
}

static void garbage_completions(void **state)
{
    bool *kinds[] = { &device.wrong_id, &device.wrong_queue };
    for (unsigned kind = 0; kind < 2; kind++) {
        setup(state);
        *kinds[kind] = true;
        fake_submit(0, false, 0, 1);
        fake_submit(1, false, 1, 1);
        *kinds[kind] = false; /* for once */
        disk_queue_interrupt(fake_queue);
        assert_int_equal(fake_wait(0), BLOCK_OK);
        assert_int_equal(fake_wait(1), BLOCK_OK);
        *kinds[kind] = true; /* always */
        for (unsigned i = 2; i < 12; i++) {
            fake_submit(i, false, i, 1);
            enum block_status status = fake_wait(i);
            assert_true(status == BLOCK_ERROR || status == BLOCK_GONE);
        }
        assert_true(fake_queue->units[0].gone);
    }
}

static void dies(void **state)
{
    for (unsigned kind = 0; kind < 3; kind++) {
        setup(state);
        device.hold = true;
        for (unsigned i = 0; i < 40; i++)
            fake_submit(i, false, i, 1);
        device.gone = kind == 0;
        device.never_ready = kind == 1;
        device.never_stops = kind == 2;
        for (unsigned i = 0; i < 40; i++)
            assert_int_equal(fake_wait(i), BLOCK_GONE);
        assert_false(fake_bus_master());
        fake_submit(40, false, 0, 1);
        assert_int_equal(fake_wait(40), BLOCK_GONE);
    }
}

static void fatal_status(void **state)
{
    (void)state;
    device.hold = device.fatal = true;
    fake_submit(0, false, 0, 1);
    assert_int_equal(fake_wait(0), BLOCK_GONE);
}

static unsigned units(void)
{
    unsigned count = 0;
    fake_probe(&nvme_driver);
    for (unsigned i = 0; fake_queue && i < DISK_UNIT_MAX; i++)
        count += fake_queue->units[i].present;
    return count;
}

static void refuses(void **state)
{
    (void)state;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        prepare();                                                                                 \
        change;                                                                                    \
        assert_int_equal(units(), 0);                                                              \
    } while (0)
    REFUSED(device.gone = true);
    REFUSED(device.cap = UINT64_MAX);
    REFUSED(device.cap &= ~(1ull << 37)); /* no NVM commands */
    REFUSED(device.cap &= ~0xffffull);    /* queues of one entry */
    REFUSED(device.cap |= 1ull << 48);    /* pages of 8 KiB at least */
    REFUSED(device.cap |= 15ull << 32);   /* doorbells outside of the BAR */
    REFUSED(device.never_ready = true);
    REFUSED(device.never_stops = true);
    REFUSED(device.admin_silent = true);
    REFUSED(device.fatal = true);
    REFUSED(device.block_log = 12);
    REFUSED(device.metadata = 8);
    REFUSED(device.size = 0);
    REFUSED(device.size = UINT64_MAX);
    REFUSED(fake_bar_set(0, 4096));
}

static void small_queues(void **state)
{
    (void)state;
    prepare();
    device.cap = (device.cap & ~0xffffull) | 1; /* two entries */
    assert_int_equal(units(), 1);
    assert_int_equal(fake_queue->depth, 1);
    for (unsigned i = 0; i < 10; i++)
        fake_submit(i, false, i, 3);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(fake_wait(i), BLOCK_OK);
}

static void random_begin(struct rng *rng)
{
    (void)rng;
    setup(NULL);
}

static void random_vary(struct rng *rng)
{
    device.hold = rng_below(rng, 3) == 0;
    device.wrong_id = rng_below(rng, 40) == 0;
    device.bad_lba = rng_below(rng, 4000);
    device.gone |= rng_below(rng, 2000) == 0;
}

static void random_answer(void)
{
    if (device.pairs[1].entries && !device.gone)
        run(1);
}

static void random_calm(void)
{
    device.wrong_id = device.hold = false;
}

static void random_hardware(void **state)
{
    (void)state;
    fake_random_hardware(&(struct fake_hardware){ "controllers", &store, random_begin, random_vary,
                                                  random_answer, random_calm });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(comes_up, setup),
        cmocka_unit_test_setup(moves_data, setup),
        cmocka_unit_test_setup(holds_many, setup),
        cmocka_unit_test_setup(reports_errors, setup),
        cmocka_unit_test_setup(lost_interrupts, setup),
        cmocka_unit_test_setup(times_out, setup),
        cmocka_unit_test_setup(never_answers, setup),
        cmocka_unit_test(garbage_completions),
        cmocka_unit_test(dies),
        cmocka_unit_test_setup(fatal_status, setup),
        cmocka_unit_test(refuses),
        cmocka_unit_test(small_queues),
        cmocka_unit_test(random_hardware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
