/*
 * Clean slots: pages that were read in and not written since leave RAM again
 * without a write, and whatever writes to one is noticed.
 */
#include <stdio.h>
#include <string.h>

#include "mm/clean.h"
#include "mm/swap.h"
#include "tests/host/homes.h"

#define PAGES 300u

static struct sim_vm *vm, *other;

/* Two VMs of 300 pages that do not fit both; with swap alone. */
static void start_with(uint64_t seed, bool accessed_dirty, uint32_t disk_pages, bool share)
{
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, seed);
    settings.frames = 420;
    settings.disk_pages = disk_pages;
    settings.cpus = 2;
    settings.interleave = 0; /* nobody writes but the test */
    settings.core.accessed_dirty = accessed_dirty;
    settings.core.tiers[MM_TIER_SHARE] = share;
    settings.core.tiers[MM_TIER_COMPRESS] = settings.core.tiers[MM_TIER_BALLOON] = false;
    sim_start(&settings);
    sim_vm_config_default(&config, PAGES);
    config.salt = 3;
    vm = sim_vm_add(&config);
    other = sim_vm_add(&config);
    for (uint32_t g = 0; g < PAGES; g++) {
        sim_write(vm, g, SIM_NOISE, g);
        sim_write(other, g, SIM_NOISE, 5000 + g);
    }
    sim_settle();
}

static void start(uint64_t seed, bool accessed_dirty)
{
    start_with(seed, accessed_dirty, 1500, false);
}

static void read_all(struct sim_vm *of)
{
    for (uint32_t g = 0; g < PAGES; g++)
        sim_read(of, g);
}

static bool is_clean(struct sim_vm *of, uint32_t g)
{
    unsigned level;
    entry_t entry = { sim_peek(of, g, &level) };
    return entry_home(entry) == HOME_PRIVATE &&
           clean_slot(frame_at(entry_frame(entry))).v != SWAP_SLOT_NONE.v;
}

/* A page of vm's that is in RAM and keeps its slot. */
static uint32_t clean_page(void)
{
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t g = 0; g < PAGES; g++)
            if (is_clean(vm, g))
                return g;
        read_all(vm);
    }
    sim_fail("no page keeps its slot");
}

/* Reads of all other pages, until this one has left. */
static void squeeze(uint32_t g)
{
    for (unsigned round = 0; round < 40 && homes_of(vm, g) != HOME_SWAP; round++) {
        read_all(other);
        for (uint32_t i = 0; i < PAGES && homes_of(vm, g) != HOME_SWAP; i++)
            if (i != g)
                sim_read(vm, i);
    }
    assert_int_equal(homes_of(vm, g), HOME_SWAP);
}

static void reread_without_writes(bool accessed_dirty)
{
    start(41, accessed_dirty);
    /* Until each page has been away and back. */
    for (unsigned round = 0; round < 16; round++) {
        read_all(vm);
        read_all(other);
    }
    uint64_t written = sim_host_counter(MM_HOST_swap_pages_written),
             read = sim_host_counter(MM_HOST_swap_pages_read),
             unwritten = sim_host_counter(MM_HOST_swap_unwritten);
    for (unsigned round = 0; round < 4; round++) {
        read_all(vm);
        read_all(other);
        sim_oracle(true);
    }
    written = sim_host_counter(MM_HOST_swap_pages_written) - written;
    read = sim_host_counter(MM_HOST_swap_pages_read) - read;
    unwritten = sim_host_counter(MM_HOST_swap_unwritten) - unwritten;
    printf("figure: swap: guests that read only, %s dirty bits: %llu pages read, %llu swapped out "
           "without a write, %llu written\n",
           accessed_dirty ? "with" : "without", (unsigned long long)read,
           (unsigned long long)unwritten, (unsigned long long)written);
    assert_true(read > 500 && unwritten > 500);
    assert_true(written == 0);
    assert_true(sim_host_counter(MM_HOST_swap_clean) > 0);
    sim_stop();
}

static void read_only_guests(void **state)
{
    (void)state;
    reread_without_writes(true);
}

static void read_only_guests_without_dirty_bits(void **state)
{
    (void)state;
    reread_without_writes(false);
}

