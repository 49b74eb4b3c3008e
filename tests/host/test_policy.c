/*
 * What a policy may do: nothing but answer. One that answers nonsense, here in
 * the place of "fixed", is corrected and counted; and the answers of "esx" to views
 * at the edges.
 */
#include <string.h>

#include "mm/core.h"
#include "mm/policy.h"
#include "tests/host/sim.h"

static unsigned kind;

static void nonsense(const struct policy_view *view, uint32_t *targets)
{
    for (unsigned i = 0; i < view->vm_count; i++)
        targets[i] = kind == 0 ? 0 : kind == 1 ? UINT32_MAX : (uint32_t)rng_next(&sim.rng);
}

const struct policy policy_fixed = { "fixed", nonsense };

static void nonsense_is_corrected(void **state)
{
    (void)state;
    for (kind = 0; kind < 3; kind++) {
        struct sim_settings settings;
        struct mm_vm_config config;
        sim_settings_default(&settings, 63 + kind);
        settings.frames = 420;
        settings.core.policy = "fixed";
        sim_start(&settings);
        sim_vm_config_default(&config, 300);
        config.reserve_pages = 100;
        config.limit_pages = 200;
        struct sim_vm *vm = sim_vm_add(&config), *other = sim_vm_simple(250);
        for (uint32_t g = 0; g < 250; g++) {
            sim_write(vm, g, SIM_NOISE, g);
            sim_write(other, g, SIM_TEXT, g);
            uint64_t target = sim_vm_counter(vm, MM_VM_target);
            assert_in_range(target, 100, 200);
            if (g % 16 == 0)
                sim_oracle(true);
        }
        assert_true(sim_host_counter(MM_HOST_policy_corrected) > 0);
        sim_verify(vm);
        sim_verify(other);
        sim_stop();
    }
}

static struct policy_vm plain(uint32_t pages)
{
    return (struct policy_vm){ .pages = pages,
                               .resident = pages,
                               .reserve = pages / 4,
                               .limit = pages,
                               .shares = 1000,
                               .active = pages / 2 };
}

static void esx_at_the_edges(void **state)
{
    (void)state;
    static struct policy_view view;
    uint32_t targets[4];
    view = (struct policy_view){ .vm_count = 2, .idle_tax_percent = 75 };
    view.vms[0] = view.vms[1] = plain(1000);
    /* Room for all. */
    view.capacity = 2000;
    policy_esx.targets(&view, targets);
    assert_int_equal(targets[0] + targets[1], 2000);
    /* Equal VMs lose equally. */
    view.capacity = 1200;
    policy_esx.targets(&view, targets);
    assert_int_equal(targets[0] + targets[1], 1200);
    assert_in_range(targets[0], 590, 610);
    /* Less than the reservations: those stay. */
    view.capacity = 300;
    policy_esx.targets(&view, targets);
    assert_int_equal(targets[0], 250);
    assert_int_equal(targets[1], 250);
    /* More given to the balloon than there are pages; more resident than left. */
    view.capacity = 2000;
    view.vms[0].ballooned = 1500;
    policy_esx.targets(&view, targets);
    assert_int_equal(targets[0], 1000);
    view.vms[0].ballooned = 900;
    view.vms[0].resident = 50;
    policy_esx.targets(&view, targets);
    assert_int_equal(targets[0], 250); /* its reservation */
    /* Room for all, but a limit below its size. */
    view.vms[0] = plain(1000);
    view.vms[0].limit = view.vms[0].resident = 600;
    policy_esx.targets(&view, targets);
    assert_int_equal(targets[0], 600);
    /* Twice the shares lose less. */
    view.vms[0] = view.vms[1] = plain(1000);
    view.vms[1].shares = 2000;
    view.capacity = 1500;
    policy_esx.targets(&view, targets);
    assert_true(targets[1] > targets[0]);
    assert_int_equal(targets[0] + targets[1], 1500);
}

static void unknown_names(void **state)
{
    (void)state;
    assert_false(policy_init("none"));
    assert_false(policy_init(""));
    assert_true(policy_init("esx"));
}

/* Tables and minFree take all there is: what is left to divide is nothing, not a wrapped
 * number; everybody keeps what is reserved. */
static void nothing_to_divide(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 66);
    settings.frames = 600;
    settings.disk_pages = 0;
    settings.core.min_free_permille = 500;
    memset(settings.core.tiers, 0, sizeof settings.core.tiers);
    settings.core.tiers[MM_TIER_BALLOON] = true;
    sim_start(&settings);
    struct sim_vm *hollow = sim_vm_simple(400 * 512);
    for (uint32_t g = 0; g < 400 * 512; g += 512)
        sim_inflate(hollow, g); /* a table each */
    assert_true(frame_kind_count(FRAME_TABLE) + core.min_free > frame_managed_count());
    sim_run(100);
    assert_int_equal(sim_vm_counter(hollow, MM_VM_target), MM_VCPU_FLOOR);
    sim_oracle(false);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_is_corrected),
        cmocka_unit_test(esx_at_the_edges),
        cmocka_unit_test(unknown_names),
        cmocka_unit_test(nothing_to_divide),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
