/*
 * Writing, reading, space and errors of the swap area (P10; PROMISES.md, "Swap
 * I/O").
 */
#include "tests/host/swap_rig.h"

/* ---- reading and writing --------------------------------------------------------------- */

static void test_round_trip_every_size(void **state)
{
    (void)state;
    for (uint32_t size = 1; size <= PAGE_SIZE; size += size < 600 || size > 4000 ? 1 : 37) {
        struct object *o = &objects[size % OBJECTS];
        assert_int_equal(write_and_wait(o, (uint16_t)size, size % 2), SWAP_OK);
        assert_int_equal(read_and_wait(o), SWAP_OK);
        drop(o);
    }
    audit();
    assert_int_equal(stats().slots_used, 0);
}

/* Full pages of one cluster: one request, one after the other on the disk. */
static void test_clusters(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 42; i++)
        assert_int_equal(write_sized(&objects[i], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(stats().writes, 3);
    assert_int_equal(write_sized(&objects[42], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(stats().writes, 3);
    swap_write_flush();
    swap_write_flush();
    assert_int_equal(stats().writes, 4);
    assert_int_equal(write_sized(&objects[43], PAGE_SIZE, false), SWAP_BUSY);
    disk_complete_all();
    assert_int_equal(write_sized(&objects[43], PAGE_SIZE, false), SWAP_OK);
    for (unsigned i = 0; i < 43; i++) {
        struct swap_extent extent;
        uint32_t generation;
        swap_slots_look(&swap.slots, objects[i].slot, &extent, &generation);
        assert_int_equal(extent.sector, i * 9);
    }
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(stats().pages_written, 44);
    audit();
}

/* Extents of five and four sectors share a cell. */
static void test_small_extents_share_cells(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 28; i++)
        assert_int_equal(write_sized(&objects[i], i % 2 ? 2000 : 2400, true), SWAP_OK);
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(stats().writes, 1);
    assert_int_equal(swap.cells.count - swap.cells.free, 14);
    for (unsigned i = 0; i < 28; i++)
        assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    audit();
}

/* A slot whose cluster is open, or on its way, is read correctly as well. */
static void test_read_before_written(void **state)
{
    (void)state;
    struct object *o = &objects[0], reader = { 0 };
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(write_sized(o, PAGE_SIZE, false), SWAP_OK);
        if (round)
            swap_write_flush();
        reader = *o;
        reader.io.done = on_read;
        reader.state = IN;
        reader.answers = 0;
        uint64_t reads = stats().reads;
        assert_int_equal(swap_read(&reader.io, o->slot), SWAP_OK);
        assert_int_equal(reader.answers, 0);
        disk_complete_all();
        assert_int_equal(reader.answers, 1);
        assert_int_equal(reader.status, SWAP_OK);
        assert_int_equal(o->status, SWAP_OK);
        assert_int_equal(stats().reads, reads);
        drop(o);
    }
    /* And when that cluster fails, its reader hears of an error. */
    expect_trouble = true;
    faults.write_error = 1000;
    assert_int_equal(write_sized(o, PAGE_SIZE, false), SWAP_OK);
    reader.io.done = on_read;
    reader.state = IN;
    assert_int_equal(swap_read(&reader.io, o->slot), SWAP_OK);
    disk_complete_all();
    assert_int_equal(reader.status, SWAP_IO_ERROR);
    assert_int_equal(o->status, SWAP_IO_ERROR);
}

static void test_reads_are_bounded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        while (write_sized(&objects[i], PAGE_SIZE, false) == SWAP_BUSY)
            disk_complete_all();
    }
    swap_write_flush();
    disk_complete_all();
    unsigned busy = 0;
    for (unsigned i = 0; i < 60; i++)
        busy += read_back(&objects[i]) == SWAP_BUSY;
    assert_int_equal(busy, 60 - 32);
    disk_complete_all();
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
}

/* A device that takes no more than one page at once. */
static void test_short_requests(void **state)
{
    (void)state;
    begin(NULL);
    device.max_sectors = 10;
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(write_and_wait(&objects[i], PAGE_SIZE, false), SWAP_OK);
        assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    }
}

/* ---- space ------------------------------------------------------------------------------ */

