/*
 * P17: the same seed gives the same run, to the last counter and event.
 */
#include <string.h>

#include "tests/host/sim.h"

struct outcome {
    uint64_t digest, host[MM_HOST_COUNTER_COUNT], vm[3][MM_VM_COUNTER_COUNT];
};

static void run(struct outcome *outcome, uint64_t seed)
{
    struct sim_settings settings;
    sim_settings_default(&settings, seed);
    settings.cpus = 2;
    settings.frames = 420;
    sim_start(&settings);
    for (unsigned i = 0; i < 3; i++)
        sim_vm_simple(160);
    for (unsigned i = 0; i < 3000; i++)
        sim_random_step();
    memset(outcome, 0, sizeof *outcome);
    outcome->digest = sim.digest;
    mm_host_counters(outcome->host);
    for (unsigned i = 0; i < 3; i++)
        mm_vm_counters(sim.vms[i].core, outcome->vm[i]);
    sim_stop();
}

static void same_seed_same_run(void **state)
{
    static struct outcome first, second;
    (void)state;
    for (uint64_t seed = 1; seed < 4; seed++) {
        run(&first, seed);
        run(&second, seed);
        assert_memory_equal(&first, &second, sizeof first);
    }
}

static void other_seed_other_run(void **state)
{
    static struct outcome first, second;
    (void)state;
    run(&first, 1);
    run(&second, 2);
    assert_memory_not_equal(&first, &second, sizeof first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_run),
        cmocka_unit_test(other_seed_other_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
