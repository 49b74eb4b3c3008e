/*
 * The pool over a frame allocator of its own: random operations against a model
 * with an audit after each, compaction, write-back order, limits, and damage.
 */
#include "tests/host/support.h"

#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/frame.h"
#include "mm/hash.h"
#include "mm/machine.h"
#include "mm/pool_log.h"
#include "tests/host/fake_guard.h"
#include "tests/host/fake_pages.h"

/* ---- frames and machine ----------------------------------------------------- */

#define FRAME_BASE  100u /* numbers do not begin at 0 */
#define FRAME_COUNT 600u

static struct frame frames[FRAME_COUNT];
static uint8_t (*memory)[PAGE_SIZE];
static unsigned frames_taken, frames_allowed;
static struct rng rng;

struct frame *frame_at(pfn_t number)
{
    return number.v - FRAME_BASE < FRAME_COUNT ? &frames[number.v - FRAME_BASE] : NULL;
}

pfn_t frame_alloc(enum frame_kind kind, enum frame_urgency urgency)
{
    assert_int_equal(kind, FRAME_POOL);
    assert_int_equal(urgency, FRAME_RECLAIM);
    if (frames_taken >= frames_allowed)
        return PFN_NONE;
    uint32_t i = (uint32_t)rng_below(&rng, FRAME_COUNT);
    while (frames[i].kind != FRAME_FREE)
        i = (i + 1) % FRAME_COUNT;
    memset(&frames[i], 0xee, sizeof(frames[i]));
    frames[i].kind = (uint8_t)kind;
    frames_taken++;
    return pfn(FRAME_BASE + i);
}

void frame_free(pfn_t number)
{
    struct frame *frame = frame_at(number);
    assert_int_equal(frame->kind, FRAME_POOL);
    memset(frame, 0xdd, sizeof(*frame));
    frame->kind = FRAME_FREE;
    memset(memory[number.v - FRAME_BASE], 0xdd, PAGE_SIZE);
    frames_taken--;
}

void *machine_frame_map(pfn_t number)
{
    return memory[number.v - FRAME_BASE];
}

void machine_entropy(void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)rng_next(&rng);
}

/* ---- the model ----------------------------------------------------------------- */

#define PAGES 1500u

struct page {
    bool stored;
    pool_location_t at;
    uint64_t seed; /* of its content */
    enum page_kind kind;
    uint64_t age;
};
static struct page pages[PAGES];
static unsigned stored_count;
static unsigned refuse_moves; /* of 100 */
static uint64_t now;
static bool free_while_moving;

static struct pool_owner owner_of(uint32_t i)
{
    return (struct pool_owner){ .vm = (uint16_t)(i % 7), .gfn = i };
}

static void make(const struct page *p, uint8_t *content)
{
    struct rng own;
    rng_seed(&own, p->seed);
    fake_page_make(p->kind, &own, content);
}

static bool on_moved(struct pool_owner owner, pool_location_t from, pool_location_t to)
{
    struct page *p = &pages[owner.gfn];
    assert_int_equal(owner.vm, owner.gfn % 7);
    if (free_while_moving && p->stored && p->at.v == from.v && rng_below(&rng, 4) == 0) {
        pool_free(p->at, owner);
        p->stored = false;
        stored_count--;
    }
    if (!p->stored || p->at.v != from.v || rng_below(&rng, 100) < refuse_moves)
        return false;
    p->at = to;
    p->age = ++now;
    return true;
}
static const struct pool_ops ops = { .moved = on_moved };

static unsigned visited;
static bool on_visit(struct pool_owner owner, pool_location_t at, void *context)
{
    assert_ptr_equal(context, pages);
    assert_true(owner.gfn < PAGES && owner.vm == owner.gfn % 7);
    assert_true(pages[owner.gfn].stored);
    assert_true(pages[owner.gfn].at.v == at.v);
    visited++;
    return true;
}

static void audit(void)
{
    visited = 0;
    assert_true(pool_audit(on_visit, pages));
    assert_int_equal(visited, stored_count);
    struct pool_stats stats;
    pool_stats_get(&stats);
    assert_int_equal(stats.objects, stored_count);
    assert_int_equal(stats.frames, frames_taken);
    assert_true(stats.object_bytes <= stats.live_bytes);
    assert_true(stats.live_bytes <= stats.object_bytes + 15 * stats.objects);
}

static void load_and_compare(uint32_t i)
{
    static uint8_t wanted[PAGE_SIZE], *got;
    if (!got)
        got = fake_guard_end(PAGE_SIZE);
    memset(got, 0x11, PAGE_SIZE);
    make(&pages[i], wanted);
    assert_int_equal(pool_load(pages[i].at, owner_of(i), got), POOL_OK);
    assert_memory_equal(got, wanted, PAGE_SIZE);
}