/* Whatever was written and freed before, N cells take N pages. */
static void test_capacity_is_a_promise(void **state)
{
    (void)state;
    format(8 + 9 * 300);
    swap_init();
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), 300);
    for (unsigned step = 0; step < 30000; step++) {
        struct object *o = any_in(rng_below(&rng, 100) < 52 ? ABSENT : STORED);
        if (o && o->state == STORED) {
            drop(o);
        } else if (o && stats().slots_used < 300) {
            enum swap_status status = write_any(o);
            if (status == SWAP_BUSY) {
                disk_complete_all();
                status = swap_write(&o->io, disk[0], 0 + PAGE_SIZE, false);
                assert_int_equal(status, SWAP_OK);
                o->state = OUT;
                o->slot = o->io.slot;
                o->size = PAGE_SIZE;
            }
            assert_int_equal(status, SWAP_OK);
        }
        if (rng_below(&rng, 4) == 0)
            disk_complete_all();
    }
    audit();
}

/* A large area that is used a little does not have its whole book made. */
static void test_book_grows_when_needed(void **state)
{
    (void)state;
    static struct swap_cells cells;
    static uint32_t taken[2000];
    uint32_t first, next = 0;
    swap_cells_init(&cells, 8 * 8192);
    for (uint32_t i = 0; i < 2000; i++)
        taken[i] = UINT32_MAX;
    for (uint32_t n = 0; n < 100000; n++, next = (next + 1) % 2000) {
        if (taken[next] != UINT32_MAX)
            swap_cells_give(&cells, taken[next]);
        assert_true(swap_cells_find(&cells, 1, &first) > 0);
        swap_cells_take(&cells, first);
        taken[next] = first;
    }
    assert_int_equal(cells.known, 8192);
    /* And it grows when the cells that are known are in use. */
    while (cells.free > 3 * 8192) {
        assert_true(swap_cells_find(&cells, 1, &first) > 0);
        swap_cells_take(&cells, first);
    }
    assert_in_range(cells.known, 5 * 8192, 7 * 8192);
}

/* Its first pages take no frame but their own; one behind them may lack two. */
static void test_book_directories(void **state)
{
    (void)state;
    static struct swap_book book;
    static const uint32_t indices[] = { 0, 31, 32, 1023, 1024, 65535 };
    const unsigned count = sizeof(indices) / sizeof(*indices);
    memset(&book, 0, sizeof(book));
    frames_allowed = 2;
    for (unsigned i = 0; i < count; i++)
        assert_null(swap_book_page(&book, indices[i]));
    assert_non_null(swap_book_make(&book, indices[0]));
    assert_non_null(swap_book_make(&book, indices[1]));
    assert_int_equal(book.frames, 2);
    for (; frames_allowed < 4; frames_allowed++) { /* no directory; that, but no page */
        assert_null(swap_book_make(&book, indices[2]));
        assert_null(swap_book_page(&book, indices[2]));
    }
    frames_allowed = FRAMES;
    for (unsigned i = 0; i < count; i++)
        *(uint32_t *)swap_book_make(&book, indices[i]) = i;
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(*(uint32_t *)swap_book_page(&book, indices[i]), i);
    assert_int_equal(book.frames, count + 3); /* directories of 32 to 1023, 1024, 65535 */
}

/* Two pages of the book, the second nearly empty: runs end with the area, the
 * search wraps, bad cells are passed over. */
static void test_cells_of_two_pages(void **state)
{
    (void)state;
    static struct swap_cells cells;
    const uint32_t page = 8192, count = page + 5;
    uint32_t first;
    swap_cells_init(&cells, count);
    for (uint32_t taken = 0; taken < page;) {
        uint32_t run = swap_cells_find(&cells, 14, &first);
        assert_int_equal(first, taken);
        assert_int_equal(run, page - taken < 14 ? page - taken : 14);
        for (uint32_t i = 0; i < run; i++)
            swap_cells_take(&cells, taken++);
    }
    assert_int_equal(swap_cells_find(&cells, 14, &first), 5);
    assert_int_equal(first, page);
    for (uint32_t i = 0; i < 5; i++)
        swap_cells_take(&cells, page + i);
    assert_int_equal(cells.free, 0);
    assert_int_equal(swap_cells_find(&cells, 14, &first), 0);
    for (uint32_t cell = 0; cell < count; cell += cell % 16 == 3 ? 10 : 1) {
        swap_cells_give(&cells, cell);
        assert_int_equal(swap_cells_find(&cells, 14, &first), 1);
        assert_int_equal(first, cell);
        swap_cells_take(&cells, cell);
    }
    for (uint32_t cell = 4000; cell < 4040; cell++)
        swap_cells_give(&cells, cell);
    swap_cells_set_bad(&cells, 4003);
    swap_cells_set_bad(&cells, 4003);
    swap_cells_set_bad(&cells, page + 4);
    assert_int_equal(cells.bad, 2);
    assert_int_equal(cells.free, 39);
    assert_int_equal(swap_cells_find(&cells, 14, &first), 14);
    assert_int_equal(first, 4004);
    assert_int_equal(swap_cells_find(&cells, 100, &first), 36);
    assert_int_equal(first, 4004);
    swap_cells_give(&cells, 4003);
    assert_int_equal(cells.free, 39);
}

