/*
 * Room for large mappings: memory is free in every block and none is whole, and a range
 * of private pages waits for one. Pages in the way move while their guests go on.
 */
#include <string.h>

#include "mm/large.h"
#include "mm/nested.h"
#include "mm/swap_area.h"
#include "tests/host/ranges.h"

#define FRAMES     3600u /* with four blocks of which all frames are in the general region */
#define PART_PAGES 400u  /* less than a range: never mapped large */
#define PARTS      3u
#define MOST_FREE  64u

#define ACCESSED (sim.settings.npt ? 1ull << 5 : 1ull << 8)
#define DIRTY    (sim.settings.npt ? 1ull << 6 : 1ull << 9)

/* The VM with the range, and those that lie in every block. */
static struct sim_vm *range, *stay[PARTS], *leave[PARTS];

static uint64_t host(enum mm_host_counter counter)
{
    return sim_host_counter(counter);
}

static bool is_block_whole(void)
{
    for (uint32_t i = 0; i < frame_block_count(); i++)
        if (frame_block_free(i) == FRAME_BLOCK)
            return true;
    return false;
}

/* Free frames outside of the region for merged content. */
static uint32_t general_free(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < frame_total_count() * 3 / 4; i++)
        count += frame_by_index(i)->kind == FRAME_FREE;
    return count;
}

/* What of those that stay is elsewhere for a part, since their limit is lower: nothing,
 * in the pool, or in the swap area, from which it comes and goes. */
enum elsewhere { NOWHERE, IN_POOL, IN_SWAP };

/* Pages of those that stay and those that leave take turns in memory, until it is full;
 * then the range is cut, and the others leave. What is free lies everywhere. */
static void scatter_with(enum elsewhere where, bool accessed_dirty)
{
    struct sim_settings settings;
    sim_settings_default(&settings, 17);
    settings.frames = FRAMES;
    settings.cpus = 3;
    settings.disk_pages = 4000;
    settings.core.large_pages = true;
    settings.core.min_free_permille = 20;
    settings.core.tiers[MM_TIER_SWAP] = where != IN_POOL;
    settings.core.tiers[MM_TIER_COMPRESS] = where != IN_SWAP;
    settings.core.accessed_dirty = accessed_dirty;
    sim_start(&settings);
    range = ranges_vm(512, 512);
    for (unsigned i = 0; i < PARTS; i++) {
        struct mm_vm_config config;
        sim_vm_config_default(&config, PART_PAGES);
        config.limit_pages = where == NOWHERE ? PART_PAGES : PART_PAGES / 2;
        config.salt = (uint16_t)(2 + i);
        stay[i] = sim_vm_add(&config);
        leave[i] = sim_vm_simple(PART_PAGES);
    }
    ranges_fill(range, 0);
    for (uint32_t n = 0; n < PARTS * PART_PAGES && general_free() > MOST_FREE; n++) {
        sim_write(stay[n % PARTS], n / PARTS, where == IN_POOL ? SIM_TEXT : SIM_NOISE, n);
        sim_write(leave[n % PARTS], n / PARTS, SIM_NOISE, n);
    }
    ranges_replace(range, 5);
    for (uint32_t n = 0; where == IN_SWAP && n < PARTS * PART_PAGES; n++)
        sim_read(stay[n % PARTS], n / PARTS);
    for (unsigned i = 0; i < PARTS; i++)
        sim_vm_remove(leave[i]);
    for (unsigned i = 0; i < PARTS; i++)
        stay[i]->vcpus[0].cpu = i % 3;
    assert_false(is_block_whole());
    assert_int_equal(ranges_level(range, 0), 1);
    assert_true(general_free() > FRAME_BLOCK);
}

static void scatter(void)
{
    scatter_with(NOWHERE, true);
}

/* Guests in guest mode on the other CPUs, writing whenever the core looks away. */
static void run(unsigned steps)
{
    for (unsigned n = 0; n < steps; n++) {
        for (unsigned i = 0; i < PARTS; i++) {
            uint32_t page = (n * 7 + i) % 128;
            sim_write_word(stay[i], page, (uint16_t)(n % 512 * 8), n);
            sim_enter(&stay[i]->vcpus[0]);
        }
        sim_pump();
    }
}

