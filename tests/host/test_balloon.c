/*
 * The balloon, as the device model uses the core: hostile page numbers, pages in
 * every home, drivers that lie, sleep or never answer.
 */
#include <string.h>

#include "mm/balloon.h"
#include "tests/host/homes.h"

static struct sim_vm *vm;

static void start(uint32_t frames, uint32_t pages)
{
    struct sim_settings settings;
    sim_settings_default(&settings, 41);
    settings.frames = frames;
    sim_start(&settings);
    vm = sim_vm_simple(pages);
}

static void out_of_range(void **state)
{
    static const uint32_t numbers[] = { 64, 65, 4096, 0xd0000, 0xfee00, 0xffffffff, 0x80000000 };
    (void)state;
    start(400, 64);
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        assert_int_equal(sim_inflate(vm, numbers[i]), MM_BALLOON_OUT_OF_RANGE);
        assert_int_equal(sim_deflate(vm, numbers[i]), MM_BALLOON_OUT_OF_RANGE);
    }
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_out_of_range), 14);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon), 0);
    sim_oracle(true);
    sim_stop();
}

static void twice(void **state)
{
    (void)state;
    start(400, 64);
    sim_write(vm, 5, SIM_NOISE, 5);
    uint32_t free = frame_free_count();
    assert_int_equal(sim_inflate(vm, 5), MM_BALLOON_OK);
    assert_int_equal(frame_free_count(), free + 1);
    assert_int_equal(sim_inflate(vm, 5), MM_BALLOON_DONE_ALREADY);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon), 1);
    assert_int_equal(sim_deflate(vm, 5), MM_BALLOON_OK);
    assert_int_equal(sim_deflate(vm, 5), MM_BALLOON_DONE_ALREADY);
    assert_int_equal(sim_deflate(vm, 6), MM_BALLOON_DONE_ALREADY);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon), 0);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_done_already), 3);
    assert_int_equal(sim_vm_counter(vm, MM_VM_inflated), 1);
    assert_int_equal(sim_vm_counter(vm, MM_VM_deflated), 1);
    assert_int_equal(sim_host_counter(MM_HOST_freed_balloon), 1);
    assert_int_equal(sim_host_counter(MM_HOST_taken_balloon), 1);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* Touched without a deflate: a fresh zero page, charged and counted. */
static void touched_again(void **state)
{
    (void)state;
    start(400, 64);
    for (uint32_t g = 0; g < 20; g++)
        sim_write(vm, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 20; g++)
        assert_int_equal(sim_inflate(vm, g), MM_BALLOON_OK);
    uint64_t resident = sim_vm_counter(vm, MM_VM_resident);
    for (uint32_t g = 0; g < 20; g++)
        assert_int_equal(sim_read(vm, g), MM_DONE); /* the oracle expects zeroes */
    assert_int_equal(sim_vm_counter(vm, MM_VM_faults_balloon), 20);
    assert_int_equal(sim_vm_counter(vm, MM_VM_resident), resident + 20);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon), 0);
    assert_int_equal(sim_host_counter(MM_HOST_taken_balloon), 20);
    /* Pages that held no frame give none, and take none when they are touched. */
    for (uint32_t g = 30; g < 40; g++)
        assert_int_equal(sim_inflate(vm, g), MM_BALLOON_OK);
    for (uint32_t g = 30; g < 40; g++)
        sim_read(vm, g);
    assert_int_equal(sim_host_counter(MM_HOST_freed_balloon), 20);
    assert_int_equal(sim_host_counter(MM_HOST_taken_balloon), 20);
    sim_oracle(true);
    sim_stop();
}

static void shared_page(void **state)
{
    (void)state;
    start(500, 64 + SIM_ROLL_PAGES);
    for (uint32_t g = 0; g < 3; g++)
        sim_write(vm, g, SIM_COMMON, 1);
    sim_roll_floor(&vm->vcpus[0]);
    for (unsigned i = 0; i < 3000 && homes_of(vm, 2) != HOME_SHARED; i++)
        sim_pump();
    assert_int_equal(homes_of(vm, 2), HOME_SHARED);
    uint32_t free = frame_free_count();
    uint64_t freed = sim_host_counter(MM_HOST_freed_balloon);
    assert_int_equal(sim_inflate(vm, 0), MM_BALLOON_OK);
    /* Counted net: another page still needs the frame. */
    assert_int_equal(frame_free_count(), free);
    assert_int_equal(homes_of(vm, 1), HOME_SHARED);
    assert_int_equal(sim_inflate(vm, 1), MM_BALLOON_OK);
    assert_int_equal(sim_inflate(vm, 2), MM_BALLOON_OK);
    assert_int_equal(frame_free_count(), free + 1);
    assert_int_equal(sim_host_counter(MM_HOST_freed_balloon), freed + 1);
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* Every page of the guest, again and again, with the guest touching them. */
static void storm(void **state)
{
    (void)state;
    start(300, 128);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t number = (uint32_t)rng_below(&sim.rng, 130);
        if (rng_below(&sim.rng, 2))
            sim_inflate(vm, number);
        else
            sim_deflate(vm, number);
        if (i % 64 == 0) {
            sim_write(vm, (uint32_t)rng_below(&sim.rng, 128), SIM_TEXT, i);
            sim_oracle(true);
        }
    }
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon), vm->inflated_count);
    sim_verify(vm);
    sim_stop();
}