static void test_full(void **state)
{
    (void)state;
    unsigned count = 0;
    enum swap_status status = SWAP_OK;
    while (status == SWAP_OK || status == SWAP_BUSY) {
        assert_true(count < OBJECTS);
        status = write_sized(&objects[count], PAGE_SIZE, false);
        count += status == SWAP_OK;
        if (status == SWAP_BUSY)
            disk_complete_all();
    }
    assert_int_equal(status, SWAP_FULL);
    assert_int_equal(count, swap_capacity_pages());
    disk_complete_all();
    audit();
    drop(&objects[count / 2]);
    assert_int_equal(write_and_wait(&objects[count], 5, true), SWAP_OK);
    assert_int_equal(write_sized(&objects[count + 1], PAGE_SIZE, false), SWAP_FULL);
    for (unsigned i = 0; i < count; i++)
        if (objects[i].state == STORED)
            assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    finish_all();
}

/* Each frame for the books may be the one that is not there. */
static void test_no_frames_for_books(void **state)
{
    (void)state;
    for (frames_allowed = 0; frames_allowed < 2; frames_allowed++) {
        for (int again = 0; again < 3; again++)
            assert_int_equal(write_sized(&objects[0], 100, true), SWAP_FULL);
        audit();
    }
    assert_int_equal(write_and_wait(&objects[0], 100, true), SWAP_OK);
    unsigned count = 1;
    while (write_and_wait(&objects[count], PAGE_SIZE, false) == SWAP_OK)
        count++;
    assert_int_equal(count, 512); /* one page of the slot table */
    audit();
    frames_allowed++;
    assert_int_equal(write_and_wait(&objects[count], PAGE_SIZE, false), SWAP_OK);
    finish_all();
}

static void test_books_are_small(void **state)
{
    (void)state;
    uint64_t before = stats().metadata_bytes;
    unsigned count = 0;
    while (count < 2000 && write_and_wait(&objects[count], PAGE_SIZE, false) == SWAP_OK)
        count++;
    uint64_t grown = stats().metadata_bytes - before;
    assert_in_range(grown, 8 * count, 8 * count + 2 * PAGE_SIZE);
    printf("figure: swap: books %llu bytes at rest, %llu more for %u slots\n",
           (unsigned long long)before, (unsigned long long)grown, count);
}

/* ---- errors ------------------------------------------------------------------------------ */

static void test_write_error(void **state)
{
    (void)state;
    expect_trouble = true;
    faults.failing_sectors_stay = true;
    uint64_t capacity = swap_capacity_pages();
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(write_sized(&objects[i], PAGE_SIZE, false), SWAP_OK);
    faults.write_error = 1000;
    swap_write_flush();
    disk_complete_all();
    faults.write_error = 0;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(objects[i].answers, 1);
        assert_int_equal(objects[i].status, SWAP_IO_ERROR);
    }
    assert_int_equal(stats().slots_used, 0);
    assert_int_equal(stats().sectors_bad, 90);
    assert_int_equal(swap_capacity_pages(), capacity - 10);
    audit();
    /* The disk asserts that the bad sectors are never written again. */
    expect_trouble = false;
    unsigned count = 0;
    while (count < OBJECTS && write_and_wait(&objects[count], PAGE_SIZE, false) == SWAP_OK)
        count++;
    assert_int_equal(count, capacity - 10);
    finish_all();
}

static void test_read_error(void **state)
{
    (void)state;
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    faults.read_errors_now = 2;
    assert_int_equal(read_and_wait(o), SWAP_OK);
    assert_int_equal(stats().retries, 2);
    faults.read_errors_now = 3;
    assert_int_equal(read_and_wait(o), SWAP_IO_ERROR);
    assert_int_equal(stats().read_errors, 5);
    assert_int_equal(read_and_wait(o), SWAP_OK);
}

