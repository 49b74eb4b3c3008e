/*
 * Random operation of the whole core, with the oracle after each step.
 *
 * BALLAST_STEPS (default 20000, over all scenarios) and BALLAST_SEED choose how
 * much and what, BALLAST_ONLY a scenario; a failure prints the seed of its life, and
 * BALLAST_REPLAY=n runs that one again. Interrupted, it ends with the life it is at,
 * and says what it did.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/host/sim.h"

struct scenario {
    const char *name;
    unsigned cpus, vms, vcpus;
    uint32_t pages, frames, disk_pages;
    bool tiers[MM_TIER_COUNT];
    bool accessed_dirty;
    bool same_salt;
    unsigned interleave;                        /* per mille */
    unsigned read_faults, write_faults, damage; /* per mille */
    bool large, large_execute;
};

/* Floors (64 pages a vCPU) must leave room for something to move. */
static const struct scenario scenarios[] = {
    /* name, CPUs, VMs, vCPUs, pages, frames, disk, tiers: share balloon compress swap,
     * A/D bits, one salt, interleave, read errors, write errors, damage, large pages, to be
     * executed from as well */
    { "one-cpu", 1, 3, 1, 160, 400, 700, { 1, 1, 1, 1 }, true, true, 0, 0, 0, 0, 0, 0 },
    { "many-cpus", 4, 4, 2, 280, 850, 1300, { 1, 1, 1, 1 }, true, true, 10, 0, 0, 0, 0, 0 },
    { "busy-cpus", 4, 3, 1, 200, 450, 900, { 1, 1, 1, 1 }, true, true, 200, 0, 0, 0, 0, 0 },
    { "no-ad-bits", 3, 3, 2, 240, 600, 900, { 1, 1, 1, 1 }, false, false, 10, 0, 0, 0, 0, 0 },
    { "share-only", 2, 3, 1, 160, 600, 0, { 1, 0, 0, 0 }, true, true, 5, 0, 0, 0, 0, 0 },
    { "balloon-only", 2, 3, 1, 160, 600, 0, { 0, 1, 0, 0 }, true, true, 20, 0, 0, 0, 0, 0 },
    { "compress-only", 2, 3, 1, 180, 440, 0, { 0, 0, 1, 0 }, true, true, 20, 0, 0, 0, 0, 0 },
    { "share-compress", 2, 3, 1, 220, 750, 0, { 1, 0, 1, 0 }, true, true, 5, 0, 0, 0, 0, 0 },
    { "swap-only", 3, 3, 1, 160, 320, 700, { 0, 0, 0, 1 }, true, true, 20, 0, 0, 0, 0, 0 },
    { "write-errors", 2, 3, 1, 200, 400, 1600, { 1, 1, 1, 1 }, true, true, 20, 0, 30, 0, 0, 0 },
    { "read-errors", 2, 4, 1, 200, 450, 900, { 1, 0, 1, 1 }, true, true, 10, 350, 0, 0, 0, 0 },
    { "damage", 2, 4, 1, 200, 450, 900, { 1, 0, 1, 1 }, true, true, 10, 0, 0, 150, 0, 0 },
    { "large", 3, 3, 2, 1100, 5400, 3000, { 1, 1, 1, 1 }, true, true, 20, 0, 0, 0, 1, 1 },
    { "large-data", 2, 3, 1, 1100, 2600, 3000, { 1, 0, 1, 1 }, true, false, 20, 0, 0, 0, 1, 0 },
    { "large-no-ad", 2, 2, 1, 1300, 2200, 2600, { 1, 1, 1, 1 }, false, true, 20, 0, 0, 0, 1, 1 },
    { "in-order", 2, 3, 1, 240, 440, 900, { 0, 0, 0, 1 }, true, true, 10, 0, 0, 0, 0, 0 },
    { "in-order-bad", 2, 3, 1, 240, 440, 900, { 0, 0, 1, 1 }, true, true, 5, 99, 20, 99, 0, 0 },
};
/* Short lives find more than one long life. */
#define LIFE_STEPS 4000u
#define SCENARIOS  (sizeof scenarios / sizeof scenarios[0])

