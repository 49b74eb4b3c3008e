/*
 * How much of a CPU the search for equal pages takes, on one that is slow.
 */
#include "tests/host/sim.h"

static struct sim_vm *one;

static void slow_frame(pfn_t frame)
{
    (void)frame;
    sim.time += 1000000;
}

/* Looking at a page takes a millisecond of this CPU. */
static void a_slow_cpu(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 31);
    settings.frames = 900;
    sim_start(&settings);
    one = sim_vm_simple(256);
    for (uint32_t g = 0; g < 100; g++)
        sim_write(one, g, SIM_NOISE, g);
    sim_hooks.frame_map = slow_frame;
    uint64_t before = sim_host_counter(MM_HOST_share_scanned);
    for (unsigned tick = 0; tick < 100; tick++) {
        mm_tick();
        for (unsigned i = 0; i < 8; i++)
            mm_step();
    }
    uint64_t scanned = sim_host_counter(MM_HOST_share_scanned) - before;
    sim_hooks.frame_map = NULL;
    /* A tenth of a second, and a portion begun in time. */
    assert_in_range(scanned, 16, 100 + 16);
    sim_stop();
}

/* Pages looked at, at a millisecond each, while a guest changes them all the time. */
static uint64_t scanned_in(unsigned ticks)
{
    uint64_t before = sim_host_counter(MM_HOST_share_scanned);
    while (ticks--) {
        for (uint32_t g = 2; g < 290; g++)
            sim_write_word(one, g, 8, sim.time + g);
        sim_hooks.frame_map = slow_frame;
        mm_tick();
        for (unsigned i = 0; i < 8; i++)
            mm_step();
        sim_hooks.frame_map = NULL;
    }
    return sim_host_counter(MM_HOST_share_scanned) - before;
}

/* A quarter of a slow CPU while memory is short, a tenth after two rounds in vain. */
static void short_and_in_vain(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 37);
    settings.core.min_free_permille = 500;
    settings.core.tiers[MM_TIER_BALLOON] = settings.core.tiers[MM_TIER_COMPRESS] =
        settings.core.tiers[MM_TIER_SWAP] = false;
    sim_start(&settings);
    one = sim_vm_simple(320);
    for (uint32_t g = 0; g < 290; g++)
        sim_write(one, g, g < 2 ? SIM_COMMON : SIM_NOISE, g < 2 ? 1 : g);
    assert_in_range(scanned_in(40), 80, 100 + 16);
    assert_int_equal(mm_host_state(), MM_CLEAR);
    scanned_in(300);
    assert_in_range(scanned_in(400), 200, 400 + 64);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_cpu),
        cmocka_unit_test(short_and_in_vain),
    };
    return cmocka_run_group_tests_name("share_time", tests, NULL, NULL);
}