/* Out of the pool, with and without clearing the caches after it. */
static void take_and_compare(uint32_t i)
{
    static uint8_t wanted[PAGE_SIZE], *got;
    struct pool_stats before, after;
    uint32_t size = 0;
    if (!got)
        got = fake_guard_end(PAGE_SIZE);
    memset(got, 0x11, PAGE_SIZE);
    make(&pages[i], wanted);
    pool_stats_get(&before);
    pool_set_discreet(i % 2);
    assert_int_equal(pool_take(pages[i].at, owner_of(i), got, &size), POOL_OK);
    pool_stats_get(&after);
    assert_memory_equal(got, wanted, PAGE_SIZE);
    assert_int_equal(before.object_bytes - after.object_bytes, size);
    assert_int_equal(pool_take(pages[i].at, owner_of(i), got, &size), POOL_DAMAGED);
    pages[i].stored = false;
    stored_count--;
}

static enum pool_result store(uint32_t i, enum page_kind kind)
{
    static uint8_t content[PAGE_SIZE];
    struct page *p = &pages[i];
    p->seed = rng_next(&rng);
    p->kind = kind;
    make(p, content);
    enum pool_result result = pool_store(owner_of(i), content, &p->at);
    if (result == POOL_OK) {
        p->stored = true;
        p->age = ++now;
        stored_count++;
    }
    return result;
}

static void drop(uint32_t i)
{
    pool_free(pages[i].at, owner_of(i));
    pages[i].stored = false;
    stored_count--;
}

static enum page_kind any_kind(void)
{
    return (enum page_kind)rng_below(&rng, PAGE_KIND_COUNT);
}

static int begin(void **state)
{
    (void)state;
    if (!memory)
        memory = fake_guard_end((size_t)FRAME_COUNT * PAGE_SIZE);
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    memset(frames, 0, sizeof(frames));
    for (unsigned i = 0; i < FRAME_COUNT; i++)
        frames[i].kind = FRAME_FREE;
    memset(pages, 0, sizeof(pages));
    stored_count = frames_taken = refuse_moves = 0;
    frames_allowed = FRAME_COUNT;
    free_while_moving = false;
    hash_init();
    pool_init(&ops, UINT32_MAX);
    return 0;
}

/* ---- tests ------------------------------------------------------------------------ */

static void test_store_load_free(void **state)
{
    (void)state;
    audit();
    for (uint32_t i = 0; i < 60; i++) {
        enum page_kind kind = (enum page_kind)(i % PAGE_KIND_COUNT);
        enum pool_result result = store(i, kind);
        if (kind != PAGE_FEW_BITS) /* LZ4 finds few matches in these */
            assert_int_equal(result, kind == PAGE_RANDOM ? POOL_INCOMPRESSIBLE : POOL_OK);
        audit();
    }
    for (uint32_t i = 0; i < 60; i++)
        if (pages[i].stored)
            load_and_compare(i);
    for (uint32_t i = 0; i < 60; i++)
        if (pages[i].stored) {
            drop(i);
            audit();
        }
    assert_int_equal(frames_taken, 0);
}

static void test_take(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 200; i++)
        store(i, any_kind());
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t k = i * 77 % 200; /* in another order */
        if (pages[k].stored)
            take_and_compare(k);
        audit();
    }
    assert_int_equal(frames_taken, 0);
}

/* liblz4 reads our blocks as they are. */
static void test_read_block(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        if (store(i, any_kind()) != POOL_OK)
            continue;
        static uint8_t wanted[PAGE_SIZE], got[PAGE_SIZE];
        uint8_t *block = fake_guard_end(POOL_BLOCK_MAX);
        uint32_t size;
        assert_int_equal(pool_read_block(pages[i].at, owner_of(i), block, &size), POOL_OK);
        assert_in_range(size, 1, POOL_BLOCK_MAX);
        assert_int_equal(LZ4_decompress_safe((char *)block, (char *)got, (int)size, PAGE_SIZE),
                         PAGE_SIZE);
        make(&pages[i], wanted);
        assert_memory_equal(got, wanted, PAGE_SIZE);
    }
}

/* Every byte of a frame but alignment and a last piece too short for a header. */
static void test_no_wasted_tails(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 500; i++)
        assert_int_equal(store(i, PAGE_TEXT), POOL_OK);
    struct pool_stats stats;
    pool_stats_get(&stats);
    uint64_t used = stats.frames * PAGE_SIZE;
    assert_true(used - stats.live_bytes < PAGE_SIZE + 12 * stats.frames);
    printf("figure: pool: %.2f %% of its frames are headers, alignment and ends\n",
           100.0 * (double)(used - stats.object_bytes) / (double)used);
}

