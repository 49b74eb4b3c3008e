/*
 * Which VMs may start: the arithmetic of memory, reservations and swap.
 */
#include <stdio.h>
#include <string.h>

#include "mm/vm.h"
#include "tests/host/sim.h"

static void start(uint32_t frames, uint32_t disk_pages)
{
    struct sim_settings settings;
    sim_settings_default(&settings, 1);
    settings.frames = frames;
    settings.disk_pages = disk_pages;
    sim_start(&settings);
}

static enum mm_admission ask(uint32_t pages, uint32_t reserve, uint32_t limit,
                             struct mm_admission_sum *sum)
{
    static unsigned number;
    struct mm_vm_config config;
    struct mm_vm *vm = NULL;
    struct mm_admission_sum unused;
    char name[MM_VM_NAME_MAX];
    sim_vm_config_default(&config, pages);
    snprintf(name, sizeof name, "candidate%u", number++);
    config.name = name;
    config.salt = 1;
    config.reserve_pages = reserve;
    config.limit_pages = limit;
    enum mm_admission answer = mm_vm_create(&config, &vm, sum ? sum : &unused);
    if (answer == MM_ADMIT_OK) {
        assert_non_null(vm);
        assert_int_equal(mm_audit(NULL, 0), 0);
        assert_true(mm_vm_destroy(vm));
    }
    return answer;
}

static void fits(void **state)
{
    (void)state;
    struct mm_admission_sum sum;
    start(1024, 2048);
    assert_int_equal(ask(100, 0, 100, &sum), MM_ADMIT_OK);
    assert_true(sum.managed > 900 && sum.managed <= 1024);
    assert_true(sum.swap >= 2000 && sum.swap <= 2100);
    assert_true(sum.configured >= 100);
    assert_int_equal(ask(100, 100, 100, NULL), MM_ADMIT_OK);
    assert_int_equal(ask(2500, 16, 2500, NULL), MM_ADMIT_OK);
    sim_stop();
}

static void nonsense(void **state)
{
    (void)state;
    start(1024, 2048);
    assert_int_equal(ask(0, 0, 0, NULL), MM_ADMIT_BAD_CONFIG);
    assert_int_equal(ask(100, 101, 101, NULL), MM_ADMIT_BAD_CONFIG); /* reserve > pages */
    assert_int_equal(ask(100, 50, 40, NULL), MM_ADMIT_BAD_CONFIG);   /* limit < reserve */
    assert_int_not_equal(ask(UINT32_MAX, 0, UINT32_MAX, NULL), MM_ADMIT_OK);
    assert_int_not_equal(ask(UINT32_MAX, UINT32_MAX, UINT32_MAX, NULL), MM_ADMIT_OK);
    struct mm_vm_config config;
    struct mm_vm *vm;
    struct mm_admission_sum sum;
    sim_vm_config_default(&config, 100);
    config.name = "none";
    config.vcpu_count = 0;
    assert_int_equal(mm_vm_create(&config, &vm, &sum), MM_ADMIT_BAD_CONFIG);
    sim_oracle(true);
    sim_stop();
}

static void reservations(void **state)
{
    (void)state;
    start(1024, 8192);
    uint32_t free = frame_free_count();
    assert_int_equal(ask(4000, 1024, 4000, NULL), MM_ADMIT_RESERVATION);
    assert_int_equal(ask(4000, free, 4000, NULL), MM_ADMIT_RESERVATION);
    /* Two that fit one by one. */
    struct mm_vm_config config;
    sim_vm_config_default(&config, 600);
    config.reserve_pages = 500;
    struct sim_vm *first = sim_vm_add(&config);
    assert_int_equal(ask(600, 500, 600, NULL), MM_ADMIT_RESERVATION);
    assert_int_equal(ask(600, 200, 600, NULL), MM_ADMIT_OK);
    sim_vm_remove(first);
    assert_int_equal(ask(600, 500, 600, NULL), MM_ADMIT_OK);
    sim_stop();
}

static void backing(void **state)
{
    (void)state;
    start(1024, 0); /* no swap */
    assert_int_equal(ask(2000, 0, 2000, NULL), MM_ADMIT_BACKING);
    assert_int_equal(ask(600, 0, 600, NULL), MM_ADMIT_OK);
    struct sim_vm *vm = sim_vm_simple(600);
    assert_int_equal(ask(600, 0, 600, NULL), MM_ADMIT_BACKING);
    sim_vm_remove(vm);
    sim_stop();
    start(1024, 1000);
    assert_int_equal(ask(3000, 0, 3000, NULL), MM_ADMIT_BACKING);
    assert_int_equal(ask(1500, 0, 1500, NULL), MM_ADMIT_OK);
    sim_stop();
}

