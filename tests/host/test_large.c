/*
 * Large mappings: made by a first touch, cut into pages by whoever needs one, made
 * again of private pages; limits, pins, fetches, estimates, and every byte.
 */
#include <string.h>

#include "mm/large.h"
#include "mm/nested.h"
#include "tests/host/ranges.h"

#define ACCESSED (sim.settings.npt ? 1ull << 5 : 1ull << 8)
#define DIRTY    (sim.settings.npt ? 1ull << 6 : 1ull << 9)

static struct sim_vm *start_with(uint32_t frames, uint32_t pages, uint32_t limit, bool execute)
{
    ranges_start(frames, execute);
    return ranges_vm(pages, limit);
}

static struct sim_vm *start(uint32_t frames, uint32_t pages)
{
    return start_with(frames, pages, pages, true);
}

/* A VM of 1024 pages whose first range is large and written. */
static struct sim_vm *start_filled(bool execute)
{
    struct sim_vm *vm = start_with(6000, 1024, 1024, execute);
    ranges_fill(vm, 0);
    return vm;
}

static uint64_t count(struct sim_vm *vm, enum mm_vm_counter counter)
{
    return sim_vm_counter(vm, counter);
}

static void first_touch(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1300);
    sim_read(vm, 700);
    assert_int_equal(ranges_level(vm, 512), 2);
    assert_int_equal(count(vm, MM_VM_large), 1);
    assert_int_equal(count(vm, MM_VM_private), 512);
    assert_int_equal(count(vm, MM_VM_resident), 512);
    assert_int_equal(count(vm, MM_VM_faults_zero), 1);
    sim_oracle(true);
    /* The 511 others cost no fault. */
    for (uint32_t g = 512; g < 1024; g++)
        sim_write(vm, g, SIM_NOISE, g);
    assert_int_equal(count(vm, MM_VM_faults_zero), 1);
    assert_int_equal(count(vm, MM_VM_faults_table), 0);
    /* Beyond its last whole range there is none. */
    sim_write(vm, 1290, SIM_NOISE, 1);
    assert_int_equal(ranges_level(vm, 1290), 1);
    assert_int_equal(sim_host_counter(MM_HOST_large), 1);
    sim_verify(vm);
    sim_stop();
}

/* P8: 512 pages at once stay within the limit, or come one by one. */
static void within_the_limit(void **state)
{
    (void)state;
    struct sim_vm *vm = start_with(6000, 1536, 900, true);
    for (uint32_t g = 0; g < 1536; g += 3) {
        sim_write(vm, g, SIM_NOISE, g);
        assert_true(count(vm, MM_VM_resident) <= 900);
        if (g % 60 == 0)
            sim_oracle(false);
    }
    assert_true(count(vm, MM_VM_large_made) == 1);
    sim_verify(vm);
    sim_stop();
}

static void only_while_memory_is_plenty(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 7);
    settings.frames = 3040;
    settings.core.large_pages = true;
    settings.core.min_free_permille = 200;
    sim_start(&settings);
    struct sim_vm *vm = sim_vm_simple(2048);
    uint64_t keep = 2 * sim_host_counter(MM_HOST_min_free);
    for (uint32_t g = 0; g < 2048; g += 512) {
        uint64_t made = count(vm, MM_VM_large_made);
        sim_write(vm, g, SIM_TEXT, g);
        if (count(vm, MM_VM_large_made) > made)
            assert_true(sim_host_counter(MM_HOST_frames_free) >= keep);
    }
    assert_int_equal(count(vm, MM_VM_large_made), 2);
    sim_verify(vm);
    sim_stop();
}

static void off_means_off(void **state)
{
    struct sim_settings settings;
    (void)state;
    sim_settings_default(&settings, 3);
    settings.frames = 4000;
    sim_start(&settings);
    struct sim_vm *vm = sim_vm_simple(1024);
    for (uint32_t g = 0; g < 1024; g += 8)
        sim_write(vm, g, SIM_TEXT, g);
    assert_int_equal(sim_host_counter(MM_HOST_large_made), 0);
    assert_int_equal(count(vm, MM_VM_private), 128);
    sim_stop();
}

/* One page leaves; the others stay where they are, with the bits of the large entry,
 * and a CPU that had the large translation has lost it. */