static void test_gone(void **state)
{
    (void)state;
    expect_trouble = true;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(write_and_wait(&objects[i], PAGE_SIZE, false), SWAP_OK);
    for (unsigned i = 20; i < 50; i++)
        assert_int_equal(write_sized(&objects[i], PAGE_SIZE, false), SWAP_OK);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(read_back(&objects[i]), SWAP_OK);
    faults.gone = true;
    disk_complete_all();
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(objects[i].answers, 1);
        if (i < 10 || i >= 20)
            assert_int_equal(objects[i].status, SWAP_OFFLINE);
    }
    assert_false(stats().online);
    assert_int_equal(swap_capacity_pages(), 0);
    assert_int_equal(write_sized(&objects[60], 1, false), SWAP_OFFLINE);
    assert_int_equal(read_back(&objects[1]), SWAP_OFFLINE);
    swap_write_flush();
    finish_all();
}

/* Noticed by a read, while a cluster is open. */
static void test_gone_while_open(void **state)
{
    (void)state;
    expect_trouble = true;
    write_and_wait(&objects[0], PAGE_SIZE, false);
    assert_int_equal(write_sized(&objects[1], PAGE_SIZE, false), SWAP_OK);
    faults.gone = true;
    assert_int_equal(read_and_wait(&objects[0]), SWAP_OFFLINE);
    assert_int_equal(objects[1].answers, 1);
    assert_int_equal(objects[1].status, SWAP_OFFLINE);
    finish_all();
}

static void test_completed_twice(void **state)
{
    (void)state;
    faults.twice = true;
    assert_int_equal(write_and_wait(&objects[0], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(read_and_wait(&objects[0]), SWAP_OK);
    assert_int_equal(stats().strays, 2);
    audit();
}

/* Given back while the read is on its way, and taken again by another page. */
static void test_freed_during_read(void **state)
{
    (void)state;
    faults.in_order = true;
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    assert_int_equal(read_back(o), SWAP_OK);
    drop(o);
    assert_int_equal(write_sized(&objects[1], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(objects[1].slot.v, o->slot.v);
    disk_complete_all();
    assert_int_equal(o->status, SWAP_IO_ERROR);
    assert_int_equal(stats().tampered, 0);
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(read_and_wait(&objects[1]), SWAP_OK);
}

static void test_bad_slots(void **state)
{
    (void)state;
    struct swap_io io = { .done = on_read };
    expect_panic(swap_read(&io, (swap_slot_t){ 0 }));
    begin_open(NULL);
    write_and_wait(&objects[0], 10, true);
    expect_panic(swap_slot_free((swap_slot_t){ 1 }));
    begin_open(NULL);
    write_and_wait(&objects[0], 10, true);
    swap_slot_t slot = objects[0].slot;
    drop(&objects[0]);
    expect_panic(swap_slot_free(slot));
    begin_open(NULL);
    assert_int_equal(write_sized(&objects[0], 10, true), SWAP_OK);
    expect_panic(swap_slot_free(objects[0].slot));
}

/* A generation never comes back: its slot is not used again. */
static void test_generations_end(void **state)
{
    (void)state;
    write_and_wait(&objects[0], 10, true);
    swap_slot_t slot = objects[0].slot;
    drop(&objects[0]);
    swap_slots_entry(&swap.slots, slot)->generation = UINT32_MAX - 1;
    assert_int_equal(write_and_wait(&objects[0], 10, true), SWAP_OK);
    assert_int_equal(objects[0].slot.v, slot.v);
    assert_int_equal(read_and_wait(&objects[0]), SWAP_OK);
    drop(&objects[0]);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(write_and_wait(&objects[i], 10, true), SWAP_OK);
        assert_int_not_equal(objects[i].slot.v, slot.v);
    }
    assert_int_equal(swap.slots.retired, 1);
    audit();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN(test_round_trip_every_size),
        OPEN(test_clusters),
        OPEN(test_small_extents_share_cells),
        OPEN(test_read_before_written),
        OPEN(test_reads_are_bounded),
        OPEN(test_capacity_is_a_promise),
        OPEN(test_cells_of_two_pages),
        OPEN(test_book_grows_when_needed),
        OPEN(test_book_directories),
        OPEN(test_full),
        OPEN(test_no_frames_for_books),
        OPEN(test_books_are_small),
        OPEN(test_write_error),
        OPEN(test_read_error),
        OPEN(test_gone),
        OPEN(test_gone_while_open),
        OPEN(test_completed_twice),
        OPEN(test_freed_during_read),
        OPEN(test_bad_slots),
        OPEN(test_generations_end),
        OPEN(test_short_requests),
    };
    return cmocka_run_group_tests_name("swap", tests, NULL, NULL);
}