static void lying_driver(void **state)
{
    static const uint32_t lies[] = { 0, 1, 127, 128, 129, 0x7fffffff, 0xffffffff };
    (void)state;
    start(300, 128);
    struct sim_vm *other = sim_vm_simple(400);
    for (unsigned i = 0; i < 7; i++) {
        mm_balloon_driver(vm->core, true, false, lies[i]);
        struct mm_guest_stats stats;
        memset(&stats, (int)(i * 37), sizeof stats);
        mm_balloon_statistics(vm->core, &stats);
        for (uint32_t g = 0; g < 128; g++)
            sim_write(vm, g, SIM_NOISE, g + i);
        for (uint32_t g = 0; g < 400; g += 2)
            sim_write(other, g, SIM_NOISE, g + i);
        sim_run(50);
        assert_true(mm_balloon_target(vm->core) <= 128);
        sim_oracle(true);
    }
    sim_verify(vm);
    sim_verify(other);
    sim_stop();
}

/* A driver that answers is asked, and what it gives is enough. */
static void working_driver(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 43);
    settings.frames = 500;
    settings.core.min_free_permille = 200; /* time to act between the states */
    settings.core.tiers[MM_TIER_COMPRESS] = false;
    settings.core.tiers[MM_TIER_SHARE] = false;
    sim_start(&settings);
    vm = sim_vm_simple(300);
    struct sim_vm *other = sim_vm_simple(300);
    vm->driver = true;
    mm_balloon_driver(vm->core, true, false, 0);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_IDLE);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(vm, g, SIM_NOISE, g);
    uint32_t most = 0;
    for (uint32_t g = 0; g < 300; g++) {
        sim_write(other, g, SIM_NOISE, 5000 + g);
        sim_balloon_work(vm, 4);
        sim_run(8);
        if (vm->inflated_count > most)
            most = vm->inflated_count;
        if (g % 20 == 0)
            sim_oracle(true);
    }
    assert_true(most > 20);
    assert_true(sim_host_counter(MM_HOST_freed_balloon) > 0);
    sim_verify(vm);
    sim_verify(other);
    /* Memory is plenty again: the guest gets all of it back. */
    assert_true(vm->inflated_count > 0);
    sim_vm_remove(other);
    for (unsigned i = 0; i < 2000 && vm->inflated_count > 0; i++) {
        sim_balloon_work(vm, 4);
        sim_run(8);
    }
    assert_int_equal(mm_balloon_target(vm->core), 0);
    assert_int_equal(vm->inflated_count, 0);
    sim_oracle(true);
    sim_stop();
}

/* One that never answers is noticed, and the next tier does the work. */
static void stuck_driver(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 44);
    settings.frames = 500;
    sim_start(&settings);
    vm = sim_vm_simple(300);
    struct sim_vm *other = sim_vm_simple(400);
    mm_balloon_driver(vm->core, true, false, 0);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(vm, g, SIM_NOISE, g);
    bool stuck = false;
    for (uint32_t g = 0; g < 400; g++) {
        sim_write(other, g, SIM_NOISE, 5000 + g);
        sim_run(20);
        if (sim_vm_counter(vm, MM_VM_balloon_state) != MM_DRIVER_STUCK)
            continue;
        stuck = true;
        assert_false(balloon_can_help());
    }
    assert_true(stuck);
    assert_true(sim.events[MM_EVENT_BALLOON] > 0);
    assert_true(sim_host_counter(MM_HOST_freed_swap) + sim_host_counter(MM_HOST_freed_compress) >
                0);
    sim_oracle(true);
    sim_verify(vm);
    sim_verify(other);
    sim_stop();
}

