/*
 * The swap area against random operations, and against a disk that returns
 * something else than was written (P5, P6).
 */
#include "tests/host/swap_rig.h"

/* Half of the objects come and go; the rest of each step completes something. */
static void random_steps(uint64_t steps)
{
    for (uint64_t step = 0; step < steps; step++) {
        bool filling = step / 4000 % 2 == 0;
        struct object *o;
        uint64_t what = rng_below(&rng, 100);
        if (what < (filling ? 40u : 15u)) {
            o = any_in(ABSENT);
            if (o)
                write_any(o);
        } else if (what < 60) {
            o = any_in(STORED);
            if (o)
                read_back(o);
        } else if (what < (filling ? 70u : 85u)) {
            o = any_in(rng_below(&rng, 10) ? STORED : IN);
            if (o && !o->freed)
                drop(o);
        } else if (what < 88) {
            swap_write_flush();
        } else {
            for (uint64_t n = rng_below(&rng, 12); n; n--)
                disk_complete_one();
        }
        if (step % 64 == 0)
            audit();
    }
    swap_write_flush();
    disk_complete_all();
    audit();
}

static void test_random_operations(void **state)
{
    (void)state;
    random_steps(support_number("BALLAST_STEPS", 40000));
    for (unsigned i = 0; i < OBJECTS; i++)
        if (objects[i].state == STORED)
            assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    struct swap_stats s = stats();
    assert_int_equal(s.tampered + s.read_errors + s.write_errors + s.strays, 0);
    printf("figure: swap: %llu pages written in %llu requests, %llu read\n",
           (unsigned long long)s.pages_written, (unsigned long long)s.writes,
           (unsigned long long)s.pages_read);
    finish_all();
}

static void test_random_operations_with_errors(void **state)
{
    (void)state;
    expect_trouble = true;
    faults.read_error = 100;
    faults.write_error = 3;
    faults.failing_sectors_stay = true;
    random_steps(support_number("BALLAST_STEPS", 40000));
    struct swap_stats s = stats();
    assert_true(s.read_errors > 0 && s.write_errors > 0 && s.retries > 0);
    assert_int_equal(s.tampered, 0);
    finish_all();
}

/* Lost and torn writes: found by the tag, never wrong data. */
static void test_random_operations_with_lies(void **state)
{
    (void)state;
    faults.lose_write = 20;
    faults.tear_write = 20;
    random_steps(support_number("BALLAST_STEPS", 40000));
    unsigned refused = 0;
    for (unsigned i = 0; i < OBJECTS; i++)
        if (objects[i].state == STORED)
            refused += read_and_wait(&objects[i]) == SWAP_TAMPERED;
    assert_true(lost_or_torn > 0);
    assert_true(stats().tampered > 0);
    printf("figure: swap: %u lost or torn writes, %llu reads refused, no wrong page\n",
           lost_or_torn, (unsigned long long)stats().tampered);
    finish_all();
}

/* ---- the Nth request, the Nth frame (P10) --------------------------------------------------- */

/* A fixed course of writes, reads and frees; every request answered exactly once. */
static void fixed_course(void)
{
    for (unsigned i = 0; i < 60; i++) {
        enum swap_status status = write_any(&objects[i]);
        if (status == SWAP_BUSY)
            disk_complete_all();
        if (i % 7 == 6)
            swap_write_flush();
        if (i % 3 == 2)
            disk_complete_one();
        if (i >= 20 && objects[i - 20].state == STORED)
            read_back(&objects[i - 20]);
        if (i >= 40 && objects[i - 40].state == STORED)
            drop(&objects[i - 40]);
    }
    swap_write_flush();
    disk_complete_all();
    for (unsigned i = 0; i < OBJECTS; i++)
        assert_true(objects[i].state == ABSENT || objects[i].state == STORED);
    audit();
}

static void test_each_request_fails(void **state)
{
    static const enum block_status ways[] = { BLOCK_ERROR, BLOCK_TIMEOUT, BLOCK_GONE };
    fixed_course();
    unsigned requests = requests_ended;
    finish_all();
    for (unsigned way = 0; way < 3; way++)
        for (unsigned n = 1; n <= requests; n++) {
            begin_open(state);
            expect_trouble = true;
            faults.fail_as = ways[way];
            faults.fail_at = requests_ended + n;
            fixed_course();
            assert_int_equal(stats().online, !faults.gone);
            assert_int_equal(stats().tampered, 0);
            finish_all();
        }
    printf("figure: swap: each of %u requests failed in 3 ways, books exact\n", requests);
}

static void test_each_frame_is_refused(void **state)
{
    fixed_course();
    unsigned frames = frames_taken;
    for (unsigned n = 0; n <= frames; n++) {
        begin_open(state);
        frames_allowed = n;
        fixed_course();
        finish_all();
    }
}

/* ---- what comes back is not what was written (P5) ------------------------------------------ */

static uint8_t *on_disk(const struct object *o)
{
    struct swap_extent extent;
    uint32_t generation;
    assert_true(swap_slots_look(&swap.slots, o->slot, &extent, &generation));
    return disk[AREA_FIRST + SWAP_DATA_SECTOR + extent.sector];
}

static void test_flipped(void **state)
{
    (void)state;
    uint64_t flips = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct object *o = &objects[i];
        assert_int_equal(write_and_wait(o, i == 0 ? PAGE_SIZE : (uint16_t)(700 * i), i > 0),
                         SWAP_OK);
        uint8_t *bytes = on_disk(o);
        for (uint32_t bit = 0; bit < (32u + o->size) * 8; bit += i ? 1 : 3, flips++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(read_and_wait(o), SWAP_OK);
    }
    printf("figure: swap: %llu flipped bits, all refused\n", (unsigned long long)flips);
}

