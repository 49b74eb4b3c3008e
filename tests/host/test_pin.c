/*
 * mm_pin(): the hypervisor's only way to guest memory.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/host/homes.h"

static struct sim_vm *vm;

static int setup(void **state)
{
    struct sim_settings settings;
    (void)state;
    sim_settings_default(&settings, 11);
    settings.frames = 400;
    sim_start(&settings);
    vm = sim_vm_simple(128);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sim_stop();
    return 0;
}

static void reads_and_writes(void **state)
{
    (void)state;
    sim_write(vm, 5, SIM_TEXT, 5);
    int pin = sim_pin(vm, NULL, 5, true);
    assert_true(pin >= 0);
    sim_unpin(vm, pin);
    /* A page never touched. */
    pin = sim_pin(vm, &vm->vcpus[0], 6, true);
    assert_true(pin >= 0);
    sim_oracle(true);
    sim_unpin(vm, pin);
    sim_verify(vm);
}

static void outside_of_memory(void **state)
{
    void *page = NULL;
    (void)state;
    assert_int_equal(mm_pin(vm->core, &vm->vcpus[0].core, gfn(128), MM_READ, &page), MM_NO_PAGE);
    assert_int_equal(mm_pin(vm->core, NULL, gfn(UINT32_MAX), MM_WRITE, &page), MM_NO_PAGE);
    assert_int_equal(mm_pin(vm->core, NULL, gfn(0xd0000), MM_WRITE, &page), MM_NO_PAGE);
    sim_oracle(true);
}

/* The same page pinned twice is unpinned twice. */
static void nested(void **state)
{
    void *one, *two;
    (void)state;
    assert_int_equal(mm_pin(vm->core, &vm->vcpus[0].core, gfn(9), MM_WRITE, &one), MM_DONE);
    assert_int_equal(mm_pin(vm->core, &vm->vcpus[0].core, gfn(9), MM_READ, &two), MM_DONE);
    assert_ptr_equal(one, two);
    mm_unpin(vm->core, gfn(9));
    assert_int_not_equal(sim_inflate(vm, 9), MM_BALLOON_OK);
    mm_unpin(vm->core, gfn(9));
    assert_int_equal(sim_inflate(vm, 9), MM_BALLOON_OK);
}

static void balloon_refuses_a_pinned_page(void **state)
{
    (void)state;
    sim_write(vm, 3, SIM_NOISE, 1);
    int pin = sim_pin(vm, &vm->vcpus[0], 3, true);
    assert_int_equal(sim_inflate(vm, 3), MM_BALLOON_PINNED);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_pinned), 1);
    sim_unpin(vm, pin);
    assert_int_equal(sim_inflate(vm, 3), MM_BALLOON_OK);
}

/* Pinned pages stay while everything else is driven out. */
static void pinned_pages_stay(void **state)
{
    int pins[4];
    struct sim_vm *other = sim_vm_simple(160), *third = sim_vm_simple(160);
    (void)state;
    for (int i = 0; i < 4; i++) {
        sim_write(vm, (uint32_t)i, i < 2 ? SIM_TEXT : SIM_COMMON, 3);
        pins[i] = sim_pin(vm, &vm->vcpus[0], (uint32_t)i, i % 2);
        assert_true(pins[i] >= 0);
    }
    for (unsigned round = 0; round < 3; round++)
        for (uint32_t g = 0; g < 160; g++) {
            sim_write(other, g, SIM_NOISE, g);
            sim_write(third, g, SIM_COMMON, g);
            if (g % 16 == 0)
                sim_oracle(true);
        }
    for (int i = 0; i < 4; i++)
        sim_unpin(vm, pins[i]);
    sim_settle();
    sim_verify(vm);
    sim_verify(other);
    sim_verify(third);
}