/* Who switches swapping off has chosen to run without backing; reservations
 * must fit all the same. */
static void tier_off(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 1);
    settings.frames = 1024;
    settings.disk_pages = 4000;
    settings.core.tiers[MM_TIER_SWAP] = false;
    sim_start(&settings);
    struct mm_admission_sum sum;
    assert_int_equal(ask(3000, 0, 3000, &sum), MM_ADMIT_OK);
    assert_int_equal(sum.swap, 0);
    assert_int_equal(ask(3000, 1020, 3000, &sum), MM_ADMIT_RESERVATION);
    sim_stop();
}

static void too_many(void **state)
{
    (void)state;
    struct mm_vm *vms[MM_VM_MAX + 1];
    unsigned count = 0;
    start(2048, 8192);
    enum mm_admission answer = MM_ADMIT_OK;
    for (; count <= MM_VM_MAX; count++) {
        struct mm_vm_config config;
        struct mm_admission_sum sum;
        char name[16];
        snprintf(name, sizeof name, "vm%u", count);
        sim_vm_config_default(&config, 4);
        config.name = name;
        answer = mm_vm_create(&config, &vms[count], &sum);
        if (answer != MM_ADMIT_OK)
            break;
    }
    assert_int_equal(count, MM_VM_MAX);
    assert_int_equal(answer, MM_ADMIT_TOO_MANY_VMS);
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(vms[i]->id, vms[j]->id);
    assert_int_equal(mm_audit(NULL, 0), 0);
    while (count--)
        assert_true(mm_vm_destroy(vms[count]));
    sim_stop();
}

/* Nothing is left behind by VMs that came and went, used or not. */
static void nothing_left(void **state)
{
    (void)state;
    start(700, 2048);
    uint32_t free = frame_free_count();
    for (unsigned round = 0; round < 12; round++) {
        struct sim_vm *one = sim_vm_simple(300), *two = sim_vm_simple(300);
        for (uint32_t g = 0; g < 300 && round % 2; g++) {
            sim_write(one, g, (enum sim_content)(g % SIM_CONTENT_COUNT), g);
            sim_write(two, g, (enum sim_content)(g % SIM_CONTENT_COUNT), g);
        }
        sim_run(50);
        sim_oracle(true);
        sim_vm_remove(one);
        sim_vm_remove(two);
        sim_settle();
        assert_int_equal(frame_free_count(), free);
        assert_int_equal(sim_host_counter(MM_HOST_pool_objects), 0);
        assert_int_equal(sim_host_counter(MM_HOST_swap_slots), 0);
        assert_int_equal(sim_host_counter(MM_HOST_swap_sectors_used), 0);
    }
    sim_stop();
}

static void names(void **state)
{
    (void)state;
    for (int i = 0; i < MM_ADMIT_COUNT; i++)
        assert_non_null(mm_admission_name((enum mm_admission)i));
    for (int i = 0; i < MM_TIER_COUNT; i++)
        assert_non_null(mm_tier_name((enum mm_tier)i));
    for (int i = 0; i < MM_STATE_COUNT; i++)
        assert_non_null(mm_state_name((enum mm_state)i));
    for (int i = 0; i < MM_WAIT_COUNT; i++)
        assert_non_null(mm_wait_name((enum mm_wait)i));
    for (int i = 0; i < MM_STOP_REASON_COUNT; i++)
        assert_non_null(mm_stop_reason_name((enum mm_stop_reason)i));
    for (int i = 0; i < MM_DRIVER_STATE_COUNT; i++)
        assert_non_null(mm_balloon_state_name((enum mm_balloon_state)i));
}

static void too_small_a_host(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 1);
    settings.frames = 16;
    sim_memory_start(&settings);
    const struct frame_region region = { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT),
                                         16 * PAGE_SIZE };
    assert_false(mm_init(&settings.core, &region, 1));
    assert_false(mm_init(&settings.core, &region, 0));
    sim_memory_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(reservations),
        cmocka_unit_test(backing),
        cmocka_unit_test(tier_off),
        cmocka_unit_test(too_many),
        cmocka_unit_test(nothing_left),
        cmocka_unit_test(names),
        cmocka_unit_test(too_small_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