/* Each way to write to a page, then out and in again: exact, and written once more. */
static void every_write_is_noticed(bool accessed_dirty)
{
    start(42, accessed_dirty);
    for (unsigned way = 0; way < 3; way++)
        for (unsigned times = 0; times < 4; times++) {
            uint32_t g = clean_page();
            uint64_t written = sim_host_counter(MM_HOST_swap_pages_written);
            if (way == 0) {
                sim_write_word(vm, g, (uint16_t)(8 * times), 77 + times);
            } else if (way == 1) {
                sim_write(vm, g, SIM_NOISE, 9000 + times);
            } else {
                int pin = sim_pin(vm, NULL, g, true);
                assert_true(pin >= 0);
                sim_unpin(vm, pin);
            }
            if (!accessed_dirty)
                assert_false(is_clean(vm, g));
            squeeze(g);
            assert_true(sim_host_counter(MM_HOST_swap_pages_written) > written);
            sim_read(vm, g);
            sim_oracle(true);
        }
    sim_verify(vm);
    sim_verify(other);
    sim_stop();
}

static void writes_are_noticed(void **state)
{
    (void)state;
    every_write_is_noticed(true);
}

static void writes_are_noticed_without_dirty_bits(void **state)
{
    (void)state;
    every_write_is_noticed(false);
}

/* A write through a translation that another CPU had cached as it was read. */
static void cached_translations(void **state)
{
    (void)state;
    start(43, true);
    for (unsigned i = 0; i < 20; i++) {
        uint32_t g = clean_page();
        sim_read(vm, g); /* cached, not dirty */
        sim_write_word(vm, g, 128, i);
        squeeze(g);
        sim_read(vm, g);
    }
    sim_oracle(true);
    sim_stop();
}

/* An area with little room gives slots back rather than refuse a page. */
static void room_for_little(bool accessed_dirty)
{
    start_with(44, accessed_dirty, 420, false);
    for (unsigned round = 0; round < 6; round++) {
        read_all(vm);
        for (uint32_t g = 0; g < PAGES; g++)
            sim_write(other, g, SIM_NOISE, 100 * round + g);
        sim_oracle(true);
    }
    assert_true(sim_host_counter(MM_HOST_swap_pages_written) > 0);
    assert_int_equal(sim.stops[MM_STOP_OUT_OF_MEMORY], 0);
    sim_verify(vm);
    sim_verify(other);
    sim_stop();
}

/* With three quarters of the area in use, no page that comes back keeps its slot. */
static void no_room_for_slots(void **state)
{
    (void)state;
    start_with(51, true, 330, false);
    assert_false(swap_is_roomy());
    unsigned back = 0;
    for (uint32_t g = 0; g < PAGES; g++) {
        if (homes_of(vm, g) != HOME_SWAP || swap_is_roomy())
            continue;
        sim_read(vm, g);
        assert_false(is_clean(vm, g) && !swap_is_roomy());
        back++;
    }
    assert_true(back > 20);
    sim_oracle(true);
    sim_stop();
}

/* A part of the area fails: what is left is for pages, not for slots that are kept. */
static void area_that_shrinks(void **state)
{
    (void)state;
    start_with(49, true, 700, false);
    clean_page();
    sim.victim_allowed = true;
    sim.disk.fail_write_permille = 600;
    for (uint32_t g = 0; g < 4 * PAGES && !swap_is_tight(); g++)
        if (!other->stopped)
            sim_write(other, g % PAGES, SIM_NOISE, g);
    assert_true(swap_is_tight());
    sim_disk_heal();
    sim_run(50);
    assert_int_equal(clean_count(), 0);
    sim_oracle(true);
    sim_stop();
}

static void little_room(void **state)
{
    (void)state;
    room_for_little(true);
    room_for_little(false);
}

