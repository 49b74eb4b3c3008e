/*
 * Nested faults: first touches, execution, spurious faults, waiting and waking,
 * tables made and charged, and no frame left.
 */
#include <string.h>

#include "mm/floor.h"
#include "mm/nested.h"
#include "tests/host/homes.h"

static void start(uint32_t frames, unsigned cpus)
{
    struct sim_settings settings;
    sim_settings_default(&settings, 21);
    settings.frames = frames;
    settings.cpus = cpus;
    sim_start(&settings);
}

static void first_touch(void **state)
{
    (void)state;
    start(400, 1);
    struct sim_vm *vm = sim_vm_simple(64);
    assert_int_equal(sim_vm_counter(vm, MM_VM_zero), 64);
    sim_read(vm, 1);
    sim_write(vm, 2, SIM_NOISE, 2);
    sim_do(&vm->vcpus[0], (struct sim_op){ .kind = SIM_EXEC, .gfn = 3 });
    assert_int_equal(sim_vm_counter(vm, MM_VM_private), 3);
    assert_int_equal(sim_vm_counter(vm, MM_VM_faults_zero), 3);
    assert_int_equal(sim_vm_counter(vm, MM_VM_zero), 61);
    assert_true(sim_vm_counter(vm, MM_VM_tables) >= 4);
    sim_oracle(true);
    sim_stop();
}

/* A fault on a page that is there already (another vCPU was faster). */
static void spurious(void **state)
{
    (void)state;
    start(400, 1);
    struct sim_vm *vm = sim_vm_simple(64);
    sim_write(vm, 7, SIM_NOISE, 7);
    unsigned level;
    uint64_t before = sim_peek(vm, 7, &level);
    assert_int_equal(mm_fault(&vm->vcpus[0].core, gpa(7 * PAGE_SIZE + 123), MM_WRITE), MM_DONE);
    assert_int_equal(mm_fault(&vm->vcpus[0].core, gpa(7 * PAGE_SIZE), MM_EXEC), MM_DONE);
    assert_int_equal(sim_peek(vm, 7, &level) | 0x300, before | 0x300);
    assert_true(sim_vm_counter(vm, MM_VM_faults_table) >= 1);
    sim_oracle(true);
    sim_stop();
}

/* Sparse touches make a table each; all pages given back collapse them. */
static void tables_come_and_go(void **state)
{
    (void)state;
    start(600, 2);
    struct sim_vm *vm = sim_vm_simple(512 * 6 > 1200 ? 1200 : 512 * 6);
    uint64_t empty = sim_vm_counter(vm, MM_VM_tables);
    for (uint32_t g = 0; g < 1200; g += 512)
        sim_write(vm, g, SIM_NOISE, g);
    uint64_t used = sim_vm_counter(vm, MM_VM_tables);
    assert_true(used >= empty + 3);
    sim_oracle(true);
    for (uint32_t g = 0; g < 1200; g += 512) {
        assert_int_equal(sim_inflate(vm, g), MM_BALLOON_OK);
        /* Another CPU has the way down to the table in its cache. */
        vm->vcpus[0].cpu = 1;
        sim_enter(&vm->vcpus[0]);
        sim_speculate(&vm->vcpus[0], g);
        vm->vcpus[0].cpu = 0;
        assert_int_equal(sim_deflate(vm, g), MM_BALLOON_OK);
        sim_oracle(true);
    }
    sim_settle();
    assert_true(sim_vm_counter(vm, MM_VM_tables) < used);
    sim_verify(vm);
    sim_stop();
}

/* Everybody touches everything, far more than there is. */
static void more_than_there_is(void **state)
{
    (void)state;
    start(400, 2);
    struct sim_vm *vms[3];
    for (unsigned i = 0; i < 3; i++)
        vms[i] = sim_vm_simple(400);
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t g = 0; g < 400; g++) {
            for (unsigned i = 0; i < 3; i++)
                sim_write(vms[i], g, SIM_NOISE, g * 10 + i + round);
            if (g % 16 == 0)
                sim_oracle(g % 64 == 0);
        }
    for (unsigned i = 0; i < 3; i++)
        sim_verify(vms[i]);
    assert_true(sim.waits > 0);
    assert_true(sim_host_counter(MM_HOST_waits) > 0);
    sim_oracle(true);
    sim_stop();
}

/* vCPUs that wait are woken once each, and the reason is named. */
static void waiting_and_waking(void **state)
{
    const uint32_t number = 40;
    struct mm_vm_config config;
    (void)state;
    homes_start(HOME_SWAP, 5);
    sim_vm_config_default(&config, 512);
    config.vcpu_count = 4;
    config.salt = 1;
    struct sim_vm *vm = sim_vm_add(&config);
    assert_true(homes_reach(vm, number, HOME_SWAP));
    sim_settle();
    for (unsigned i = 0; i < 4; i++) {
        vm->vcpus[i].op = (struct sim_op){ .kind = SIM_READ, .gfn = number };
        assert_int_equal(sim_vcpu_try(&vm->vcpus[i]), MM_WAIT);
        assert_int_equal(vm->vcpus[i].core.waiting, MM_WAIT_PAGE_IN);
    }
    /* Asked again, a sleeper still waits. */
    vm->vcpus[0].asleep = false;
    assert_int_equal(sim_vcpu_try(&vm->vcpus[0]), MM_WAIT);
    for (unsigned i = 0; i < 2000 && (vm->vcpus[0].asleep || vm->vcpus[3].asleep); i++)
        sim_pump();
    for (unsigned i = 0; i < 4; i++) {
        assert_false(vm->vcpus[i].asleep);
        assert_int_equal(vm->vcpus[i].core.waiting, MM_WAIT_NONE);
        assert_true(vm->vcpus[i].wakes >= 1);
        assert_int_equal(sim_vcpu_try(&vm->vcpus[i]), MM_DONE);
    }
    assert_int_equal(sim_vm_counter(vm, MM_VM_faults_swap), 1);
    assert_true(sim_vm_counter(vm, MM_VM_stall_page_in) > 0);
    sim_stop();
}

