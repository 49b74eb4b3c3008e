/*
 * Locks: the order is checked at each taking, also where no second CPU makes a
 * deadlock of it.
 */
#include <string.h>

#include "lib/lock.h"
#include "mm/locks.h"
#include "mm/mm.h"
#include "tests/host/sim.h"

static void order_is_checked(void **state)
{
    struct spinlock outer = SPINLOCK(RANK_STEP), inner = SPINLOCK(RANK_FRAME);
    (void)state;
    spin_lock(&outer);
    spin_lock(&inner);
    assert_int_equal(lock_held_count(), 2);
    spin_unlock(&outer); /* in any order */
    spin_unlock(&inner);
    assert_int_equal(lock_held_count(), 0);
    spin_lock(&inner);
    expect_panic(spin_lock(&outer));
    assert_non_null(strstr(support_panic_text(), "lock order"));
}

static void one_rank_goes_by_address(void **state)
{
    struct spinlock ranges[2] = { SPINLOCK(RANK_RANGE), SPINLOCK(RANK_RANGE) };
    (void)state;
    spin_lock(&ranges[0]);
    spin_lock(&ranges[1]);
    spin_unlock(&ranges[1]);
    spin_unlock(&ranges[0]);
    spin_lock(&ranges[1]);
    expect_panic(spin_lock(&ranges[0]));
}

static void twice_is_caught(void **state)
{
    struct spinlock lock = SPINLOCK(RANK_SWAP), other = SPINLOCK(RANK_WAIT);
    (void)state;
    spin_lock(&lock);
    expect_panic(spin_lock(&lock));
    expect_panic(spin_unlock(&other));
}

/* Against the order, a try is the way: it cannot wait. */
static void a_try_is_allowed(void **state)
{
    struct spinlock outer = SPINLOCK(RANK_RANGE), inner = SPINLOCK(RANK_POOL);
    (void)state;
    spin_lock(&inner);
    assert_true(spin_try_lock(&outer));
    assert_false(spin_try_lock(&outer));
    assert_int_equal(lock_held_count(), 2);
    spin_unlock(&outer);
    spin_unlock(&inner);
}

/* The machine below may be called with the core's locks held; it must not come
 * back into the core, and the check says so. */
static struct sim_vm *vm;

static void comes_back(struct mm_vm *core)
{
    (void)core;
    mm_tick();
}

static void the_core_is_not_entered_from_below(void **state)
{
    struct sim_settings settings;
    (void)state;
    sim_settings_default(&settings, 1);
    sim_start(&settings);
    vm = sim_vm_simple(64);
    sim_write(vm, 3, SIM_TEXT, 1);
    sim_hooks.flush = comes_back;
    expect_panic(mm_balloon_inflate(&vm->vcpus[0].core, gfn(3)));
    assert_non_null(strstr(support_panic_text(), "lock order"));
    sim_memory_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_checked),
        cmocka_unit_test(one_rank_goes_by_address),
        cmocka_unit_test(twice_is_caught),
        cmocka_unit_test(a_try_is_allowed),
        cmocka_unit_test(the_core_is_not_entered_from_below),
    };
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