static void split_by_the_balloon(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1024);
    struct sim_translation found;
    vm->vcpus[1].cpu = 1;
    ranges_fill(vm, 0);
    sim_do(&vm->vcpus[1], (struct sim_op){ .kind = SIM_READ, .gfn = 9 });
    assert_true(sim_cached(&vm->vcpus[1], 9, &found) && found.large);
    uint64_t tables = count(vm, MM_VM_tables);
    assert_int_equal(sim_inflate(vm, 5), MM_BALLOON_OK);
    assert_false(sim_cached(&vm->vcpus[1], 9, &found));
    assert_int_equal(count(vm, MM_VM_tables), tables);
    assert_int_equal(count(vm, MM_VM_large), 0);
    assert_int_equal(count(vm, MM_VM_large_split), 1);
    assert_int_equal(count(vm, MM_VM_private), 511);
    for (uint32_t g = 0; g < 512; g++) {
        unsigned level;
        uint64_t entry = sim_peek(vm, g, &level);
        assert_int_equal(level, 1);
        if (g != 5)
            assert_int_equal(entry & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    }
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

/* The other way round: nothing was written, nothing says so. Pages that hold nothing
 * give their frames back, but for what is on a floor. */
static void untouched_pages(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1024);
    unsigned level;
    sim_read(vm, 3);
    assert_int_equal(count(vm, MM_VM_private), 512);
    assert_int_equal(sim_inflate(vm, 5), MM_BALLOON_OK);
    assert_int_equal(sim_peek(vm, 3, &level) & (ACCESSED | DIRTY), ACCESSED);
    assert_int_equal(level, 1);
    assert_int_equal(count(vm, MM_VM_private), 1);
    assert_int_equal(count(vm, MM_VM_out_uniform), 510);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

/* A host without a tier: what large mappings took beyond need comes back by itself. */
static void no_larger_than_it_is(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 5);
    settings.frames = 3200;
    settings.core.large_pages = true;
    memset(settings.core.tiers, 0, sizeof settings.core.tiers);
    sim_start(&settings);
    struct sim_vm *vm = sim_vm_simple(1536), *other = sim_vm_simple(2400);
    for (uint32_t g = 0; g < 1536; g += 512)
        sim_write(vm, g, SIM_TEXT, g);
    assert_true(count(vm, MM_VM_private) > 800);
    for (uint32_t g = 0; g < 2400; g++)
        sim_write(other, g, SIM_NOISE, g);
    assert_true(count(vm, MM_VM_private) < 600);
    assert_true(sim_host_counter(MM_HOST_large_split) > 0);
    for (uint32_t g = 0; g < 1536; g += 512)
        sim_read(vm, g);
    sim_verify(other);
    sim_stop();
}

static void pins_leave_it_whole(void **state)
{
    (void)state;
    struct sim_vm *vm = start_filled(true);
    unsigned level;
    int read = sim_pin(vm, &vm->vcpus[0], 7, false), write = sim_pin(vm, NULL, 8, true);
    assert_true(read >= 0 && write >= 0);
    assert_int_equal(ranges_level(vm, 7), 2);
    assert_int_equal(sim_inflate(vm, 7), MM_BALLOON_PINNED);
    assert_int_equal(ranges_level(vm, 7), 2);
    /* A neighbour leaves: pinned ones stay, and a pin for writing left its mark. */
    assert_int_equal(sim_inflate(vm, 9), MM_BALLOON_OK);
    assert_true(sim_peek(vm, 8, &level) & DIRTY);
    sim_unpin(vm, read);
    sim_unpin(vm, write);
    /* The first touch may be a pin. */
    write = sim_pin(vm, NULL, 600, true);
    assert_int_equal(ranges_level(vm, 600), 2);
    sim_unpin(vm, write);
    sim_verify(vm);
    sim_stop();
}

static void pins_show_in_the_dirty_bit(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1024);
    unsigned level;
    sim_read(vm, 0);
    int write = sim_pin(vm, NULL, 8, true);
    assert_int_equal(ranges_level(vm, 8), 2);
    sim_unpin(vm, write);
    assert_int_equal(sim_inflate(vm, 9), MM_BALLOON_OK);
    assert_true(sim_peek(vm, 8, &level) & DIRTY);
    assert_false(sim_peek(vm, 0, &level) & DIRTY);
    sim_stop();
}