/* An instruction can need many pages at once: all of the last 50 stay. */
static void floor_of_a_vcpu(void **state)
{
    (void)state;
    start(500, 1);
    struct sim_vm *vm = sim_vm_simple(300), *other = sim_vm_greedy(600);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(vm, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 600; g++)
        sim_write(other, g, SIM_NOISE, g);
    uint32_t brought[50], count = 0;
    for (uint32_t g = 0; g < 300 && count < 50; g++)
        if (homes_of(vm, g) == HOME_SWAP || homes_of(vm, g) == HOME_POOL) {
            brought[count++] = g;
            sim_read(vm, g);
        }
    assert_int_equal(count, 50);
    /* However hard others press, these 50 are still there. */
    for (uint32_t g = 0; g < 600; g++)
        sim_write(other, g, SIM_NOISE, 1000 + g);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(homes_of(vm, brought[i]), HOME_PRIVATE);
    sim_verify(other);
    sim_stop();
}

/* The hand comes to the pages of the floor first, and passes them. */
static void the_hand_passes_the_floor(void **state)
{
    (void)state;
    start(700, 1);
    struct sim_vm *vm = sim_vm_simple(300), *other = sim_vm_greedy(600);
    for (uint32_t g = 300; g-- > 0;)
        sim_write(vm, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 600; g++)
        sim_write(other, g, SIM_NOISE, g);
    uint64_t left = sim_vm_counter(vm, MM_VM_private);
    assert_true(left < 200);
    for (uint32_t g = 0; g < MM_VCPU_FLOOR; g++)
        assert_int_equal(homes_of(vm, g), HOME_PRIVATE);
    sim_verify(vm);
    sim_stop();
}

/* Two pages are locked both or not at all. */
static void pair_that_is_not_there(void **state)
{
    (void)state;
    struct leaf a, b;
    start(500, 1);
    struct sim_vm *vm = sim_vm_simple(1300);
    sim_write(vm, 0, SIM_NOISE, 0);
    assert_false(nested_lock_pair(vm->core, gfn(0), &a, vm->core, gfn(1100), &b));
    assert_int_equal(lock_held_count(), 0);
    assert_false(nested_lock_pair(vm->core, gfn(1100), &a, vm->core, gfn(0), &b));
    assert_int_equal(lock_held_count(), 0);
    sim_write(vm, 1100, SIM_NOISE, 1);
    assert_true(nested_lock_pair(vm->core, gfn(1100), &a, vm->core, gfn(0), &b));
    assert_int_equal(lock_held_count(), 2);
    nested_unlock(&b);
    nested_unlock(&a);
    assert_int_equal(lock_held_count(), 0);
    sim_oracle(true);
    sim_stop();
}

/* Any number of pages passes through a floor; the last ones are on it. */
static void marks_of_a_floor(void **state)
{
    (void)state;
    start(400, 1);
    struct sim_vm *vm = sim_vm_simple(300);
    sim_write(vm, 0, SIM_NOISE, 0);
    unsigned level;
    struct frame *frame = frame_at(entry_frame((entry_t){ sim_peek(vm, 0, &level) }));
    for (uint32_t i = 0; i < 300 * 200; i++) {
        SIM_CORE(floor_protect(&vm->vcpus[0].core, gfn(i % 200), frame));
        assert_true(floor_holds(vm->core, gfn(i % 200), frame));
    }
    assert_false(floor_holds(vm->core, gfn(0), frame));
    sim_stop();
}

static void a_stopped_vm_stays_stopped(void **state)
{
    const uint32_t number = 40;
    (void)state;
    homes_start(HOME_SWAP, 6);
    struct sim_vm *vm = sim_vm_simple(256);
    assert_true(homes_reach(vm, number, HOME_SWAP));
    sim_settle();
    sim.stop_allowed = true;
    sim.disk.fail_read_first = 1;
    sim.disk.fail_read_count = UINT64_MAX;
    assert_int_equal(sim_read(vm, number), MM_STOPPED);
    assert_true(vm->stopped);
    assert_int_equal(vm->reason, MM_STOP_SWAP_READ);
    void *page;
    assert_int_equal(mm_fault(&vm->vcpus[0].core, gpa(0x3000), MM_WRITE), MM_STOPPED);
    assert_int_equal(mm_pin(vm->core, &vm->vcpus[0].core, gfn(3), MM_READ, &page), MM_STOPPED);
    sim_disk_heal();
    sim_verify(homes_squeezer());
    sim_oracle(true);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_touch),
        cmocka_unit_test(spurious),
        cmocka_unit_test(tables_come_and_go),
        cmocka_unit_test(more_than_there_is),
        cmocka_unit_test(waiting_and_waking),
        cmocka_unit_test(floor_of_a_vcpu),
        cmocka_unit_test(the_hand_passes_the_floor),
        cmocka_unit_test(marks_of_a_floor),
        cmocka_unit_test(pair_that_is_not_there),
        cmocka_unit_test(a_stopped_vm_stays_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
