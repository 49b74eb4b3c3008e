/*
 * Large mappings where others come in between: no frame for a table, a range that waits
 * for room and is none any more, a block that something else is in, VMs without any range
 * to look at, a host of more blocks than a step compares.
 */
#include <string.h>

#include "mm/clean.h"
#include "mm/core.h"
#include "mm/frame_state.h"
#include "mm/inflight.h"
#include "mm/large.h"
#include "mm/large_room.h"
#include "mm/nested.h"
#include "mm/vm.h"
#include "tests/host/homes.h"
#include "tests/host/ranges.h"

static uint64_t host(enum mm_host_counter counter)
{
    return sim_host_counter(counter);
}

static void ticks(unsigned count)
{
    while (count--) {
        SIM_CORE(mm_tick());
        SIM_CORE(mm_step());
    }
}

/* ---- what other CPUs do ----------------------------------------------------------------- */

static bool refuse_table, refuse_frame;
static int room_made; /* what large_room_step() says; -1: what it finds */

pfn_t __real_nested_table_make(struct mm_vm *vm, unsigned level, uint32_t first);
pfn_t __wrap_nested_table_make(struct mm_vm *vm, unsigned level, uint32_t first);
pfn_t __wrap_nested_table_make(struct mm_vm *vm, unsigned level, uint32_t first)
{
    bool refused = refuse_table;
    refuse_table = false;
    return refused ? PFN_NONE : __real_nested_table_make(vm, level, first);
}

pfn_t __real_frame_alloc(enum frame_kind kind, enum frame_urgency urgency);
pfn_t __wrap_frame_alloc(enum frame_kind kind, enum frame_urgency urgency);
pfn_t __wrap_frame_alloc(enum frame_kind kind, enum frame_urgency urgency)
{
    bool refused = refuse_frame;
    refuse_frame = false;
    return refused ? PFN_NONE : __real_frame_alloc(kind, urgency);
}

bool __real_large_room_step(void);
bool __wrap_large_room_step(void);
bool __wrap_large_room_step(void)
{
    return room_made < 0 ? __real_large_room_step() : room_made > 0;
}

static int start(void **state)
{
    (void)state;
    refuse_table = refuse_frame = false;
    room_made = -1;
    ranges_start(6000, true);
    return 0;
}

/* All frames are taken between the block and its table: the block is given back, and the
 * page comes alone. */
