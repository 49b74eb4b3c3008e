/*
 * Reading ahead, the swap area's part: which extents one request takes, and that it has no
 * effect when it cannot be made, or answers late, twice, or for slots given back.
 */
#include "tests/host/swap_rig.h"

#define PAGES 6u

static struct swap_io *ios[SWAP_AHEAD_MAX];

/* So many pages side by side on the disk. */
static void write_pages(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        assert_int_equal(write_sized(&objects[i], PAGE_SIZE, false), SWAP_OK);
    swap_write_flush();
    disk_complete_all();
    for (unsigned i = first; i < first + count; i++)
        assert_int_equal(objects[i].state, STORED);
}

static uint32_t choose(unsigned count)
{
    swap_slot_t slots[SWAP_AHEAD_MAX];
    for (unsigned i = 0; i < count; i++)
        slots[i] = objects[i].slot;
    return swap_ahead_choose(slots, count);
}

static enum swap_status start(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        objects[i].io.slot = objects[i].slot;
        objects[i].io.done = on_read;
        objects[i].answers = 0;
        ios[i] = &objects[i].io;
    }
    enum swap_status status = swap_ahead_start(ios, count);
    for (unsigned i = 0; i < count && status == SWAP_OK; i++)
        objects[i].state = IN;
    return status;
}

static void answered(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(objects[i].answers, 1);
        assert_int_equal(objects[i].status, SWAP_OK);
        assert_int_equal(objects[i].state, STORED);
    }
}

static void one_request(void **state)
{
    (void)state;
    write_pages(0, PAGES);
    uint64_t reads = stats().reads;
    assert_int_equal(choose(PAGES), (1u << PAGES) - 1);
    assert_int_equal(start(PAGES), SWAP_OK);
    disk_complete_all();
    answered(PAGES);
    assert_int_equal(stats().reads, reads + 1);
    finish_all();
}

/* Slots given back, and what is not on the disk yet, are left out. */
static void not_on_the_disk(void **state)
{
    (void)state;
    write_pages(0, PAGES);
    swap_slot_t slots[4] = { objects[0].slot, objects[1].slot, objects[2].slot };
    drop(&objects[1]);
    assert_int_equal(write_sized(&objects[1], PAGE_SIZE, false), SWAP_OK); /* in its cluster */
    slots[3] = (swap_slot_t){ 5000 };
    assert_int_equal(swap_ahead_choose(slots, 4), 1u | 4u);
    swap_write_flush();
    disk_complete_all();
    finish_all();
}

/* Between choice and start a slot has gone, or lies elsewhere now: nothing is started. */
static void changed_meanwhile(void **state)
{
    (void)state;
    write_pages(0, PAGES);
    swap_slot_t kept = objects[1].slot;
    objects[1].slot = (swap_slot_t){ 5000 };
    assert_int_equal(start(PAGES), SWAP_BUSY);
    objects[1].slot = kept;
    for (unsigned i = 100; i < 200; i += 10)
        write_pages(i, 10);
    objects[PAGES] = objects[199]; /* too far away */
    assert_int_equal(start(PAGES + 1), SWAP_BUSY);
    memset(&objects[PAGES], 0, sizeof(objects[PAGES]));
    assert_int_equal(queued, 0);
    assert_int_equal(start(PAGES), SWAP_OK);
    disk_complete_all();
    answered(PAGES);
    finish_all();
}

/* All groups are under way, and with them half of the device's queue. */
static void no_group(void **state)
{
    (void)state;
    write_pages(0, SWAP_GROUP_COUNT + 1);
    for (unsigned i = 0; i < SWAP_GROUP_COUNT; i++) {
        ios[0] = &objects[i + 1].io;
        objects[i + 1].io.slot = objects[i + 1].slot;
        objects[i + 1].io.done = on_read;
        objects[i + 1].state = IN;
        assert_int_equal(swap_ahead_start(ios, 1), SWAP_OK);
    }
    assert_int_equal(choose(1), 0);
    assert_int_equal(start(1), SWAP_BUSY);
    disk_complete_all();
    assert_int_equal(choose(1), 1);
    finish_all();
}

/* Given back while the request is under way: the answer is none. */
static void given_back(void **state)
{
    (void)state;
    write_pages(0, PAGES);
    assert_int_equal(start(PAGES), SWAP_OK);
    drop(&objects[2]);
    disk_complete_all();
    assert_int_equal(objects[2].status, SWAP_IO_ERROR);
    assert_int_equal(objects[2].state, ABSENT);
    finish_all();
}

static struct block_request *again;
static void answer_again(struct swap_io *io, enum swap_status status)
{
    on_read(io, status);
    swap_ahead_done(again); /* while the first answer is told */
}

/* An answer that comes twice is told once. */
static void answered_twice(void **state)
{
    (void)state;
    write_pages(0, PAGES);
    uint64_t strays = stats().strays;
    assert_int_equal(start(PAGES), SWAP_OK);
    again = container_of(queue.next, struct block_request, link);
    objects[0].io.done = answer_again;
    disk_complete_all();
    answered(PAGES);
    assert_int_equal(stats().strays, strays + 1);
    swap_ahead_done(again); /* and when all is over */
    answered(PAGES);
    assert_int_equal(stats().strays, strays + 2);
    finish_all();
}

static void offline(void **state)
{
    (void)state;
    write_pages(0, PAGES);
    swap_go_offline();
    assert_int_equal(choose(PAGES), 0);
    assert_int_equal(start(PAGES), SWAP_BUSY);
    finish_all();
}

/* Without memory for groups there is no reading ahead, and all else works. */
static void no_buffers(void **state)
{
    (void)state;
    uint8_t *kept[SWAP_GROUP_COUNT];
    write_pages(0, PAGES);
    for (unsigned i = 0; i < SWAP_GROUP_COUNT; i++) {
        kept[i] = swap.groups[i].buffer;
        swap.groups[i].buffer = NULL;
    }
    assert_int_equal(choose(PAGES), 0);
    assert_int_equal(start(PAGES), SWAP_BUSY);
    assert_int_equal(read_and_wait(&objects[0]), SWAP_OK);
    for (unsigned i = 0; i < SWAP_GROUP_COUNT; i++)
        swap.groups[i].buffer = kept[i];
    finish_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN(one_request), OPEN(not_on_the_disk), OPEN(changed_meanwhile), OPEN(no_group),
        OPEN(given_back),  OPEN(answered_twice),  OPEN(offline),           OPEN(no_buffers),
    };
    return cmocka_run_group_tests_name("swap_ahead", tests, NULL, NULL);
}