/* Where executing from a large page can stop the processor, nobody can. */
static void fetches(void **state)
{
    (void)state;
    struct sim_vm *vm = start_filled(false);
    assert_int_equal(ranges_level(vm, 3), 2);
    sim_do(&vm->vcpus[0], (struct sim_op){ .kind = SIM_EXEC, .gfn = 3 });
    assert_int_equal(ranges_level(vm, 3), 1);
    assert_int_equal(count(vm, MM_VM_large_split), 1);
    sim_oracle(true);
    /* A first touch that is a fetch makes no large mapping. */
    sim_do(&vm->vcpus[0], (struct sim_op){ .kind = SIM_EXEC, .gfn = 600 });
    assert_int_equal(ranges_level(vm, 600), 1);
    assert_int_equal(count(vm, MM_VM_large_made), 1);
    /* Code stays cut however plenty memory is. */
    for (unsigned i = 0; i < 2000; i++)
        sim_pump();
    assert_int_equal(ranges_level(vm, 3), 1);
    assert_int_equal(count(vm, MM_VM_large_coalesced), 0);
    sim_verify(vm);
    sim_stop();
}

static void execution(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1024);
    sim_do(&vm->vcpus[0], (struct sim_op){ .kind = SIM_EXEC, .gfn = 3 });
    sim_do(&vm->vcpus[0], (struct sim_op){ .kind = SIM_EXEC, .gfn = 4 });
    assert_int_equal(ranges_level(vm, 3), 2);
    assert_int_equal(count(vm, MM_VM_large_split), 0);
    sim_stop();
}

static void coalesced_after_pressure(void **state)
{
    (void)state;
    struct sim_vm *vm = start_filled(true);
    unsigned level;
    ranges_replace(vm, 5);
    /* A pinned page keeps the range from moving. */
    int pin = sim_pin(vm, NULL, 100, true);
    for (unsigned i = 0; i < 1200; i++)
        sim_pump();
    assert_int_equal(ranges_level(vm, 5), 1);
    sim_unpin(vm, pin);
    uint64_t flushes = sim_host_counter(MM_HOST_flushes), free = frame_free_count();
    for (unsigned i = 0; i < 600 && ranges_level(vm, 5) == 1; i++) {
        /* Its guests go on meanwhile, on other CPUs. */
        sim_enter(&vm->vcpus[0]);
        sim_enter(&vm->vcpus[1]);
        sim_pump();
    }
    assert_int_equal(ranges_level(vm, 5), 2);
    assert_int_equal(count(vm, MM_VM_large), 1);
    assert_int_equal(count(vm, MM_VM_large_coalesced), 1);
    assert_true(sim_host_counter(MM_HOST_flushes) > flushes);
    assert_int_equal(frame_free_count(), free);
    sim_oracle(true);
    sim_verify(vm);
    /* Dirty bits of before are known again when it is cut. */
    assert_int_equal(sim_inflate(vm, 6), MM_BALLOON_OK);
    assert_true(sim_peek(vm, 7, &level) & DIRTY);
    sim_stop();
}

/* What is known of each page moves with it, where nobody writes meanwhile. */
static void dirty_bits_move(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1024);
    unsigned level;
    sim.settings.interleave = 0;
    ranges_fill(vm, 0);
    ranges_replace(vm, 5);
    for (unsigned i = 0; i < 1200 && ranges_level(vm, 5) == 1; i++) {
        sim_write_word(vm, 7, 8, i); /* the scan clears it */
        sim_pump();
    }
    assert_int_equal(ranges_level(vm, 5), 2);
    assert_int_equal(sim_inflate(vm, 6), MM_BALLOON_OK);
    assert_true(sim_peek(vm, 7, &level) & DIRTY);
    sim_stop();
}

/* The frames are neighbours already: nothing is copied. */
static void coalesced_in_place(void **state)
{
    (void)state;
    struct sim_vm *vm = start_with(6000, 1024, 1024, true);
    struct leaf leaf;
    unsigned level;
    ranges_fill(vm, 0);
    uint64_t before = sim_peek(vm, 0, &level) & 0x000ffffffffff000ull;
    SIM_CORE(nested_lock(vm->core, gfn(0), NESTED_LOOK, &leaf); large_split(&leaf);
             nested_unlock(&leaf));
    assert_true(ranges_wait_large(vm, 0, 1200));
    assert_int_equal(sim_peek(vm, 0, &level) & 0x000ffffffffff000ull, before);
    assert_int_equal(level, 2);
    sim_oracle(true);
    sim_verify(vm);
    sim_stop();
}

