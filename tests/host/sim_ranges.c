/*
 * Ranges of 2 MiB for tests; see ranges.h.
 */
#include "tests/host/ranges.h"

void ranges_start(uint32_t frames, bool execute)
{
    struct sim_settings settings;
    sim_settings_default(&settings, 31);
    settings.frames = frames;
    settings.cpus = 3;
    settings.core.large_pages = true;
    settings.core.large_execute = execute;
    sim_start(&settings);
}

struct sim_vm *ranges_vm(uint32_t pages, uint32_t limit)
{
    struct mm_vm_config config;
    sim_vm_config_default(&config, pages);
    config.limit_pages = limit;
    config.vcpu_count = 2;
    config.salt = 1;
    return sim_vm_add(&config);
}

unsigned ranges_level(struct sim_vm *vm, uint32_t page)
{
    unsigned level;
    sim_peek(vm, page, &level);
    return level;
}

void ranges_fill(struct sim_vm *vm, uint32_t first)
{
    for (uint32_t g = first; g < first + RANGE_PAGES; g++)
        sim_write(vm, g, SIM_NOISE, g);
}

void ranges_replace(struct sim_vm *vm, uint32_t page)
{
    assert_int_equal(sim_inflate(vm, page), MM_BALLOON_OK);
    assert_int_equal(sim_deflate(vm, page), MM_BALLOON_OK);
    sim_write(sim_vm_simple(64), 0, SIM_NOISE, 9);
    sim_write(vm, page, SIM_NOISE, page);
}

bool ranges_wait_large(struct sim_vm *vm, uint32_t page, unsigned steps)
{
    for (; steps > 0 && ranges_level(vm, page) == 1; steps--)
        sim_pump();
    return ranges_level(vm, page) == 2;
}