static void test_random_operations(void **state)
{
    (void)state;
    uint64_t steps = support_number("BALLAST_STEPS", 60000);
    free_while_moving = true;
    refuse_moves = 10;
    for (uint64_t step = 0; step < steps; step++) {
        uint32_t i = (uint32_t)rng_below(&rng, PAGES);
        /* Fills for a while, then thins out. */
        bool filling = step / 3000 % 2 == 0;
        uint64_t what = rng_below(&rng, 100);
        if (what < 10 && pages[i].stored)
            load_and_compare(i);
        else if (what < 13)
            pool_compact((uint32_t)rng_below(&rng, 20));
        else if (what < 16 && pages[i].stored)
            take_and_compare(i);
        else if (pages[i].stored && (!filling || what < 30))
            drop(i);
        else if (!pages[i].stored && (filling || what < 30))
            store(i, any_kind());
        frames_allowed = rng_below(&rng, 50) ? FRAME_COUNT : frames_taken;
        if (step % 16 == 0)
            audit();
    }
    audit();
    for (uint32_t i = 0; i < PAGES; i++)
        if (pages[i].stored) {
            load_and_compare(i);
            drop(i);
        }
    audit();
    assert_int_equal(frames_taken, 0);
}

static void test_compaction_frees_frames(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PAGES; i++)
        store(i, PAGE_TEXT);
    unsigned full = frames_taken;
    for (uint32_t i = 0; i < PAGES; i++)
        if (pages[i].stored && i % 4)
            drop(i);
    unsigned thinned = frames_taken, freed = 0, got;
    struct pool_stats stats;
    /* A call looks at some of the frames: done when many in a row find nothing. */
    for (unsigned idle = 0; idle < 20; idle = got ? 0 : idle + 1) {
        got = pool_compact(1000);
        freed += got;
        audit();
    }
    pool_stats_get(&stats);
    assert_int_equal(frames_taken, thinned - freed);
    assert_true(stats.compacted > 0);
    assert_true(stats.live_bytes > stats.frames * PAGE_SIZE * 3 / 4 - PAGE_SIZE);
    for (uint32_t i = 0; i < PAGES; i++)
        if (pages[i].stored)
            load_and_compare(i);
    printf("figure: pool: %u frames, %u after 3 of 4 objects died, %u after compaction\n", full,
           thinned, frames_taken);
}

/* Pages come and go at random: 4096ths of a frame a live byte takes, on average. */
static uint64_t churn(bool compact)
{
    uint64_t frames_sum = 0, live_sum = 0;
    struct pool_stats stats;
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(store(i, PAGE_TEXT), POOL_OK);
    for (uint32_t step = 0; step < 12000; step++) {
        uint32_t gone = (uint32_t)rng_below(&rng, PAGES), come = (uint32_t)rng_below(&rng, PAGES);
        if (!pages[gone].stored || pages[come].stored)
            continue;
        drop(gone);
        assert_int_equal(store(come, PAGE_TEXT), POOL_OK);
        pool_stats_get(&stats);
        /* As reclaim does under pressure. */
        if (compact && stats.live_bytes < stats.frames * PAGE_SIZE / 16 * 15)
            pool_compact(32);
        frames_sum += stats.frames;
        live_sum += stats.live_bytes;
    }
    audit();
    for (uint32_t i = 0; i < PAGES; i++)
        if (pages[i].stored) {
            load_and_compare(i);
            drop(i);
        }
    return frames_sum * PAGE_SIZE * 1000 / live_sum;
}

/* What compaction is for: without it the holes of the dead stay. */
static void test_compaction_under_churn(void **state)
{
    (void)state;
    uint64_t off = churn(false), on = churn(true);
    printf("figure: pool: under churn %llu.%03llu of the live bytes without compaction, "
           "%llu.%03llu with it\n",
           (unsigned long long)(off / 1000), (unsigned long long)(off % 1000),
           (unsigned long long)(on / 1000), (unsigned long long)(on % 1000));
    assert_true(off > 1250);
    assert_true(on < 1100);
}

/* With owners that never agree, and with no frame left: ends, nothing changes. */
static void test_compaction_refused(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 400; i++)
        store(i, PAGE_TEXT);
    for (uint32_t i = 0; i < 400; i++)
        if (pages[i].stored && i % 3)
            drop(i);
    refuse_moves = 100;
    unsigned before = frames_taken;
    assert_int_equal(pool_compact(300), 0);
    audit();
    assert_true(frames_taken <= before + 1);
    refuse_moves = 0;
    frames_allowed = frames_taken;
    pool_compact(1000);
    audit();
    for (uint32_t i = 0; i < 400; i++)
        if (pages[i].stored)
            load_and_compare(i);
}