static void verify(void)
{
    sim_oracle(true);
    sim_verify(range);
    for (unsigned i = 0; i < PARTS; i++)
        sim_verify(stay[i]);
}

static void a_block_is_made(void **state)
{
    (void)state;
    scatter();
    uint32_t free = frame_free_count();
    sim.settings.interleave = 300;
    for (unsigned n = 0; n < 100 && ranges_level(range, 0) == 1; n++) {
        run(25);
        sim_oracle(true);
    }
    assert_int_equal(ranges_level(range, 0), 2);
    assert_int_equal(host(MM_HOST_large_blocks), 1);
    assert_int_equal(host(MM_HOST_large_coalesced), 1);
    assert_true(host(MM_HOST_large_moved) > 0 && host(MM_HOST_large_moved) < FRAME_BLOCK);
    assert_int_equal(frame_free_count(), free);
    verify();
    sim_stop();
}

/* Many pages move behind one flush of each VM. */
static void few_flushes(void **state)
{
    (void)state;
    scatter();
    sim.settings.interleave = 0;
    uint64_t before = 0, moved = 0, most = 0;
    for (unsigned n = 0; n < 3000 && host(MM_HOST_large_blocks) == 0; n++) {
        uint64_t flushes = host(MM_HOST_flushes);
        before = host(MM_HOST_large_moved);
        sim_pump();
        moved = host(MM_HOST_large_moved) - before;
        assert_true(moved <= 32);
        most = moved > most ? moved : most;
        if (moved > 0) /* accessed bits are cleared at times as well */
            assert_true(host(MM_HOST_flushes) - flushes <= 2 * PARTS + 2);
    }
    assert_int_equal(host(MM_HOST_large_blocks), 1);
    assert_int_equal(most, 32);
    sim_stop();
}

/* What is free in the block that is being emptied is not given out. */
static void the_block_stays_free(void **state)
{
    (void)state;
    scatter();
    for (unsigned n = 0; n < 3000 && host(MM_HOST_large_moved) == 0; n++)
        sim_pump();
    struct sim_vm *other = sim_vm_simple(128);
    for (uint32_t g = 0; g < 100; g++) {
        sim_write(other, g, SIM_NOISE, g);
        uint64_t entry = sim_peek(other, g, &(unsigned){ 0 });
        assert_false(frame_block_is_closed(pfn((uint32_t)((entry & 0x000ffffffffff000ull) >> 12))));
    }
    assert_true(ranges_wait_large(range, 0, 3000));
    assert_int_equal(host(MM_HOST_large_given_up), 0);
    verify();
    sim_stop();
}

/* Bits and content of pages that nobody touches meanwhile go with them. */
static void bits_move(void **state)
{
    (void)state;
    unsigned level, moved = 0, kept = 0;
    uint64_t before[PART_PAGES];
    scatter();
    sim.settings.interleave = 0;
    for (unsigned n = 0; n < 3000 && host(MM_HOST_large_blocks) == 0; n++) {
        for (uint32_t g = 0; g < PART_PAGES; g++) {
            if (g % 2)
                sim_write_word(stay[0], g, 8, n);
            before[g] = sim_peek(stay[0], g, &level);
        }
        uint64_t count = host(MM_HOST_large_moved);
        sim_pump();
        if (host(MM_HOST_large_moved) == count)
            continue;
        for (uint32_t g = 0; g < PART_PAGES; g++) {
            uint64_t now = sim_peek(stay[0], g, &level);
            if ((before[g] & 0x000ffffffffff000ull) == (now & 0x000ffffffffff000ull))
                continue;
            moved++;
            kept += (before[g] & now & DIRTY) != 0;
            if (!(before[g] & DIRTY))
                assert_false(now & DIRTY);
        }
    }
    assert_true(moved > 0 && kept > 0);
    sim_stop();
}

