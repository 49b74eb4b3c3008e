/*
 * P12: what a write costs does not tell a guest whether another domain has a page
 * with the same content. Counted, not timed: looks at frames, flushes, faults and
 * waits of a write to a page that another salt's VM has too, and to one it has not;
 * the two are compared by Welch's t-test.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/host/sim.h"

#define PAGES 256u

static uint64_t maps;
static void (*map_before)(pfn_t number);

static void count_maps(pfn_t number)
{
    maps++;
    map_before(number);
}

struct sample {
    double sum, squares;
    unsigned count;
};

static double variance(const struct sample *s)
{
    double mean = s->sum / s->count;
    return (s->squares - s->count * mean * mean) / (s->count - 1);
}

static double welch(const struct sample *a, const struct sample *b)
{
    double difference = a->sum / a->count - b->sum / b->count;
    double error = variance(a) / a->count + variance(b) / b->count;
    return error > 1e-12 ? difference / sqrt(error) : difference * 1e6;
}

/* The work of one write, in things a guest could time. */
static double write_cost(struct sim_vm *vm, uint32_t page)
{
    uint64_t before =
        maps + 100 * sim.flushes + 1000 * sim_host_counter(MM_HOST_waits) +
        10 * (sim_vm_counter(vm, MM_VM_faults_cow) + sim_vm_counter(vm, MM_VM_faults_takeback));
    sim_write_word(vm, page, 8, 7);
    uint64_t after =
        maps + 100 * sim.flushes + 1000 * sim_host_counter(MM_HOST_waits) +
        10 * (sim_vm_counter(vm, MM_VM_faults_cow) + sim_vm_counter(vm, MM_VM_faults_takeback));
    return (double)(after - before);
}

static double difference_in_cost(uint16_t salt_one, uint16_t salt_two)
{
    struct sim_settings settings;
    struct mm_vm_config config;
    struct sample equal = { 0 }, other = { 0 };
    sim_settings_default(&settings, 91);
    settings.frames = 1600;
    settings.interleave = 0;
    sim_start(&settings);
    sim_vm_config_default(&config, PAGES + SIM_ROLL_PAGES);
    config.salt = salt_one;
    struct sim_vm *attacker = sim_vm_add(&config);
    config.salt = salt_two;
    struct sim_vm *victim = sim_vm_add(&config);
    for (uint32_t g = 0; g < PAGES; g++) {
        sim_write(attacker, g, SIM_NOISE, g);
        sim_write(victim, g, SIM_NOISE, rng_below(&sim.rng, 2) ? g : 5000 + g);
    }
    sim_roll_floor(&attacker->vcpus[0]);
    sim_roll_floor(&victim->vcpus[0]);
    for (unsigned i = 0; i < 30; i++)
        sim_run(200);
    map_before = sim_hooks.frame_map;
    sim_hooks.frame_map = count_maps;
    for (uint32_t g = 0; g < PAGES; g++) {
        bool same = memcmp(sim_shadow(attacker, g), sim_shadow(victim, g), PAGE_SIZE) == 0;
        double cost = write_cost(attacker, g);
        struct sample *sample = same ? &equal : &other;
        sample->sum += cost;
        sample->squares += cost * cost;
        sample->count++;
    }
    assert_true(equal.count > 50 && other.count > 50);
    sim_stop();
    return welch(&equal, &other);
}

static void silent_across_salts(void **state)
{
    (void)state;
    double t = difference_in_cost(1, 2);
    printf(
        "figure: P12: cost of writes to pages another domain has too, against others: t = %.2f\n",
        t);
    assert_true(t > -4.5 && t < 4.5);
}

/* The test sees something where there is something: within one domain a write copies. */
static void heard_within_one(void **state)
{
    (void)state;
    double t = difference_in_cost(1, 1);
    assert_true(t > 4.5 || t < -4.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(silent_across_salts),
                                        cmocka_unit_test(heard_within_one) };
    return cmocka_run_group_tests_name("silence", tests, NULL, NULL);
}