static void test_oldest(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 300; i++)
        store(i, any_kind());
    while (stored_count) {
        for (uint32_t skip = 0; skip < 3 && skip < stored_count; skip++) {
            pool_location_t at;
            struct pool_owner owner;
            assert_true(pool_oldest(skip, &at, &owner));
            unsigned older = 0;
            for (uint32_t i = 0; i < 300; i++)
                older += pages[i].stored && pages[i].age < pages[owner.gfn].age;
            assert_int_equal(older, skip);
            assert_true(pages[owner.gfn].at.v == at.v);
        }
        uint32_t i = (uint32_t)rng_below(&rng, 300);
        while (!pages[i].stored)
            i = (i + 1) % 300;
        drop(i);
    }
    pool_location_t at;
    struct pool_owner owner;
    assert_false(pool_oldest(0, &at, &owner));
    store(0, PAGE_TEXT);
    assert_false(pool_oldest(1, &at, &owner));
}

static void test_limits(void **state)
{
    (void)state;
    pool_init(&ops, 3);
    uint32_t i = 0;
    enum pool_result result = POOL_OK;
    while (i < PAGES && result == POOL_OK)
        result = store(i++, PAGE_TEXT);
    assert_int_equal(result, POOL_FULL);
    assert_int_equal(frames_taken, 3);
    audit();
    begin(NULL);
    frames_allowed = 2;
    i = 0;
    result = POOL_OK;
    while (i < PAGES && result == POOL_OK)
        result = store(i++, PAGE_TEXT);
    assert_int_equal(result, POOL_NO_FRAME);
    assert_int_equal(frames_taken, 2);
    audit();
}

/* ---- damage (P5) ------------------------------------------------------------------- */

/* Of an object's bytes, wherever they lie: flips one bit. */
static uint8_t *byte_of(pool_location_t at, uint32_t index)
{
    uint32_t frame = (uint32_t)(at.v >> POOL_OFFSET_BITS);
    uint32_t offset = (uint32_t)(at.v & ((1u << POOL_OFFSET_BITS) - 1)) * 4 + index;
    if (offset >= PAGE_SIZE) {
        frame = frame_at(pfn(frame))->pool.next;
        offset -= PAGE_SIZE;
    }
    return (uint8_t *)machine_frame_map(pfn(frame)) + offset;
}

static void test_every_bit_flip_is_noticed(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    uint64_t flips = 0;
    uint32_t bytes_taken = 0;
    for (uint32_t i = 0; i < 24; i++) {
        struct pool_stats before, after;
        pool_stats_get(&before);
        if (store(i, any_kind()) != POOL_OK)
            continue;
        pool_stats_get(&after);
        uint32_t bytes = 12 + (uint32_t)(after.object_bytes - before.object_bytes);
        for (uint32_t bit = 0; bit < bytes * 8; bit++, flips++) {
            uint8_t *at = byte_of(pages[i].at, bit / 8);
            *at ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(pool_load(pages[i].at, owner_of(i), got), POOL_DAMAGED);
            if (bit % 16 == 0)
                assert_int_equal(pool_take(pages[i].at, owner_of(i), got, &bytes_taken),
                                 POOL_DAMAGED);
            *at ^= (uint8_t)(1 << bit % 8);
        }
        load_and_compare(i);
    }
    assert_int_equal(bytes_taken, 0);
    printf("figure: pool: %llu flipped bits, all noticed\n", (unsigned long long)flips);
}

static void test_wrong_handles(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    for (uint32_t i = 0; i < 20; i++)
        store(i, PAGE_TEXT);
    assert_int_equal(pool_load(pages[1].at, owner_of(2), got), POOL_DAMAGED);
    struct pool_owner other_vm = { .vm = 5, .gfn = 1 };
    assert_int_equal(pool_load(pages[1].at, other_vm, got), POOL_DAMAGED);
    struct page stale = pages[1];
    drop(1);
    assert_int_equal(pool_load(stale.at, owner_of(1), got), POOL_DAMAGED);
    expect_panic(pool_free(stale.at, owner_of(1)));
    begin(NULL);
    for (uint32_t i = 0; i < 20; i++)
        store(i, PAGE_TEXT);
    unsigned good = 0;
    for (uint64_t v = 0; v < (uint64_t)(FRAME_BASE + FRAME_COUNT + 50) << POOL_OFFSET_BITS; v++) {
        pool_location_t at = { v };
        good += pool_load(at, owner_of(3), got) == POOL_OK;
    }
    assert_int_equal(good, 1);
    pool_location_t far = { UINT64_MAX >> 2 };
    assert_int_equal(pool_load(far, owner_of(3), got), POOL_DAMAGED);
}

