/*
 * Frames: the allocator alone, over a few regions of arena memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/core.h"
#include "mm/frame_state.h"
#include "tests/host/sim.h"

#define FRAMES 600u

static int setup(void **state)
{
    (void)state;
    struct sim_settings settings = { .seed = 1, .cpus = 1, .frames = FRAMES };
    sim_memory_start(&settings);
    /* A hole of 20 frames and a bank that begins off a page. */
    uint64_t start = (uint64_t)SIM_PFN_FIRST << PAGE_SHIFT;
    const struct frame_region regions[] = {
        { hpa(start), 400 * PAGE_SIZE },
        { hpa(start + 420 * PAGE_SIZE + 100), 150 * PAGE_SIZE },
    };
    assert_true(frame_init(regions, 2));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sim_memory_stop();
    return 0;
}

static void only_given_memory(void **state)
{
    (void)state;
    assert_null(frame_at(pfn(SIM_PFN_FIRST - 1)));
    assert_null(frame_at(pfn(0)));
    assert_null(frame_at(PFN_NONE));
    assert_true(frame_managed_count() > 500 && frame_managed_count() < 550);
    assert_int_equal(frame_free_count(), frame_managed_count());
    for (uint32_t i = 400; i <= 420; i++) {
        struct frame *hole = frame_at(pfn(SIM_PFN_FIRST + i));
        assert_true(!hole || hole->kind == FRAME_FIXED);
    }
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct frame *frame = frame_at(pfn(SIM_PFN_FIRST + i));
        if (frame)
            assert_int_equal(frame_number(frame).v, SIM_PFN_FIRST + i);
    }
}

static void every_frame_once(void **state)
{
    static uint8_t given[FRAMES];
    uint32_t count = 0, managed = frame_managed_count();
    (void)state;
    memset(given, 0, sizeof given);
    for (;; count++) {
        pfn_t frame = frame_alloc(FRAME_PRIVATE, FRAME_RECLAIM);
        if (pfn_is_none(frame))
            break;
        assert_in_range(frame.v, SIM_PFN_FIRST, SIM_PFN_FIRST + FRAMES - 1);
        assert_false(given[frame.v - SIM_PFN_FIRST]++);
        assert_int_equal(frame_at(frame)->kind, FRAME_PRIVATE);
        memset(sim_frame(frame.v), 0xee, PAGE_SIZE);
    }
    assert_int_equal(frame_kind_count(FRAME_PRIVATE), count);
    assert_int_equal(count + frame_free_count(), managed);
    for (uint32_t i = 0; i < FRAMES; i++)
        if (given[i])
            frame_free(pfn(SIM_PFN_FIRST + i));
    assert_int_equal(frame_free_count(), managed);
    assert_int_equal(frame_kind_count(FRAME_PRIVATE), 0);
}

/* P10: ordinary callers leave something for tables, those something for reclaim. */
static void reserves(void **state)
{
    unsigned got[3] = { 0 };
    (void)state;
    for (unsigned urgency = FRAME_ORDINARY; urgency <= FRAME_RECLAIM; urgency++)
        while (!pfn_is_none(frame_alloc(FRAME_PRIVATE, (enum frame_urgency)urgency)))
            got[urgency]++;
    assert_true(got[FRAME_ORDINARY] > 100);
    assert_true(got[FRAME_TABLES] >= 1);
    assert_true(got[FRAME_RECLAIM] >= 1);
    assert_true(frame_reserve_count() >= got[FRAME_TABLES] + got[FRAME_RECLAIM]);
}