/* A page with a pointer to it stays, and the block with it; another one is taken. */
static void pinned_pages_stay(void **state)
{
    (void)state;
    scatter();
    int pins[PARTS];
    for (unsigned i = 0; i < PARTS; i++) {
        pins[i] = sim_pin(stay[i], NULL, 300, true);
        assert_true(pins[i] >= 0);
    }
    uint64_t entry = sim_peek(stay[0], 300, &(unsigned){ 0 });
    for (unsigned n = 0; n < 4000; n++)
        sim_pump();
    assert_true(entry >> 12 == sim_peek(stay[0], 300, &(unsigned){ 0 }) >> 12);
    for (unsigned i = 0; i < PARTS; i++)
        sim_unpin(stay[i], pins[i]);
    assert_true(ranges_wait_large(range, 0, 6000));
    verify();
    sim_stop();
}

/* A pin that comes while the block is being emptied ends the attempt. */
static void a_pin_in_between(void **state)
{
    (void)state;
    int pins[SIM_PIN_SLOTS];
    unsigned count = 0;
    scatter();
    for (unsigned n = 0; n < 3000 && host(MM_HOST_large_moved) == 0; n++)
        sim_pump();
    for (uint32_t g = 0; g < PART_PAGES && count == 0; g++) {
        uint64_t entry = sim_peek(stay[1], g, &(unsigned){ 0 });
        if ((entry & 7) &&
            frame_block_is_closed(pfn((uint32_t)((entry & 0x000ffffffffff000ull) >> 12))))
            pins[count++] = sim_pin(stay[1], NULL, g, true);
    }
    assert_int_equal(count, 1);
    for (unsigned n = 0; n < 400; n++)
        sim_pump();
    assert_true(host(MM_HOST_large_given_up) >= 1);
    sim_unpin(stay[1], pins[0]);
    assert_true(ranges_wait_large(range, 0, 6000));
    verify();
    sim_stop();
}

/* Memory gets short meanwhile: nothing is moved any more, and all of it is to be had. */
static void pressure_ends_it(void **state)
{
    (void)state;
    scatter();
    for (unsigned n = 0; n < 3000 && host(MM_HOST_large_moved) == 0; n++)
        sim_pump();
    assert_int_equal(host(MM_HOST_large_given_up), 0);
    struct sim_vm *greedy = sim_vm_greedy(2200);
    for (uint32_t g = 0; g < 2100; g++)
        sim_write(greedy, g, g % 4 ? SIM_TEXT : SIM_NOISE, g);
    assert_true(mm_host_state() != MM_HIGH);
    sim_pump();
    assert_int_equal(host(MM_HOST_large_given_up), 1);
    uint64_t moved = host(MM_HOST_large_moved);
    for (unsigned n = 0; n < 100; n++)
        sim_pump();
    assert_int_equal(host(MM_HOST_large_moved), moved);
    sim_verify(greedy);
    verify();
    sim_stop();
}

/* Nobody waits: nothing moves. */
static void only_for_a_range(void **state)
{
    (void)state;
    scatter();
    assert_int_equal(sim_inflate(range, 7), MM_BALLOON_OK);
    for (unsigned n = 0; n < 3000; n++)
        sim_pump();
    assert_int_equal(host(MM_HOST_large_moved), 0);
    assert_int_equal(host(MM_HOST_large_blocks), 0);
    sim_stop();
}

/* The range's VM ends while its block is made. */
static void the_range_ends(void **state)
{
    (void)state;
    scatter();
    for (unsigned n = 0; n < 3000 && host(MM_HOST_large_moved) == 0; n++)
        sim_pump();
    sim_vm_remove(range);
    for (unsigned n = 0; n < 1000; n++)
        sim_pump();
    assert_true(is_block_whole());
    sim_oracle(true);
    for (unsigned i = 0; i < PARTS; i++)
        sim_verify(stay[i]);
    sim_stop();
}

/* Frames of the pool are in the way: what they hold goes to other frames of it. */
static void the_pool_gives_way(void **state)
{
    (void)state;
    scatter_with(IN_POOL, true);
    assert_true(host(MM_HOST_frames_pool) > 100);
    for (unsigned n = 0; n < 6000 && ranges_level(range, 0) == 1; n++) {
        sim_pump();
        if (n % 50 == 0)
            sim_oracle(true);
    }
    assert_int_equal(ranges_level(range, 0), 2);
    assert_true(host(MM_HOST_large_blocks) > 0);
    assert_true(host(MM_HOST_pool_compacted) > 0);
    verify();
    sim_stop();
}