/* One page in most of the time it has is slow, not stuck. */
static void slow_driver(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 45);
    settings.frames = 700;
    settings.disk_pages = 0;
    settings.interleave = 0;
    memset(settings.core.tiers, 0, sizeof settings.core.tiers);
    settings.core.tiers[MM_TIER_BALLOON] = true;
    sim_start(&settings);
    vm = sim_vm_simple(300);
    struct sim_vm *greedy = sim_vm_greedy(600);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(vm, g, SIM_NOISE, g);
    mm_balloon_driver(vm->core, true, false, 0);
    for (uint32_t g = 0; g < 600 && mm_host_state() < MM_SOFT; g++) {
        sim_write(greedy, g, SIM_NOISE, g);
        sim_pump();
    }
    for (uint32_t page = 0; page < 12; page++) {
        sim_run(320); /* 80 ticks */
        assert_true(mm_balloon_target(vm->core) > page + 1);
        assert_int_not_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_STUCK);
        assert_int_equal(sim_inflate(vm, page), MM_BALLOON_OK);
    }
    sim_run(800);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_STUCK);
    sim_oracle(true);
    sim_stop();
}

/* The driver is reset in mid-inflate: the books stay exact. */
static void reset(void **state)
{
    (void)state;
    start(400, 128);
    mm_balloon_driver(vm->core, true, false, 0);
    for (uint32_t g = 0; g < 100; g++)
        sim_write(vm, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 50; g++)
        sim_inflate(vm, g);
    mm_balloon_driver(vm->core, false, false, 0);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_ABSENT);
    sim_oracle(true);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon), 50);
    mm_balloon_driver(vm->core, true, false, 0);
    for (uint32_t g = 0; g < 50; g++)
        assert_int_equal(sim_inflate(vm, g), MM_BALLOON_DONE_ALREADY);
    mm_balloon_driver(vm->core, true, true, 0);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_FAILED);
    sim_verify(vm);
    sim_stop();
}

/* A VM without the device is never asked. */
static void no_device(void **state)
{
    struct mm_vm_config config;
    (void)state;
    start(400, 64);
    sim_vm_config_default(&config, 500);
    config.balloon = false;
    config.salt = 3;
    struct sim_vm *bare = sim_vm_add(&config);
    for (uint32_t g = 0; g < 500; g++)
        sim_write(bare, g, SIM_NOISE, g);
    assert_int_equal(mm_balloon_target(bare->core), 0);
    assert_int_equal(sim_vm_counter(bare, MM_VM_balloon_state), MM_DRIVER_ABSENT);
    sim_oracle(true);
    sim_stop();
}

/* The driver is asked for 65 % of its guest at most, and for nothing that is reserved. */
static void asked_for(uint32_t reserve, uint32_t most)
{
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 42);
    settings.frames = 700;
    settings.disk_pages = 0;
    settings.interleave = 0;
    memset(settings.core.tiers, 0, sizeof settings.core.tiers);
    settings.core.tiers[MM_TIER_BALLOON] = true;
    sim_start(&settings);
    sim_vm_config_default(&config, 300);
    config.reserve_pages = reserve;
    vm = sim_vm_add(&config);
    struct sim_vm *greedy = sim_vm_greedy(600);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(vm, g, SIM_NOISE, g);
    vm->driver = true;
    mm_balloon_driver(vm->core, true, false, 0);
    uint32_t asked = 0, g = 0;
    for (unsigned i = 0; i < 6000; i++) {
        if (mm_host_state() < MM_SOFT)
            sim_write(greedy, g, SIM_NOISE, g), g++;
        asked = mm_balloon_target(vm->core) > asked ? mm_balloon_target(vm->core) : asked;
        sim_balloon_work(vm, 4);
        sim_pump();
    }
    assert_int_equal(asked, most);
    assert_int_equal(vm->inflated_count, most);
    /* What it gives beyond that, it gives by itself. */
    for (uint32_t page = 0; page < 250; page++)
        sim_inflate(vm, page);
    for (unsigned i = 0; i < 200; i++) {
        if (mm_host_state() < MM_SOFT)
            sim_write(greedy, g, SIM_NOISE, g), g++;
        assert_true(mm_balloon_target(vm->core) <= vm->inflated_count);
        sim_pump();
    }
    sim_oracle(true);
    sim_stop();
}

static void how_much_is_asked_for(void **state)
{
    (void)state;
    asked_for(0, 195);
    asked_for(180, 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_of_range),   cmocka_unit_test(twice),
        cmocka_unit_test(touched_again),  cmocka_unit_test(shared_page),
        cmocka_unit_test(storm),          cmocka_unit_test(lying_driver),
        cmocka_unit_test(working_driver), cmocka_unit_test(stuck_driver),
        cmocka_unit_test(slow_driver),    cmocka_unit_test(reset),
        cmocka_unit_test(no_device),      cmocka_unit_test(how_much_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