/* An object whose header is ruined costs its own bytes and nothing else. */
static void test_free_of_a_damaged_object(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    for (uint32_t i = 0; i < 40; i++)
        store(i, PAGE_TEXT);
    for (uint32_t byte = 4; byte < 12; byte++)
        *byte_of(pages[7].at, byte) ^= 0xff;
    assert_int_equal(pool_load(pages[7].at, owner_of(7), got), POOL_DAMAGED);
    assert_false(pool_audit(on_visit, pages));
    drop(7);
    struct pool_stats stats;
    pool_stats_get(&stats);
    assert_int_equal(stats.objects_lost, 1);
    assert_int_equal(stats.objects, stored_count);
    for (uint32_t i = 0; i < 40; i++)
        if (pages[i].stored)
            load_and_compare(i);
    for (int i = 0; i < 50; i++)
        pool_compact(10);
    for (uint32_t i = 0; i < 40; i++)
        if (pages[i].stored) {
            load_and_compare(i);
            drop(i);
        }
    assert_int_equal(stored_count, 0);
    assert_in_range(frames_taken, 1, 2);
}

/* A damaged block, but a good header: freed like any other. */
static void test_free_of_a_damaged_block(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    for (uint32_t i = 0; i < 10; i++)
        store(i, PAGE_TEXT);
    *byte_of(pages[4].at, 20) ^= 1;
    uint32_t size;
    uint8_t block[POOL_BLOCK_MAX];
    assert_int_equal(pool_load(pages[4].at, owner_of(4), got), POOL_DAMAGED);
    assert_int_equal(pool_read_block(pages[4].at, owner_of(4), block, &size), POOL_DAMAGED);
    drop(4);
    audit();
}

/* A check that fits is no proof: what cannot be decoded is not delivered. */
static void test_check_of_a_damaged_block(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE];
    store(0, PAGE_TEXT);
    struct pool_header *header = pool_log_header(pool_log_place(pages[0].at));
    memset(header + 1, 0xff, 64); /* more literals than there are bytes */
    header->check = hash_bytes(&header->gfn, POOL_CHECKED_BYTES + pool_header_size(header));
    uint32_t size = 77;
    assert_int_equal(pool_load(pages[0].at, owner_of(0), got), POOL_DAMAGED);
    assert_int_equal(pool_take(pages[0].at, owner_of(0), got, &size), POOL_DAMAGED);
    assert_int_equal(size, 77);
    drop(0);
    audit();
}

/* Garbage over whole frames: loads fail or give the right page, nothing else. */
static void test_garbage(void **state)
{
    (void)state;
    static uint8_t got[PAGE_SIZE], wanted[PAGE_SIZE];
    for (uint32_t i = 0; i < 300; i++)
        store(i, any_kind());
    for (unsigned round = 0; round < 3000; round++) {
        pool_location_t somewhere = pages[rng_below(&rng, 300)].at;
        if (!frame_at(pfn((uint32_t)(somewhere.v >> POOL_OFFSET_BITS))))
            continue;
        *byte_of((pool_location_t){ somewhere.v & ~1023ull },
                 (uint32_t)rng_below(&rng, PAGE_SIZE)) = (uint8_t)rng_next(&rng);
        uint32_t i = (uint32_t)rng_below(&rng, 300);
        if (!pages[i].stored || pool_load(pages[i].at, owner_of(i), got) != POOL_OK)
            continue;
        make(&pages[i], wanted);
        assert_memory_equal(got, wanted, PAGE_SIZE);
    }
    pool_compact(1000);
    pool_location_t at;
    struct pool_owner owner;
    pool_oldest(100, &at, &owner);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_store_load_free),
        TEST(test_take),
        TEST(test_read_block),
        TEST(test_no_wasted_tails),
        TEST(test_random_operations),
        TEST(test_compaction_frees_frames),
        TEST(test_compaction_under_churn),
        TEST(test_compaction_refused),
        TEST(test_oldest),
        TEST(test_limits),
        TEST(test_every_bit_flip_is_noticed),
        TEST(test_wrong_handles),
        TEST(test_free_of_a_damaged_object),
        TEST(test_free_of_a_damaged_block),
        TEST(test_check_of_a_damaged_block),
        TEST(test_garbage),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