/* Pages that were read in and not written keep their slots in the swap area. */
static void slots_move(bool accessed_dirty)
{
    uint64_t moved = 0;
    scatter_with(IN_SWAP, accessed_dirty);
    sim.settings.interleave = 0;
    assert_true(host(MM_HOST_swap_clean) > 100);
    for (unsigned n = 0; n < 6000 && host(MM_HOST_large_blocks) == 0; n++) {
        uint64_t clean = host(MM_HOST_swap_clean), before = host(MM_HOST_large_moved);
        sim_pump();
        uint64_t now = host(MM_HOST_large_moved) - before;
        moved += now;
        /* What the share index wants costs a slot now and then. */
        if (now > 0)
            assert_true(host(MM_HOST_swap_clean) + 8 >= clean);
        if (n % 100 == 0)
            sim_oracle(true);
    }
    assert_int_equal(host(MM_HOST_large_blocks), 1);
    assert_true(moved > 0 && host(MM_HOST_swap_clean) > 0);
    verify();
    sim_stop();
}

static void clean_slots_move(void **state)
{
    (void)state;
    slots_move(true);
}

/* There such pages are read-only until they are written. */
static void clean_slots_move_without_dirty_bits(void **state)
{
    (void)state;
    slots_move(false);
}

/* The swap area has filled up meanwhile: pages that move give their slots back. */
static void slots_are_given_back(void **state)
{
    (void)state;
    scatter_with(IN_SWAP, true);
    sim.settings.interleave = 0;
    uint64_t kept = host(MM_HOST_swap_clean), slots = host(MM_HOST_swap_slots);
    uint32_t full = swap.cells.free - swap.cells.count / 5; /* little room, and not tight */
    swap.cells.free -= full;
    for (unsigned n = 0; n < 6000 && host(MM_HOST_large_blocks) == 0; n++)
        sim_pump();
    assert_int_equal(host(MM_HOST_large_blocks), 1);
    assert_true(host(MM_HOST_swap_clean) < kept);
    assert_true(host(MM_HOST_swap_slots) < slots);
    swap.cells.free += full;
    verify();
    sim_stop();
}

/* A pinned page in every block: nothing moves, and ranges stop waiting for a while. */
static void no_block_will_do(void **state)
{
    (void)state;
    uint32_t pinned[PARTS * SIM_PIN_SLOTS];
    int pins[PARTS * SIM_PIN_SLOTS];
    unsigned count = 0, owner[PARTS * SIM_PIN_SLOTS];
    scatter();
    for (unsigned n = 0; n < PARTS * PART_PAGES; n++) {
        uint64_t entry = sim_peek(stay[n % PARTS], n / PARTS, &(unsigned){ 0 });
        uint32_t block = (uint32_t)((entry & 0x000ffffffffff000ull) >> 12) / FRAME_BLOCK;
        bool known = !(entry & 7);
        for (unsigned i = 0; i < count && !known; i++)
            known = pinned[i] == block;
        if (known)
            continue;
        pinned[count] = block;
        owner[count] = n % PARTS;
        pins[count++] = sim_pin(stay[n % PARTS], NULL, n / PARTS, true);
    }
    assert_true(count >= 4);
    for (unsigned n = 0; n < 1600; n++)
        sim_pump();
    assert_int_equal(host(MM_HOST_large_moved), 0);
    assert_int_equal(host(MM_HOST_large_blocks), 0);
    for (unsigned i = 0; i < count; i++)
        sim_unpin(stay[owner[i]], pins[i]);
    assert_true(ranges_wait_large(range, 0, 6000));
    verify();
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_made),
        cmocka_unit_test(few_flushes),
        cmocka_unit_test(the_block_stays_free),
        cmocka_unit_test(bits_move),
        cmocka_unit_test(pinned_pages_stay),
        cmocka_unit_test(a_pin_in_between),
        cmocka_unit_test(pressure_ends_it),
        cmocka_unit_test(only_for_a_range),
        cmocka_unit_test(the_range_ends),
        cmocka_unit_test(the_pool_gives_way),
        cmocka_unit_test(clean_slots_move),
        cmocka_unit_test(slots_are_given_back),
        cmocka_unit_test(clean_slots_move_without_dirty_bits),
        cmocka_unit_test(no_block_will_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