/* clean_drop() finds each of them, and only them. */
static void all_given_back(bool accessed_dirty)
{
    start(45, accessed_dirty);
    clean_page();
    sim_settle();
    uint32_t kept = clean_count(), dropped = 0;
    uint64_t slots = sim_host_counter(MM_HOST_swap_slots);
    assert_true(kept > 10);
    SIM_CORE(dropped = clean_drop(UINT16_MAX));
    assert_int_equal(dropped, kept);
    assert_int_equal(clean_count(), 0);
    assert_int_equal(sim_host_counter(MM_HOST_swap_slots), slots - kept);
    SIM_CORE(dropped = clean_drop(UINT16_MAX));
    assert_int_equal(dropped, 0);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

static void given_back(void **state)
{
    (void)state;
    all_given_back(true);
    all_given_back(false);
}

/* A little at a time, past VMs that have gone and pages that keep nothing. */
static void given_back_in_parts(void **state)
{
    (void)state;
    start(49, true);
    read_all(other);
    sim_vm_remove(vm);
    vm = sim_vm_simple(20); /* in the same place */
    for (uint32_t g = 0; g < 20; g++)
        sim_write(vm, g, SIM_NOISE, g);
    read_all(other);
    sim_settle();
    sim_vm_remove(sim_vm_simple(5));
    uint32_t kept = clean_count(), dropped = 0;
    assert_true(kept > 10);
    for (unsigned i = 0; i < 5 && dropped == 0; i++) {
        SIM_CORE(dropped = clean_drop(20 + 2));
        assert_true(dropped <= 22);
    }
    assert_int_equal(clean_count(), kept - dropped);
    sim_vm_remove(vm);
    for (unsigned i = 0; i < 2; i++)
        SIM_CORE(dropped += clean_drop(1000));
    assert_int_equal(dropped, kept);
    assert_int_equal(clean_count(), 0);
    sim_verify(other);
    sim_oracle(true);
    sim_stop();
}

/* The hand comes to what lies behind it, past the end of the last VM. */
static void given_back_in_turn(void **state)
{
    (void)state;
    start(53, true);
    for (unsigned round = 0; round < 3; round++) {
        uint32_t dropped = 0;
        struct sim_vm *reader = round % 2 ? vm : other;
        for (uint32_t g = 0; g < PAGES; g++) /* of the other one nothing is clean */
            sim_write(reader == vm ? other : vm, g, SIM_NOISE, 1000 * round + g);
        read_all(reader);
        sim_settle();
        uint32_t kept = clean_count();
        assert_true(kept > 0);
        SIM_CORE(dropped = clean_drop(3 * PAGES));
        assert_int_equal(dropped, kept);
    }
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* The hand passes ranges with nothing in memory, and ranges without a table, at once. */
static void ranges_without_pages(void **state)
{
    (void)state;
    enum { FIRST = 1100, LAST = 1180, LARGE = 1200 };
    start(52, true);
    sim_vm_remove(vm);
    vm = sim_vm_simple(LARGE);
    for (uint32_t g = 0; g < 200; g++)
        sim_write(vm, g, SIM_NOISE, g);
    for (uint32_t g = FIRST; g < LAST; g++)
        sim_write(vm, g, SIM_NOISE, g);
    unsigned in_memory = 1;
    for (unsigned round = 0; round < 60 && (in_memory > 0 || clean_count() < 10); round++) {
        read_all(other);
        for (uint32_t g = FIRST; g < LAST; g++)
            sim_read(vm, g);
        in_memory = 0;
        for (uint32_t g = 0; g < 200; g++)
            in_memory += homes_of(vm, g) != HOME_SWAP;
    }
    sim_settle();
    assert_int_equal(in_memory, 0);
    for (uint32_t g = 0; g < PAGES; g++) /* what is clean is in the last range */
        sim_write(other, g, SIM_NOISE, 9000 + g);
    for (uint32_t g = FIRST; g < LAST; g++)
        sim_read(vm, g);
    sim_settle();
    uint32_t dropped = 0;
    assert_true(clean_count() > 0);
    SIM_CORE(dropped = clean_drop(PAGES + 2 + LARGE - 1024));
    assert_true(dropped > 0);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* Given to the balloon, or with the end of their VM, slots are free again. */
static void given_up(void **state)
{
    (void)state;
    start(46, true);
    uint32_t g = clean_page(), kept = clean_count();
    sim_inflate(vm, g);
    assert_int_equal(clean_count(), kept - 1);
    sim_oracle(true);
    read_all(other);
    sim_vm_remove(vm);
    assert_true(clean_count() > 0);
    SIM_CORE(kept = clean_drop(1)); /* nobody is in its place */
    assert_int_equal(kept, 0);
    sim_vm_remove(other);
    assert_int_equal(clean_count(), 0);
    assert_int_equal(sim_host_counter(MM_HOST_swap_slots), 0);
    sim_stop();
}

/* What the disk kept is worth nothing once the disk does not answer. */
static void disk_gone(void **state)
{
    (void)state;
    start(47, true);
    clean_page();
    sim.stop_allowed = sim.victim_allowed = true;
    sim.disk.gone = true;
    uint64_t unwritten = 0;
    for (unsigned i = 0; i < 40; i++) {
        for (uint32_t g = 0; g < PAGES; g += 7)
            if (!vm->stopped && homes_of(vm, g) == HOME_PRIVATE)
                sim_read(vm, g);
        sim_run(50);
        if (sim_host_counter(MM_HOST_swap_online) == 0 && !unwritten)
            unwritten = sim_host_counter(MM_HOST_swap_unwritten) + 1;
    }
    if (unwritten)
        assert_int_equal(sim_host_counter(MM_HOST_swap_unwritten) + 1, unwritten);
    sim_oracle(true);
    sim_stop();
}

/* Then no page leaves with the slot it kept. */
static void disk_gone_for_a_slot(void **state)
{
    (void)state;
    unsigned level;
    start(50, true);
    uint32_t kept = clean_page(), away = 0;
    sim_settle();
    while (homes_of(other, away) != HOME_SWAP)
        away++;
    sim.stop_allowed = true;
    sim.disk.gone = true;
    assert_int_equal(sim_read(other, away), MM_STOPPED);
    assert_int_equal(sim_host_counter(MM_HOST_swap_online), 0);
    entry_t entry = { sim_peek(vm, kept, &level) };
    assert_true(is_clean(vm, kept) && !entry_is_dirty(entry));
    uint32_t count = clean_count();
    swap_slot_t slot;
    SIM_CORE(slot = clean_take(entry_frame(entry), entry));
    assert_int_equal(slot.v, SWAP_SLOT_NONE.v);
    assert_int_equal(clean_count(), count - 1);
    assert_false(swap_is_roomy());
    sim_oracle(true);
    sim_stop();
}

/* Without dirty bits a page is read-only for its slot's sake. The sharing scan, which finds
 * it uniform and has no room for its word, leaves it so: the next write is noticed. */
static void beside_a_full_table(void **state)
{
    (void)state;
    unsigned clean = 0, level;
    start_with(50, false, 1500, true);
    for (uint32_t g = 0; g < PAGES; g++)
        sim_write(vm, g, SIM_UNIFORM, 0x1000 + g);
    for (unsigned round = 0; round < 6; round++) {
        read_all(other);
        read_all(vm);
        sim_run(200);
    }
    assert_true(sim_host_counter(MM_HOST_share_fill_full) > 0);
    for (uint32_t g = 0; g < PAGES; g++)
        if (is_clean(vm, g)) {
            clean++;
            assert_false(entry_is_writable((entry_t){ sim_peek(vm, g, &level) }));
            sim_write_word(vm, g, 8, g);
            assert_false(is_clean(vm, g));
        }
    assert_true(clean > 0);
    read_all(other);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* Sharing: an equal page is found and merged; without one the slot stays while
 * memory is short. */
static void beside_sharing(void **state)
{
    (void)state;
    start_with(48, true, 1500, true);
    for (unsigned round = 0; round < 6; round++) {
        read_all(vm);
        read_all(other);
    }
    assert_true(sim_host_counter(MM_HOST_share_clean) > 0);
    assert_true(sim_host_counter(MM_HOST_swap_unwritten) > 0);
    /* Memory is plenty again: unmatched pages go into the index, and merge. */
    uint32_t g = clean_page();
    sim_vm_remove(other);
    for (unsigned i = 0; i < 400; i++)
        sim_run(20);
    assert_int_equal(mm_host_state(), MM_HIGH);
    assert_false(is_clean(vm, g));
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_only_guests),
        cmocka_unit_test(read_only_guests_without_dirty_bits),
        cmocka_unit_test(writes_are_noticed),
        cmocka_unit_test(writes_are_noticed_without_dirty_bits),
        cmocka_unit_test(cached_translations),
        cmocka_unit_test(little_room),
        cmocka_unit_test(no_room_for_slots),
        cmocka_unit_test(area_that_shrinks),
        cmocka_unit_test(given_back),
        cmocka_unit_test(given_back_in_parts),
        cmocka_unit_test(given_back_in_turn),
        cmocka_unit_test(ranges_without_pages),
        cmocka_unit_test(beside_a_full_table),
        cmocka_unit_test(given_up),
        cmocka_unit_test(disk_gone),
        cmocka_unit_test(disk_gone_for_a_slot),
        cmocka_unit_test(beside_sharing),
    };
    return cmocka_run_group_tests_name("clean", tests, NULL, NULL);
}
