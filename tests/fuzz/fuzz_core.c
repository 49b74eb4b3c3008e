/*
 * libFuzzer: two guests, their balloons, other CPUs and the disk do what the input
 * says, on the simulated machine with its oracle (P1 to P5, P7, P8, P10).
 */
#include "tests/fuzz/fuzz.h"

#include "tests/host/sim_run.c"

#define STEPS_MAX 600u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_settings settings;
    fuzz_at = data;
    fuzz_left = size;
    sim_settings_default(&settings, 1 + fuzz_below(4));
    settings.cpus = 1 + (unsigned)fuzz_below(3);
    settings.frames = 400;
    settings.disk_pages = 300;
    settings.interleave = 20;
    sim_start(&settings);
    sim.disk.order = SIM_RANDOM;
    for (unsigned i = 0; i < 2; i++) {
        struct mm_vm_config config;
        sim_vm_config_default(&config, 170);
        config.salt = 7;
        struct sim_vm *vm = sim_vm_add(&config);
        for (uint32_t page = 0; page < 150; page++)
            sim_write(vm, page, page % 3 ? SIM_NOISE : SIM_COMMON, page / 2);
    }
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left > 0; i++) {
        sim_random_step();
        if (i % 32 == 0)
            sim_oracle(i % 128 == 0);
    }
    for (unsigned i = 0; i < 2; i++)
        for (int pin = 0; pin < SIM_PIN_SLOTS; pin++)
            if (sim.vms[i].pins[pin].used)
                sim_unpin(&sim.vms[i], pin);
    sim_oracle(true);
    sim_stop();
    return 0;
}