/* Every size the header could claim, with garbage behind it. */
static void test_hostile_headers(void **state)
{
    (void)state;
    struct object *o = &objects[0];
    assert_int_equal(write_and_wait(o, 1500, true), SWAP_OK);
    struct swap_extent_header *h = (struct swap_extent_header *)on_disk(o);
    for (uint32_t size = 0; size <= UINT16_MAX; size += size < 5000 ? 1 : 97) {
        h->size = (uint16_t)size;
        assert_int_equal(read_and_wait(o), size == 1500 ? SWAP_OK : SWAP_TAMPERED);
    }
    memset(h, 0, 4 * BLOCK_SECTOR_SIZE);
    assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
    memset(h, 0xff, 4 * BLOCK_SECTOR_SIZE);
    assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
}

/* An older content of the same slot at the same place. */
static void test_stale(void **state)
{
    (void)state;
    static uint8_t old[SWAP_CELL_BYTES];
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    swap_slot_t slot = o->slot;
    uint8_t *place = on_disk(o);
    memcpy(old, place, sizeof(old));
    drop(o);
    swap.cells.cursor = 0;
    write_and_wait(o, PAGE_SIZE, false);
    assert_int_equal(o->slot.v, slot.v);
    assert_ptr_equal(on_disk(o), place);
    assert_memory_not_equal(place, old, sizeof(old));
    assert_int_equal(read_and_wait(o), SWAP_OK);
    memcpy(place, old, sizeof(old));
    assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
}

static void test_misdirected(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        write_and_wait(&objects[i], PAGE_SIZE, false);
    for (unsigned i = 1; i < 8; i++) {
        static uint8_t kept[SWAP_CELL_BYTES];
        memcpy(kept, on_disk(&objects[0]), sizeof(kept));
        memcpy(on_disk(&objects[0]), on_disk(&objects[i]), sizeof(kept));
        assert_int_equal(read_and_wait(&objects[0]), SWAP_TAMPERED);
        memcpy(on_disk(&objects[0]), kept, sizeof(kept));
    }
    /* Nor does a header with the right number in front of it help. */
    struct swap_extent_header *a = (struct swap_extent_header *)on_disk(&objects[0]);
    uint64_t nonce = a->nonce;
    memcpy(a, on_disk(&objects[1]), SWAP_CELL_BYTES);
    a->nonce = nonce;
    assert_int_equal(read_and_wait(&objects[0]), SWAP_TAMPERED);
}

static void test_torn(void **state)
{
    (void)state;
    static uint8_t old[SWAP_CELL_BYTES], fresh[SWAP_CELL_BYTES];
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    uint8_t *place = on_disk(o);
    memcpy(old, place, sizeof(old));
    drop(o);
    swap.cells.cursor = 0;
    write_and_wait(o, PAGE_SIZE, false);
    assert_ptr_equal(on_disk(o), place);
    memcpy(fresh, place, sizeof(fresh));
    for (unsigned mask = 0; mask < 1u << SWAP_CELL_SECTORS; mask++) {
        for (unsigned s = 0; s < SWAP_CELL_SECTORS; s++)
            memcpy(place + s * 512, (mask >> s & 1 ? fresh : old) + s * 512, 512);
        bool whole = mask == (1u << SWAP_CELL_SECTORS) - 1;
        assert_int_equal(read_and_wait(o), whole ? SWAP_OK : SWAP_TAMPERED);
    }
}

/* A new boot has a new key: nothing from before is believed. */
static void test_key_is_per_boot(void **state)
{
    (void)state;
    static uint8_t before[SWAP_CELL_BYTES];
    write_and_wait(&objects[0], PAGE_SIZE, false);
    memcpy(before, on_disk(&objects[0]), sizeof(before));
    swap_init();
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    objects[0].state = ABSENT;
    write_and_wait(&objects[0], PAGE_SIZE, false);
    memcpy(on_disk(&objects[0]), before, sizeof(before));
    assert_int_equal(read_and_wait(&objects[0]), SWAP_TAMPERED);
}

/* Pages full of a canary: not one copy of it on the disk (P6). */
static void test_no_plain_text(void **state)
{
    (void)state;
    static const char canary[] = "BALLASTCANARY-7f3a";
    uint8_t page[PAGE_SIZE];
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        page[i] = (uint8_t)canary[i % (sizeof(canary) - 1)];
    for (unsigned i = 0; i < 100; i++) {
        objects[i].io.done = on_written;
        objects[i].state = OUT;
        while (swap_write(&objects[i].io, page, (uint16_t)(PAGE_SIZE - i * 31), i % 2) == SWAP_BUSY)
            disk_complete_all();
        objects[i].slot = objects[i].io.slot;
    }
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(stats().pages_written, 100);
    unsigned hits = 0;
    const uint8_t *bytes = (const uint8_t *)disk;
    for (size_t i = 0; i + 8 <= (size_t)DISK_SECTORS * BLOCK_SECTOR_SIZE; i++)
        hits += memcmp(bytes + i, canary, 8) == 0;
    assert_int_equal(hits, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN(test_random_operations),
        OPEN(test_random_operations_with_errors),
        OPEN(test_random_operations_with_lies),
        OPEN(test_each_request_fails),
        OPEN(test_each_frame_is_refused),
        OPEN(test_flipped),
        OPEN(test_hostile_headers),
        OPEN(test_stale),
        OPEN(test_misdirected),
        OPEN(test_torn),
        OPEN(test_key_is_per_boot),
        OPEN(test_no_plain_text),
    };
    return cmocka_run_group_tests_name("swap_damage", tests, NULL, NULL);
}