/* P13: merged content lies in frames drawn at random from one region. */
static void shared_at_random(void **state)
{
    enum { DRAWS = 20000, BINS = 8 };
    uint32_t low = UINT32_MAX, high = 0;
    static uint32_t hits[FRAMES];
    memset(hits, 0, sizeof hits);
    (void)state;
    for (unsigned i = 0; i < DRAWS; i++) {
        pfn_t frame = frame_alloc_shared();
        assert_false(pfn_is_none(frame));
        assert_int_equal(frame_at(frame)->kind, FRAME_SHARED);
        hits[frame.v - SIM_PFN_FIRST]++;
        if (frame.v < low)
            low = frame.v;
        if (frame.v > high)
            high = frame.v;
        frame_free(frame);
    }
    unsigned size = high - low + 1;
    assert_true(size >= 8);
    /* Chi-square over the region, one bin a frame; mean + 5 standard deviations. */
    double expected = (double)DRAWS / size, chi = 0;
    for (uint32_t i = low; i <= high; i++) {
        double off = hits[i - SIM_PFN_FIRST] - expected;
        chi += off * off / expected;
    }
    printf("figure: P13: chi-square %.1f over %u frames of the share region\n", chi, size);
    double limit = (size - 1) + 5 * 1.4142 * 32; /* sqrt(2 k), k below 1024 */
    assert_true(chi < limit);
    /* Adjacent draws are not neighbours as a rule. */
    unsigned neighbours = 0;
    uint32_t last = 0;
    for (unsigned i = 0; i < 1000; i++) {
        pfn_t frame = frame_alloc_shared();
        neighbours += frame.v - last == 1;
        last = frame.v;
        frame_free(frame);
    }
    assert_true(neighbours < 200);
}

static void shared_until_empty(void **state)
{
    unsigned count = 0;
    (void)state;
    while (!pfn_is_none(frame_alloc_shared()))
        count++;
    assert_true(count >= 8);
    assert_int_equal(frame_kind_count(FRAME_SHARED), count);
}

static void random_use(void **state)
{
    static pfn_t held[FRAMES];
    unsigned count = 0;
    uint32_t managed = frame_managed_count();
    (void)state;
    for (unsigned i = 0; i < 50000; i++) {
        if (count && rng_below(&sim.rng, 2)) {
            unsigned which = (unsigned)rng_below(&sim.rng, count);
            frame_free(held[which]);
            held[which] = held[--count];
        } else {
            pfn_t frame = rng_below(&sim.rng, 4)
                              ? frame_alloc((enum frame_kind)(FRAME_POOL + rng_below(&sim.rng, 2)),
                                            FRAME_RECLAIM)
                              : frame_alloc_shared();
            if (!pfn_is_none(frame))
                held[count++] = frame;
        }
        assert_int_equal(frame_free_count() + count, managed);
    }
}

/* 512 aligned neighbours, while so many are left beside them. */
static void blocks(void **state)
{
    enum { MANY = 4000 };
    (void)state;
    sim_memory_stop();
    struct sim_settings settings = { .seed = 1, .cpus = 1, .frames = MANY };
    sim_memory_start(&settings);
    uint64_t start = (uint64_t)SIM_PFN_FIRST << PAGE_SHIFT;
    /* The first bank has one whole block, the second some. */
    const struct frame_region regions[] = {
        { hpa(start), 1300 * PAGE_SIZE },
        { hpa(start + 1400 * PAGE_SIZE), 2600 * PAGE_SIZE },
    };
    assert_true(frame_init(regions, 2));
    uint32_t managed = frame_managed_count();
    /* A block that only a part of is there, or is general, counts as none. */
    unsigned whole = 0;
    for (uint32_t block = 0; block < frame_block_count(); block++)
        if (frame_block_free(block) > 0) {
            uint32_t first = frame_block_first(block);
            assert_int_equal(frame_number_of(first).v % FRAME_BLOCK, 0);
            assert_int_equal(frame_number_of(first + FRAME_BLOCK - 1).v,
                             frame_number_of(first).v + FRAME_BLOCK - 1);
            assert_true(first + FRAME_BLOCK <= frame_state.share_start);
            whole++;
        }
    assert_in_range(whole, 3, 7);
    pfn_t taken[8];
    unsigned count = 0;
    for (; count < 8; count++) {
        taken[count] = frame_alloc_block(0);
        if (pfn_is_none(taken[count]))
            break;
        assert_int_equal(taken[count].v % FRAME_BLOCK, 0);
        for (uint32_t i = 0; i < FRAME_BLOCK; i++) {
            struct frame *frame = frame_at(pfn(taken[count].v + i));
            assert_true(frame && frame->kind == FRAME_PRIVATE);
        }
        for (unsigned k = 0; k < count; k++)
            assert_int_not_equal(taken[count].v, taken[k].v);
        assert_null(frame_audit());
    }
    assert_in_range(count, 3, 7);
    assert_int_equal(frame_free_count(), managed - count * FRAME_BLOCK);
    /* A block with one frame missing is none. */
    for (uint32_t i = 0; i < FRAME_BLOCK; i++)
        if (i != 77)
            frame_free(pfn(taken[0].v + i));
    assert_true(pfn_is_none(frame_alloc_block(0)));
    frame_free(pfn(taken[0].v + 77));
    uint32_t keep = frame_free_count() - FRAME_BLOCK;
    assert_true(pfn_is_none(frame_alloc_block(keep + 1)));
    assert_int_equal(frame_alloc_block(keep).v, taken[0].v);
    for (unsigned k = 0; k < count; k++)
        for (uint32_t i = 0; i < FRAME_BLOCK; i++)
            frame_free(pfn(taken[k].v + i));
    assert_int_equal(frame_free_count(), managed);
    assert_null(frame_audit());
}