static uint64_t total_steps, total_accesses, total_writes, total_flushes, total_cow, total_stops;
static uint64_t total_ahead, total_ahead_hit, total_ahead_wasted;
static volatile sig_atomic_t enough;
static uint64_t total_made, total_split, total_coalesced, total_blocks, total_moved;

static void interrupted(int number)
{
    (void)number;
    enough = 1;
}

static void start(const struct scenario *scenario, uint64_t seed)
{
    struct sim_settings settings;
    sim_settings_default(&settings, seed);
    settings.cpus = scenario->cpus;
    settings.frames = scenario->frames;
    settings.disk_pages = scenario->disk_pages;
    memcpy(settings.core.tiers, scenario->tiers, sizeof settings.core.tiers);
    settings.core.accessed_dirty = scenario->accessed_dirty;
    settings.interleave = scenario->interleave;
    settings.core.large_pages = scenario->large;
    settings.core.large_execute = scenario->large_execute;
    sim_start(&settings);
    sim.disk.order = SIM_RANDOM;
    sim.disk.fail_read_permille = scenario->read_faults;
    sim.disk.fail_write_permille = scenario->write_faults;
    sim.disk.damage_permille = scenario->damage;
    sim.disk.damage_count = UINT64_MAX;
    sim.stop_allowed = scenario->read_faults || scenario->damage;
    /* Compression alone cannot promise room. */
    sim.victim_allowed =
        scenario->write_faults != 0 || strcmp(scenario->name, "compress-only") == 0;
}

/* Where VMs come and go often, and sometimes leave memory free, pages are read ahead. */
static bool breathes(const struct scenario *scenario)
{
    return strncmp(scenario->name, "in-order", strlen("in-order")) == 0;
}

static struct sim_vm *add(const struct scenario *scenario)
{
    struct mm_vm_config config;
    sim_vm_config_default(&config, scenario->pages);
    config.vcpu_count = scenario->vcpus;
    config.salt = scenario->same_salt ? 7 : (uint16_t)(1 + rng_below(&sim.rng, 2));
    config.reserve_pages = (uint32_t)rng_below(&sim.rng, 16);
    if (scenario->tiers[MM_TIER_SWAP] && rng_below(&sim.rng, 4) == 0)
        config.limit_pages = scenario->pages * 3 / 4;
    config.shares = 500 + (uint32_t)rng_below(&sim.rng, 2000);
    return sim_vm_add(&config);
}

/* A VM goes and another comes; stopped ones are removed sooner or later. */
static void turn_over(const struct scenario *scenario)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SIM_VM_MAX; i++) {
        struct sim_vm *vm = &sim.vms[i];
        if (vm->core && (vm->stopped || rng_below(&sim.rng, 8) == 0))
            sim_vm_remove(vm);
        count += vm->core != NULL;
    }
    unsigned wanted = scenario->vms;
    if (breathes(scenario))
        wanted -= (unsigned)rng_below(&sim.rng, wanted);
    for (; count < wanted; count++)
        add(scenario);
}

/* A guest writes to all of its memory: ranges become whole where there is room. */
static void bring_back(void)
{
    struct sim_vm *vm = &sim.vms[rng_below(&sim.rng, SIM_VM_MAX)];
    for (uint32_t g = 0; vm->core && !vm->stopped && g < vm->config.pages; g++)
        if (vm->vcpus[0].op.kind == SIM_NO_OP)
            sim_write_word(vm, g, 64, rng_next(&sim.rng));
}