static void no_table_for_a_block(void **state)
{
    (void)state;
    struct sim_vm *vm = ranges_vm(1024, 1024);
    uint32_t free = frame_free_count();
    refuse_table = true;
    sim_write(vm, 5, SIM_NOISE, 5);
    assert_false(refuse_table);
    assert_int_equal(ranges_level(vm, 5), 1);
    assert_int_equal(vm->core->held_frames, 0);
    assert_in_range(free - frame_free_count(), 2, 5); /* the page, and tables */
    assert_int_equal(sim_vm_counter(vm, MM_VM_resident), 1);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

/* One frame of every block is taken: there is memory, and no block. */
static unsigned in_every_block(pfn_t held[16])
{
    unsigned count = 0;
    for (pfn_t block; !pfn_is_none(block = frame_alloc_block(0)); count++) {
        held[count] = pfn(block.v + 17);
        for (uint32_t i = 0; i < FRAME_BLOCK; i++)
            if (i != 17)
                frame_free(pfn(block.v + i));
    }
    frame_cache_drain();
    assert_in_range(count, 4, 15);
    return count;
}

/* A whole range that waits for a block; then this happens, and a block is there. */
static void while_it_waits(void (*happen)(struct sim_vm *vm))
{
    pfn_t held[16];
    start(NULL);
    unsigned count = in_every_block(held);
    struct sim_vm *vm = ranges_vm(1024, 1024);
    ranges_fill(vm, 0);
    assert_int_equal(ranges_level(vm, 0), 1);
    room_made = 0;
    ticks(250);
    happen(vm);
    room_made = 1;
    uint64_t coalesced = host(MM_HOST_large_coalesced);
    ticks(10);
    assert_int_equal(host(MM_HOST_large_coalesced), coalesced);
    while (count > 0)
        frame_free(held[--count]);
    sim_oracle(true);
    sim_stop();
}

static void it_is_stopped(struct sim_vm *vm)
{
    sim.stop_allowed = true;
    vm_stop(vm->core, MM_STOP_SWAP_READ);
    ranges_vm(1024, 1024);
}

static void it_is_another(struct sim_vm *vm)
{
    sim_vm_remove(vm);
    sim_write(ranges_vm(100, 100), 0, SIM_NOISE, 1);
}

static void it_is_not_whole(struct sim_vm *vm)
{
    assert_int_equal(sim_inflate(vm, 9), MM_BALLOON_OK);
}

static void ranges_that_wait(void **state)
{
    (void)state;
    sim_stop();
    while_it_waits(it_is_stopped);
    while_it_waits(it_is_another);
    while_it_waits(it_is_not_whole);
}

/* What must stay free is free, and no block beside it: nobody waits for one. */
static void too_little_for_a_block(void **state)
{
    (void)state;
    static pfn_t taken[6000];
    unsigned count = 0;
    struct sim_vm *vm = ranges_vm(1024, 1024);
    core.config.large_pages = false;
    ranges_fill(vm, 0);
    core.config.large_pages = true;
    while (large_is_plenty())
        taken[count++] = frame_alloc(FRAME_BOOK, FRAME_ORDINARY);
    for (unsigned i = 0; i < 50; i++)
        frame_free(taken[--count]);
    assert_int_equal(mm_host_state(), MM_HIGH);
    room_made = 1;
    ticks(300);
    assert_int_equal(ranges_level(vm, 0), 1);
    assert_int_equal(host(MM_HOST_large_moved), 0);
    while (count > 0)
        frame_free(taken[--count]);
    sim_oracle(true);
    sim_stop();
}

/* More ranges than a tick looks at, and nothing in them. */
static void nothing_to_look_at(void **state)
{
    (void)state;
    struct sim_vm *hollow = ranges_vm(9 * RANGE_PAGES, 9 * RANGE_PAGES);
    core.config.large_pages = false;
    struct sim_vm *vm = ranges_vm(1024, 1024);
    ranges_fill(vm, 0);
    core.config.large_pages = true;
    ticks(300); /* its turn comes all the same */
    assert_int_equal(ranges_level(vm, 0), 2);
    assert_int_equal(sim_vm_counter(hollow, MM_VM_large), 0);
    sim_oracle(true);
    sim_stop();
}

/* A page that is read-only, for its clean slot's sake or while the sharing scan compares
 * it: its range is not mapped for writing. */
static void a_page_that_is_read_only(void **state)
{
    (void)state;
    struct leaf leaf;
    core.config.large_pages = false;
    struct sim_vm *vm = ranges_vm(1024, 1024);
    ranges_fill(vm, 0);
    SIM_CORE(nested_lock(vm->core, gfn(77), NESTED_LOOK, &leaf));
    SIM_CORE(home_adjust(&leaf, 0, ENTRY_WRITE));
    SIM_CORE(nested_unlock(&leaf));
    core.config.large_pages = true;
    ticks(200);
    assert_int_equal(ranges_level(vm, 0), 1);
    SIM_CORE(nested_lock(vm->core, gfn(77), NESTED_LOOK, &leaf));
    SIM_CORE(home_adjust(&leaf, ENTRY_WRITE, 0));
    SIM_CORE(nested_unlock(&leaf));
    ticks(100);
    assert_int_equal(ranges_level(vm, 0), 2);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

/* What changes the entry of one page of a large mapping cuts it first. */
static void one_page_of_many(void **state)
{
    (void)state;
    struct leaf leaf;
    struct sim_vm *vm = ranges_vm(1024, 1024);
    ranges_fill(vm, 0);
    assert_int_equal(ranges_level(vm, 5), 2);
    SIM_CORE(nested_lock(vm->core, gfn(5), NESTED_LOOK, &leaf));
    SIM_CORE(home_adjust(&leaf, ENTRY_LOGGED, 0));
    assert_true(leaf.entry.v & ENTRY_LOGGED);
    SIM_CORE(nested_unlock(&leaf));
    unsigned level;
    assert_true(sim_peek(vm, 5, &level) & ENTRY_LOGGED);
    assert_int_equal(level, 1);
    assert_false(sim_peek(vm, 6, &level) & ENTRY_LOGGED);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* ---- a block that is being emptied ---------------------------------------------------------- */

/* The first index of the block that is closed, or INDEX_NONE. */
static uint32_t closed_block(void)
{
    return frame_state.closed_count ? frame_state.closed_first : INDEX_NONE;
}

/* A frame of it is something else for a while: `find` says which, `kind` is what. */
static void in_the_block(uint8_t kind, bool hand_over)
{
    start(NULL);
    struct sim_vm *vm = ranges_vm(1024, 1024);
    core.config.large_pages = false;
    struct sim_vm *others[7];
    sim_write(vm, 0, SIM_NOISE, 0);
    for (unsigned i = 0; i < 7; i++) { /* all tables first: they stay where they are */
        others[i] = ranges_vm(700, 700);
        sim_write(others[i], 0, SIM_NOISE, i);
        sim_write(others[i], 512, SIM_NOISE, i);
    }
    for (unsigned i = 0; i < 7; i++)
        for (uint32_t g = 0; g < 600; g++)
            sim_write(others[i], g, SIM_NOISE, 1000 * (i + 1) + g);
    ranges_fill(vm, 0);
    for (unsigned i = 0; i < 7; i++)
        for (uint32_t g = 0; g < 600; g++)
            if (g % 3)
                sim_inflate(others[i], g);
    core.config.large_pages = true;
    for (unsigned i = 0; i < 4000 && closed_block() == INDEX_NONE; i++)
        ticks(1);
    uint32_t first = closed_block();
    assert_int_not_equal(first, INDEX_NONE);
    uint64_t given_up = host(MM_HOST_large_given_up);
    struct frame *frame = NULL;
    for (uint32_t i = 0; i < FRAME_BLOCK && !frame; i++) {
        struct frame *at = frame_by_index(first + i);
        if (at->kind == (hand_over ? FRAME_PRIVATE : FRAME_FREE))
            frame = at;
    }
    assert_non_null(frame);
    if (hand_over) {
        uint64_t moved = host(MM_HOST_large_moved);
        refuse_frame = true; /* for the first page that would move */
        ticks(1);
        assert_false(refuse_frame);
        assert_int_equal(host(MM_HOST_large_moved), moved);
        struct inflight *taken[INFLIGHT_COUNT];
        unsigned records = 0;
        while ((taken[records] = inflight_take(INFLIGHT_OUT_PRIVATE, vm->core)) != NULL)
            records++;
        ticks(1); /* no record is free either */
        assert_int_equal(host(MM_HOST_large_moved), moved);
        while (records > 0)
            inflight_release(taken[--records]);
        uint16_t tag = frame->tag;
        uint32_t page = frame->private.gfn;
        frame->tag = 60;
        SIM_CORE(mm_tick());
        SIM_CORE(mm_step());
        frame->tag = tag;
        frame->private.gfn = UINT32_MAX - 1;
        SIM_CORE(mm_tick());
        SIM_CORE(mm_step());
        frame->private.gfn = page;
        assert_int_equal(host(MM_HOST_large_given_up), given_up);
    } else {
        frame_set_kind((uint32_t)(frame - frame_state.frames), (enum frame_kind)kind);
        ticks(1);
        assert_int_equal(host(MM_HOST_large_given_up), given_up + 1);
        assert_int_equal(closed_block(), INDEX_NONE);
        frame_free(frame_number(frame));
    }
    sim_oracle(true);
    sim_verify(vm);
    for (unsigned i = 0; i < 7; i++)
        sim_verify(others[i]);
    sim_stop();
}

/* A frame that is none of a guest's or the pool's has come into the block: another block. */
static void something_that_stays(void **state)
{
    (void)state;
    sim_stop();
    in_the_block(FRAME_BOOK, false);
}

/* A frame that changes hands just now names nobody: it is left for the next tick. */
static void a_frame_between_owners(void **state)
{
    (void)state;
    sim_stop();
    in_the_block(0, true);
}

/* ---- many blocks ---------------------------------------------------------------------------- */

/* 8 GiB and more: a search takes as many steps as it needs. Only the descriptors have
 * memory behind them. */
static void more_blocks_than_a_step(void **state)
{
    (void)state;
    sim_stop();
    struct sim_settings settings;
    sim_settings_default(&settings, 3);
    settings.frames = 2200000 / 256 + 1000;
    settings.core.large_pages = true;
    sim_memory_start(&settings);
    const struct frame_region region = { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT),
                                         2200000ull * PAGE_SIZE };
    assert_true(mm_init(&settings.core, &region, 1));
    assert_true(frame_block_count() > 4096);
    assert_false(large_room_step()); /* not yet to the end */
    assert_int_equal(closed_block(), INDEX_NONE);
    assert_true(large_room_step()); /* a whole one was there */
    large_room_stop();              /* nothing is being emptied now */
    assert_int_equal(core.counters[MM_HOST_large_given_up], 0);
    assert_int_equal(core.counters[MM_HOST_large_blocks], 1);
    /* Without any block that could be one, a rest. */
    uint32_t managed = frame_managed_count();
    for (uint32_t i = 0; i < frame_state.blocks; i++)
        frame_state.block_free[i] = 0;
    while (!large_room_is_resting())
        assert_false(large_room_step());
    assert_int_equal(frame_managed_count(), managed);
    sim_memory_stop();
}

int main(void)
{
#define ON_MACHINE(test) cmocka_unit_test_setup(test, start)
    const struct CMUnitTest tests[] = {
        ON_MACHINE(no_table_for_a_block),     ON_MACHINE(ranges_that_wait),
        ON_MACHINE(too_little_for_a_block),   ON_MACHINE(nothing_to_look_at),
        ON_MACHINE(a_page_that_is_read_only), ON_MACHINE(one_page_of_many),
        ON_MACHINE(something_that_stays),     ON_MACHINE(a_frame_between_owners),
        ON_MACHINE(more_blocks_than_a_step),
    };
    return cmocka_run_group_tests_name("large edges", tests, NULL, NULL);
}