/* Pages in every home come back through a pin. */
static void from_every_home(void **state)
{
    struct sim_vm *other = sim_vm_simple(400);
    (void)state;
    for (uint32_t g = 0; g < 128; g++)
        sim_write(vm, g, (enum sim_content)(g % SIM_CONTENT_COUNT), g);
    for (uint32_t g = 0; g < 400; g++)
        sim_write(other, g, SIM_NOISE, 1000 + g);
    for (uint32_t g = 0; g < 128; g++) {
        int pin;
        for (unsigned i = 0; (pin = sim_pin(vm, NULL, g, g % 2)) < 0; i++) {
            assert_true(i < 10000);
            sim_pump();
        }
        sim_unpin(vm, pin);
    }
    sim_oracle(true);
    sim_verify(vm);
    sim_verify(other);
}

/* Two merged pages of a new VM, the first pinned for reading. */
static struct sim_vm *merged_and_pinned(int *pin)
{
    struct sim_vm *pair = sim_vm_simple(16 + SIM_ROLL_PAGES);
    sim_write(pair, 0, SIM_TEXT, 1);
    sim_write(pair, 1, SIM_TEXT, 1);
    sim_roll_floor(&pair->vcpus[0]);
    for (unsigned i = 0; i < 3000 && homes_of(pair, 0) != HOME_SHARED; i++)
        sim_pump();
    assert_int_equal(homes_of(pair, 0), HOME_SHARED);
    *pin = sim_pin(pair, &pair->vcpus[0], 0, false);
    assert_true(*pin >= 0);
    return pair;
}

/* All sharers leave: the frame stays for whoever reads it through a pin. */
static void merged_frame_outlives_its_sharers(void **state)
{
    int pin;
    (void)state;
    struct sim_vm *pair = merged_and_pinned(&pin);
    sim_write(pair, 0, SIM_NOISE, 2);
    sim_write(pair, 1, SIM_NOISE, 3);
    assert_int_equal(frame_kind_count(FRAME_SHARED), 1);
    for (uint32_t g = 0; g < 100; g++)
        sim_write(vm, g, SIM_NOISE, g);
    sim_oracle(true);
    sim_unpin(pair, pin); /* compares with the content of that time */
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    sim_oracle(true);
}

/* A VM is destroyed with its pins. */
static void pins_end_with_their_vm(void **state)
{
    int pin;
    (void)state;
    struct sim_vm *pair = merged_and_pinned(&pin);
    pair->pins[pin].used = false; /* forgotten */
    free(pair->pins[pin].then);
    sim_vm_remove(pair);
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    sim_oracle(true);
}

/* A merged page pinned twice is one sharer more, until both are gone. */
static void merged_and_pinned_twice(void **state)
{
    int pin;
    void *content;
    (void)state;
    struct sim_vm *pair = merged_and_pinned(&pin);
    unsigned level;
    struct frame *frame = frame_at(entry_frame((entry_t){ sim_peek(pair, 0, &level) }));
    assert_int_equal(frame->shared.count, 3);
    assert_int_equal(mm_pin(pair->core, NULL, gfn(0), MM_READ, &content), MM_DONE);
    assert_int_equal(frame->shared.count, 3);
    mm_unpin(pair->core, gfn(0));
    assert_int_equal(frame->shared.count, 3);
    sim_unpin(pair, pin);
    assert_int_equal(frame->shared.count, 2);
    sim_oracle(true);
}

/* Of its pins, the first is given back and the second is not when a VM ends. */
static void some_pins_end_with_their_vm(void **state)
{
    int pin, other;
    (void)state;
    struct sim_vm *pair = merged_and_pinned(&pin);
    other = sim_pin(pair, NULL, 1, false);
    sim_unpin(pair, pin);
    pair->pins[other].used = false; /* forgotten */
    free(pair->pins[other].then);
    sim_vm_remove(pair);
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    sim_oracle(true);
}

int main(void)
{
#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        ON_MACHINE(reads_and_writes),
        ON_MACHINE(outside_of_memory),
        ON_MACHINE(nested),
        ON_MACHINE(balloon_refuses_a_pinned_page),
        ON_MACHINE(pinned_pages_stay),
        ON_MACHINE(merged_frame_outlives_its_sharers),
        ON_MACHINE(pins_end_with_their_vm),
        ON_MACHINE(from_every_home),
        ON_MACHINE(merged_and_pinned_twice),
        ON_MACHINE(some_pins_end_with_their_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