static void run(const struct scenario *scenario, uint64_t steps, uint64_t seed)
{
    start(scenario, seed);
    for (unsigned i = 0; i < scenario->vms; i++)
        add(scenario);
    for (uint64_t i = 0; i < steps; i++) {
        if (scenario->damage && i % 64 == 0)
            sim.disk.damage = (enum sim_damage)(1 + rng_below(&sim.rng, SIM_DAMAGE_COUNT - 1));
        sim_random_step();
        if (rng_below(&sim.rng, breathes(scenario) ? 100 : 600) == 0)
            turn_over(scenario);
        /* Coalescing wants the state to stay high for a while; the oracle looks at
         * many times as many pages. */
        if ((scenario->large || breathes(scenario)) && i % 4 == 0)
            SIM_CORE(mm_tick());
        if (scenario->large && i % 64 == 0)
            bring_back();
        if (!scenario->large || i % 32 == 0)
            sim_oracle(i % 16 == 0);
    }
    sim_disk_heal();
    for (unsigned i = 0; i < SIM_VM_MAX; i++)
        if (sim.vms[i].core && !sim.vms[i].stopped) {
            for (int pin = 0; pin < SIM_PIN_SLOTS; pin++)
                if (sim.vms[i].pins[pin].used)
                    sim_unpin(&sim.vms[i], pin);
            for (unsigned v = 0; v < scenario->vcpus; v++)
                if (sim.vms[i].vcpus[v].op.kind != SIM_NO_OP)
                    sim_do(&sim.vms[i].vcpus[v], sim.vms[i].vcpus[v].op);
            sim_verify(&sim.vms[i]);
        }
    sim_settle();
    sim_oracle(true);
    for (unsigned i = 0; i < SIM_VM_MAX; i++)
        if (sim.vms[i].core)
            total_cow += sim_vm_counter(&sim.vms[i], MM_VM_faults_cow);
    total_ahead += sim_host_counter(MM_HOST_ahead_issued);
    total_ahead_hit += sim_host_counter(MM_HOST_ahead_hit);
    total_ahead_wasted += sim_host_counter(MM_HOST_ahead_wasted);
    total_made += sim_host_counter(MM_HOST_large_made);
    total_split += sim_host_counter(MM_HOST_large_split);
    total_coalesced += sim_host_counter(MM_HOST_large_coalesced);
    total_blocks += sim_host_counter(MM_HOST_large_blocks);
    total_moved += sim_host_counter(MM_HOST_large_moved);
    total_steps += steps;
    for (unsigned i = 0; i < MM_STOP_REASON_COUNT; i++)
        total_stops += sim.stops[i];
    total_accesses += sim.accesses;
    total_writes += sim.meanwhile_writes;
    total_flushes += sim.flushes;
    sim_stop();
}

static void random_scenario(void **state)
{
    const struct scenario *scenario = *state;
    uint64_t replay = support_number("BALLAST_REPLAY", 0);
    if (replay) {
        if (replay % 1000 == (uint64_t)(scenario - scenarios))
            run(scenario, LIFE_STEPS, replay);
        return;
    }
    uint64_t steps = support_number("BALLAST_STEPS", 20000) / SCENARIOS;
    uint64_t seed = support_number("BALLAST_SEED", 1) * 1000 + (uint64_t)(scenario - scenarios);
    for (; steps > 0 && !enough; seed += 100000) {
        uint64_t part = steps < LIFE_STEPS ? steps : LIFE_STEPS;
        run(scenario, part, seed);
        steps -= part;
    }
}

int main(void)
{
    struct CMUnitTest tests[SCENARIOS];
    const char *only = getenv("BALLAST_ONLY");
    size_t count = 0;
    for (size_t i = 0; i < SCENARIOS; i++)
        if (!only || !strcmp(only, scenarios[i].name))
            tests[count++] = (struct CMUnitTest){ scenarios[i].name, random_scenario, NULL, NULL,
                                                  (void *)&scenarios[i] };
    signal(SIGINT, interrupted);
    signal(SIGTERM, interrupted);
    int failed = _cmocka_run_group_tests("random", tests, count, NULL, NULL);
    printf("figure: %llu steps, %llu guest accesses, %llu writes of other CPUs inside the core, "
           "%llu flushes, %llu copies on write, %llu VMs stopped after injected faults\n",
           (unsigned long long)total_steps, (unsigned long long)total_accesses,
           (unsigned long long)total_writes, (unsigned long long)total_flushes,
           (unsigned long long)total_cow, (unsigned long long)total_stops);
    printf("figure: read ahead: %llu pages, %llu used, %llu not\n", (unsigned long long)total_ahead,
           (unsigned long long)total_ahead_hit, (unsigned long long)total_ahead_wasted);
    if (enough)
        printf("interrupted: fewer steps than asked for\n");
    printf("figure: large mappings: %llu made by a touch, %llu split, %llu coalesced; %llu blocks "
           "made whole by moving %llu pages\n",
           (unsigned long long)total_made, (unsigned long long)total_split,
           (unsigned long long)total_coalesced, (unsigned long long)total_blocks,
           (unsigned long long)total_moved);
    return failed;
}