static void double_free_is_noticed(void **state)
{
    (void)state;
    pfn_t frame = frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
    frame_free(frame);
    expect_panic(frame_free(frame));
}

/* The address of an entry of all zero bits is nobody's (P15). */
static void frame_zero_is_nobodys(void **state)
{
    (void)state;
    const struct frame_region regions[] = {
        { hpa(0), 3 * PAGE_SIZE },
        { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT), 400 * PAGE_SIZE },
    };
    assert_true(frame_init(regions, 2));
    assert_null(frame_at(pfn(0)));
    assert_non_null(frame_at(pfn(1)));
}

static void nothing_to_manage(void **state)
{
    (void)state;
    const struct frame_region none = { hpa(0), 0 };
    const struct frame_region tiny = { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT), 100 };
    assert_false(frame_init(&none, 0));
    assert_false(frame_init(&none, 1));
    assert_false(frame_init(&tiny, 1));
}

/* A host of 4.2 GiB, of which only the descriptors have memory behind them. */
static void start_large(uint32_t frames)
{
    sim_memory_stop();
    struct sim_settings settings;
    sim_settings_default(&settings, 3);
    settings.frames = frames / 256 + 1200; /* descriptors, the share index */
    sim_memory_start(&settings);
    const struct frame_region region = { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT),
                                         (uint64_t)frames * PAGE_SIZE };
    assert_true(mm_init(&settings.core, &region, 1));
}

/* The reserve stops growing, minFree grows by less and less. */
static void reserves_of_a_large_host(void **state)
{
    (void)state;
    start_large(1100000);
    uint64_t managed = frame_managed_count(), first = 1 << 20;
    assert_true(managed > first);
    assert_int_equal(frame_reserve_count(), 1024);
    assert_int_equal(core.min_free, first * 6 / 100 + (managed - first) * 4 / 100);
}

/* A few hundred free frames are hard to find by draws in a large share region; as long as
 * there is one, merged content finds it. */
static void shared_in_a_large_region(void **state)
{
    static uint32_t taken[400000];
    uint32_t count = 0, shared = 0;
    (void)state;
    start_large(400000);
    while (frame_state.listed[0] > 0 || frame_state.listed[1] > 300) {
        taken[count] = frame_alloc(FRAME_PRIVATE, FRAME_RECLAIM).v;
        assert_int_not_equal(taken[count++], PFN_NONE.v);
    }
    for (unsigned round = 0; round < 50; round++) {
        pfn_t frame = frame_alloc_shared();
        assert_false(pfn_is_none(frame));
        frame_free(frame);
    }
    while (!pfn_is_none(frame_alloc_shared()))
        shared++;
    assert_int_equal(shared, 300);
    assert_null(frame_audit());
}

/* Sums are read without a lock: what a CPU has taken may be seen before what it gave. */
static void sums_while_they_change(void **state)
{
    (void)state;
    frame_caches[3].kinds[FRAME_PRIVATE] -= 1;
    assert_int_equal(frame_kind_count(FRAME_PRIVATE), 0);
    frame_caches[3].kinds[FRAME_PRIVATE] += 1;
}

int main(void)
{
#define WITH_FRAMES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FRAMES(only_given_memory),
        WITH_FRAMES(every_frame_once),
        WITH_FRAMES(reserves),
        WITH_FRAMES(shared_at_random),
        WITH_FRAMES(shared_until_empty),
        WITH_FRAMES(random_use),
        WITH_FRAMES(blocks),
        WITH_FRAMES(double_free_is_noticed),
        WITH_FRAMES(nothing_to_manage),
        WITH_FRAMES(reserves_of_a_large_host),
        WITH_FRAMES(shared_in_a_large_region),
        WITH_FRAMES(sums_while_they_change),
        WITH_FRAMES(frame_zero_is_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