/* A range with a page in another home is left alone. */
static void not_all_private(void **state)
{
    (void)state;
    struct sim_vm *vm = start_filled(true);
    assert_int_equal(sim_inflate(vm, 5), MM_BALLOON_OK);
    for (unsigned i = 0; i < 2000; i++)
        sim_pump();
    assert_int_equal(ranges_level(vm, 6), 1);
    assert_int_equal(count(vm, MM_VM_balloon), 1);
    sim_stop();
}

/* Pressure cuts what plenty made, and no byte is lost on the way. */
static void pressure(void **state)
{
    (void)state;
    struct sim_vm *vm = start(3200, 1536), *greedy = sim_vm_greedy(2000);
    for (uint32_t g = 0; g < 1536; g++)
        sim_write(vm, g, g % 3 ? SIM_NOISE : SIM_TEXT, g);
    assert_true(count(vm, MM_VM_large) > 0);
    for (uint32_t g = 0; g < 2000; g++) {
        sim_write(greedy, g, SIM_NOISE, 9000 + g);
        if (g % 100 == 0)
            sim_oracle(true);
    }
    assert_true(count(vm, MM_VM_large_split) > 0);
    sim_verify(vm);
    sim_verify(greedy);
    sim_vm_remove(greedy);
    sim_oracle(true);
    /* Memory is plenty again: its guest brings all back, and ranges become whole. */
    for (uint32_t g = 0; g < 1536; g++)
        sim_write_word(vm, g, 64, g);
    for (unsigned i = 0; i < 3000; i++) {
        sim_pump();
        if (i % 500 == 0)
            sim_oracle(true);
    }
    assert_true(count(vm, MM_VM_large_coalesced) > 0);
    sim_verify(vm);
    sim_stop();
}

/* The scan leaves large mappings whole while memory is plenty, and says so. */
static void sharing_waits(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1024);
    for (uint32_t g = 0; g < 512; g++)
        sim_write(vm, g, SIM_COMMON, 3);
    for (unsigned i = 0; i < 1000; i++)
        sim_pump();
    assert_int_equal(ranges_level(vm, 0), 2);
    assert_int_equal(sim_host_counter(MM_HOST_share_merged), 0);
    assert_true(sim_host_counter(MM_HOST_share_large) > 0);
    sim_stop();
}

static void working_set(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1024);
    for (uint32_t g = 0; g < 1024; g++)
        sim_write(vm, g, SIM_NOISE, g);
    sim.settings.interleave = 0;
    for (unsigned i = 0; i < 3000; i++) {
        if (i % 10 == 0)
            sim_read(vm, 700);
        sim_pump();
    }
    /* One bit for 512 pages: the range that is used, and not the other. */
    assert_int_equal(count(vm, MM_VM_large), 2);
    assert_int_equal(count(vm, MM_VM_active), 512);
    assert_int_equal(count(vm, MM_VM_large_split), 0);
    sim_stop();
}

/* The VM ends with large mappings, one of them touched by nobody since. */
static void the_end(void **state)
{
    (void)state;
    struct sim_vm *vm = start(6000, 1536);
    uint32_t free = frame_free_count();
    for (uint32_t g = 0; g < 1536; g += 512)
        sim_write(vm, g, SIM_NOISE, g);
    assert_int_equal(sim_host_counter(MM_HOST_large), 3);
    sim_vm_remove(vm);
    assert_int_equal(sim_host_counter(MM_HOST_large), 0);
    assert_true(frame_free_count() > free);
    /* Their blocks are whole again. */
    vm = sim_vm_simple(1536);
    for (uint32_t g = 0; g < 1536; g += 512)
        sim_write(vm, g, SIM_NOISE, g);
    assert_int_equal(sim_host_counter(MM_HOST_large), 3);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_touch),
        cmocka_unit_test(within_the_limit),
        cmocka_unit_test(only_while_memory_is_plenty),
        cmocka_unit_test(off_means_off),
        cmocka_unit_test(split_by_the_balloon),
        cmocka_unit_test(untouched_pages),
        cmocka_unit_test(no_larger_than_it_is),
        cmocka_unit_test(pins_leave_it_whole),
        cmocka_unit_test(pins_show_in_the_dirty_bit),
        cmocka_unit_test(fetches),
        cmocka_unit_test(execution),
        cmocka_unit_test(coalesced_after_pressure),
        cmocka_unit_test(dirty_bits_move),
        cmocka_unit_test(coalesced_in_place),
        cmocka_unit_test(not_all_private),
        cmocka_unit_test(pressure),
        cmocka_unit_test(sharing_waits),
        cmocka_unit_test(working_set),
        cmocka_unit_test(the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
