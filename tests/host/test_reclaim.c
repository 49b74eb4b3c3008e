/*
 * Reclaim: each tier alone and all together, pressure states, progress without
 * a free frame, victims, limits.
 */
#include <stdio.h>
#include <string.h>

#include "mm/frame.h"
#include "mm/reclaim.h"
#include "tests/host/homes.h"

static void start(uint32_t frames, uint32_t disk_pages, const char *tiers, uint64_t seed)
{
    struct sim_settings settings;
    sim_settings_default(&settings, seed);
    settings.frames = frames;
    settings.disk_pages = disk_pages;
    settings.core.tiers[MM_TIER_SHARE] = strchr(tiers, 's') != NULL;
    settings.core.tiers[MM_TIER_BALLOON] = strchr(tiers, 'b') != NULL;
    settings.core.tiers[MM_TIER_COMPRESS] = strchr(tiers, 'c') != NULL;
    settings.core.tiers[MM_TIER_SWAP] = strchr(tiers, 'w') != NULL;
    sim_start(&settings);
}

/* Fills pages of the VM; some steps between, drivers at work. */
static void fill(struct sim_vm *vm, uint32_t pages, enum sim_content content, uint64_t seed)
{
    for (uint32_t g = 0; g < pages; g++) {
        sim_write(vm, g, content, seed + g);
        for (unsigned i = 0; i < SIM_VM_MAX; i++)
            if (sim.vms[i].core && sim.vms[i].driver && !sim.vms[i].stopped)
                sim_balloon_work(&sim.vms[i], 2);
        if (g % 4 == 0)
            sim_pump();
        if (g % 32 == 0)
            sim_oracle(g % 128 == 0);
    }
}

static void swap_alone(void **state)
{
    (void)state;
    start(400, 2000, "w", 51);
    struct sim_vm *one = sim_vm_simple(500), *two = sim_vm_simple(500);
    fill(one, 500, SIM_NOISE, 0);
    fill(two, 500, SIM_NOISE, 1000);
    assert_true(sim_host_counter(MM_HOST_net_swap) > 500);
    assert_int_equal(sim_host_counter(MM_HOST_net_compress), 0);
    assert_true(sim_host_counter(MM_HOST_swap_writes) <
                sim_host_counter(MM_HOST_swap_pages_written));
    sim_verify(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

static void compression_alone(void **state)
{
    (void)state;
    start(600, 0, "c", 52);
    struct sim_vm *one = sim_vm_simple(330), *two = sim_vm_simple(330);
    fill(one, 330, SIM_TEXT, 0);
    fill(two, 330, SIM_TEXT, 1000);
    assert_true(sim_host_counter(MM_HOST_net_compress) > 0);
    assert_true(sim_host_counter(MM_HOST_frames_pool) > 0);
    assert_int_equal(sim_host_counter(MM_HOST_net_swap), 0);
    sim_verify(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

static void balloon_alone(void **state)
{
    (void)state;
    start(600, 0, "b", 53);
    struct sim_vm *one = sim_vm_simple(270), *two = sim_vm_simple(270);
    one->driver = two->driver = true;
    mm_balloon_driver(one->core, true, false, 0);
    mm_balloon_driver(two->core, true, false, 0);
    fill(one, 270, SIM_NOISE, 0);
    fill(two, 250, SIM_NOISE, 1000);
    sim_oracle(true);
    sim_verify(one);
    sim_verify(two);
    sim_stop();
}

static void sharing_alone(void **state)
{
    (void)state;
    start(600, 0, "s", 54);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 260);
    config.salt = 5;
    struct sim_vm *one = sim_vm_add(&config), *two = sim_vm_add(&config);
    fill(one, 260, SIM_COMMON, 0);
    fill(two, 260, SIM_COMMON, 0);
    sim_run(1000);
    assert_true(sim_host_counter(MM_HOST_net_share) > 300);
    sim_verify(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

/* 2.5 times the memory, every tier with a net yield. */
static void all_together(void **state)
{
    (void)state;
    start(600, 2500, "sbcw", 55);
    struct sim_vm *vms[4];
    struct mm_vm_config config;
    sim_vm_config_default(&config, 370);
    config.salt = 5;
    for (unsigned i = 0; i < 4; i++) {
        vms[i] = sim_vm_add(&config);
        vms[i]->driver = i < 2;
        if (i < 2)
            mm_balloon_driver(vms[i]->core, true, false, 0);
    }
    uint64_t net[MM_TIER_COUNT] = { 0 };
    static const enum mm_host_counter counters[MM_TIER_COUNT] = {
        MM_HOST_net_share, MM_HOST_net_balloon, MM_HOST_net_compress, MM_HOST_net_swap
    };
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++)
            fill(vms[i], 370, (enum sim_content)(SIM_COMMON + (i + round) % 3), 100 * i);
        for (unsigned t = 0; t < MM_TIER_COUNT; t++)
            if (sim_host_counter(counters[t]) > net[t])
                net[t] = sim_host_counter(counters[t]);
    }
    for (unsigned i = 0; i < 4; i++)
        sim_verify(vms[i]);
    sim_oracle(true);
    printf("figure: net frames freed: share %llu, balloon %llu, compress %llu, swap %llu\n",
           (unsigned long long)net[0], (unsigned long long)net[1], (unsigned long long)net[2],
           (unsigned long long)net[3]);
    for (unsigned t = 0; t < MM_TIER_COUNT; t++)
        assert_true(net[t] > 0);
    sim_stop();
}

/* States follow free memory down and up, with hysteresis: no state is left and
 * entered again and again while memory hardly changes. */
static enum mm_state worst;
static void note_state(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b)
{
    (void)vm;
    if (kind != MM_EVENT_STATE)
        return;
    sim_check(a != b && a < MM_STATE_COUNT && b < MM_STATE_COUNT, "state event %llu to %llu",
              (unsigned long long)a, (unsigned long long)b);
    if (b > worst)
        worst = (enum mm_state)b;
}

static void pressure_states(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 56);
    settings.frames = 1000;
    settings.disk_pages = 0;
    settings.core.min_free_permille = 200;
    memset(settings.core.tiers, 0, sizeof settings.core.tiers);
    sim_start(&settings);
    sim_hooks.event = note_state;
    worst = MM_HIGH;
    struct sim_vm *vm = sim_vm_simple(1200);
    uint32_t min_free = (uint32_t)sim_host_counter(MM_HOST_min_free);
    assert_true(min_free > 0);
    sim_run(8);
    assert_int_equal(mm_host_state(), MM_HIGH);
    uint32_t g = 0;
    enum mm_state last = MM_HIGH;
    unsigned changes = 0;
    while (g < 1200 && frame_free_count() > frame_reserve_count() + 2) {
        sim_write(vm, g, SIM_NOISE, g);
        g++;
        sim_pump();
        enum mm_state now = mm_host_state();
        assert_true(now >= last); /* memory only shrinks */
        changes += now != last;
        last = now;
        /* Free memory and state agree, but for the width of the hysteresis. */
        uint32_t free = frame_free_count();
        if (free > min_free + min_free / 2)
            assert_int_equal(now, MM_HIGH);
        if (free < min_free * 60 / 100)
            assert_true(now >= MM_SOFT);
        if (free < min_free * 28 / 100)
            assert_true(now >= MM_HARD);
        if (free < min_free * 12 / 100)
            assert_int_equal(now, MM_LOW);
    }
    assert_true(last >= MM_CLEAR);
    /* One page back and forth changes nothing more than once. */
    uint64_t events = sim.events[MM_EVENT_STATE];
    for (unsigned i = 0; i < 60; i++) {
        sim_inflate(vm, g - 1);
        sim_run(4);
        sim_deflate(vm, g - 1);
        sim_write(vm, g - 1, SIM_NOISE, i);
        sim_run(4);
    }
    assert_true(sim.events[MM_EVENT_STATE] - events <= 2);
    /* And up again. */
    while (g > 0) {
        sim_inflate(vm, --g);
        sim_pump();
    }
    sim_run(20);
    assert_int_equal(mm_host_state(), MM_HIGH);
    sim_stop();
}

/* P8: a limit holds for a guest that never inflates and touches everything. */
/* At each border: into the state by one frame, out of it by several. */
static void width_of_the_hysteresis(void **state)
{
    (void)state;
    static pfn_t taken[1000];
    unsigned count = 0, borders = 0;
    struct sim_settings settings;
    sim_settings_default(&settings, 61);
    settings.frames = 1000;
    settings.disk_pages = 0;
    settings.core.min_free_permille = 200;
    sim_start(&settings);
    while (frame_free_count() > frame_reserve_count() + 1) {
        enum mm_state before = mm_host_state();
        taken[count++] = frame_alloc(FRAME_TABLE, FRAME_ORDINARY);
        reclaim_update_state();
        if (mm_host_state() == before)
            continue;
        borders++;
        assert_int_equal(mm_host_state(), before + 1);
        for (unsigned back = 0; back < 4; back++) {
            frame_free(taken[--count]);
            reclaim_update_state();
            assert_int_equal(mm_host_state(), before + 1);
        }
        for (unsigned back = 0; back < 4; back++) {
            taken[count++] = frame_alloc(FRAME_TABLE, FRAME_ORDINARY);
            reclaim_update_state();
            assert_int_equal(mm_host_state(), before + 1);
        }
    }
    assert_int_equal(borders, MM_STATE_COUNT - 1);
    while (count)
        frame_free(taken[--count]);
    reclaim_update_state();
    assert_int_equal(mm_host_state(), MM_HIGH);
    sim_stop();
}

static void limits_hold(void **state)
{
    (void)state;
    start(900, 1500, "sbcw", 57);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 500);
    config.limit_pages = 150;
    config.salt = 3;
    struct sim_vm *vm = sim_vm_add(&config);
    for (unsigned round = 0; round < 3; round++)
        for (uint32_t g = 0; g < 500; g++) {
            sim_write(vm, g, (enum sim_content)(g % SIM_CONTENT_COUNT), g + round);
            sim_oracle(g % 64 == 0); /* checks the limit */
        }
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

/* No tier has room: somebody above the target goes, never one in its reservation. */
static void victims(void **state)
{
    (void)state;
    start(600, 0, "c", 58);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 250);
    config.reserve_pages = 230;
    config.salt = 1;
    struct sim_vm *safe = sim_vm_add(&config);
    config.reserve_pages = 0;
    config.pages = config.limit_pages = 270;
    config.salt = 2;
    struct sim_vm *greedy = sim_vm_add(&config);
    sim.victim_allowed = true;
    for (uint32_t g = 0; g < 230; g++)
        sim_write(safe, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 270 && !greedy->stopped; g++)
        sim_write(greedy, g, SIM_NOISE, 1000 + g);
    for (uint32_t g = 230; g < 250; g++)
        sim_write(safe, g, SIM_NOISE, g);
    assert_false(safe->stopped);
    sim_verify(safe);
    if (greedy->stopped) {
        assert_int_equal(sim_host_counter(MM_HOST_victims), 1);
        assert_int_equal(sim.events[MM_EVENT_VICTIM], 1);
    }
    sim_oracle(true);
    sim_stop();
}

/* Swap fills up although admission counted on it: the disk loses its space. */
static void swap_lost(void **state)
{
    (void)state;
    start(400, 1500, "w", 59);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 150);
    config.reserve_pages = 120;
    config.salt = 1;
    struct sim_vm *safe = sim_vm_add(&config);
    struct sim_vm *one = sim_vm_simple(400), *two = sim_vm_simple(300);
    sim.victim_allowed = sim.stop_allowed = true;
    for (uint32_t g = 0; g < 110; g++)
        sim_write(safe, g, SIM_NOISE, g);
    sim_settle();
    sim.disk.fail_write_first = 1;
    sim.disk.fail_write_count = UINT64_MAX;
    for (uint32_t g = 0; g < 400; g++) {
        if (!one->stopped)
            sim_write(one, g, SIM_NOISE, g);
        if (!two->stopped && g < 300)
            sim_write(two, g, SIM_NOISE, g);
        if (g % 16 == 0)
            sim_oracle(true);
    }
    assert_false(safe->stopped);
    assert_true(one->stopped || two->stopped);
    sim_verify(safe);
    if (!one->stopped)
        sim_verify(one);
    if (!two->stopped)
        sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

/* P11: what is reserved stays, whatever the others do. */
static void reservations_hold(void **state)
{
    (void)state;
    start(500, 2000, "sbcw", 60);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 200);
    config.reserve_pages = 200;
    config.salt = 1;
    struct sim_vm *safe = sim_vm_add(&config);
    struct sim_vm *attacker = sim_vm_simple(900);
    for (uint32_t g = 0; g < 200; g++)
        sim_write(safe, g, SIM_NOISE, g);
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t g = 0; g < 900; g++)
            sim_write(attacker, g, SIM_NOISE, g + round);
    sim_oracle(true);
    assert_int_equal(sim_vm_counter(safe, MM_VM_out_swap), 0);
    assert_int_equal(sim_vm_counter(safe, MM_VM_out_pool), 0);
    assert_int_equal(sim_vm_counter(safe, MM_VM_private), 200);
    sim_verify(attacker);
    sim_stop();
}

/* The same with a part reserved: page-outs stop at the reservation, also with
 * many on their way. */
static void part_of_it_reserved(void **state)
{
    (void)state;
    start(500, 2000, "w", 63);
    struct mm_vm_config config;
    sim_vm_config_default(&config, 300);
    config.reserve_pages = 150;
    config.salt = 1;
    struct sim_vm *safe = sim_vm_add(&config);
    struct sim_vm *attacker = sim_vm_greedy(900);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(safe, g, SIM_NOISE, g);
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t g = 0; g < 900; g++) {
            sim_write(attacker, g, SIM_NOISE, g + round);
            assert_true(sim_vm_counter(safe, MM_VM_private) >= 150);
        }
    assert_true(sim_vm_counter(safe, MM_VM_out_swap) > 0);
    sim_verify(attacker);
    sim_stop();
}

/* Takes all frames but the reserve and `left`. */
static void use_up(struct sim_vm *vm, uint32_t left)
{
    for (uint32_t g = 0; frame_free_count() > frame_reserve_count() + left; g++)
        sim_write(vm, g, SIM_NOISE, g);
    assert_int_equal(frame_free_count(), frame_reserve_count() + left);
}

/* One frame above the reserve, for a page whose table is not there yet. */
static void last_frame_and_no_table(void **state)
{
    (void)state;
    start(400, 0, "", 64);
    struct sim_vm *sparse = sim_vm_simple(1200), *other = sim_vm_simple(400);
    sim_write(sparse, 0, SIM_NOISE, 1);
    use_up(other, 1);
    assert_int_equal(sim_write(sparse, 600, SIM_NOISE, 2), MM_DONE);
    assert_int_equal(sim_read(sparse, 600), MM_DONE);
    sim_oracle(true);
    sim_stop();
}

/* A guest that gives up what it never touched gets tables, but not the reserve. */
static void inflating_nothing(void **state)
{
    (void)state;
    start(400, 0, "b", 65);
    struct sim_vm *hollow = sim_vm_simple(60 * 512), *other = sim_vm_simple(400);
    use_up(other, 4);
    for (uint32_t g = 0; g < 60 * 512; g += 512)
        sim_inflate(hollow, g);
    assert_true(frame_free_count() >= frame_reserve_count() / 2);
    sim_oracle(true);
    sim_stop();
}

/* A balloon that breathes is never stuck and never gives anything: whoever waits
 * for it is not left waiting. */
static void breathing_balloon(void **state)
{
    (void)state;
    start(500, 0, "b", 66);
    struct sim_vm *hostile = sim_vm_simple(300), *greedy = sim_vm_greedy(600);
    sim.victim_allowed = true;
    mm_balloon_driver(hostile->core, true, false, 0);
    for (uint32_t g = 0; g < 200; g++)
        sim_write(hostile, g, SIM_NOISE, g);
    use_up(greedy, 0);
    sim_run(60); /* states and targets follow */
    struct sim_vcpu *vcpu = &greedy->vcpus[0];
    vcpu->op = (struct sim_op){ .kind = SIM_WRITE_PAGE, .gfn = 500, .content = SIM_NOISE };
    assert_int_equal(sim_vcpu_try(vcpu), MM_WAIT);
    for (unsigned i = 0; i < 4000 && sim_host_counter(MM_HOST_victims) == 0; i++) {
        if (!hostile->stopped) {
            sim_inflate(hostile, 250);
            sim_deflate(hostile, 250);
        }
        sim_pump();
    }
    assert_int_equal(sim_host_counter(MM_HOST_victims), 1);
    sim_oracle(true);
    sim_stop();
}

/* Pages in use are kept, idle ones go (accessed bits). */
static void cold_pages_first(void **state)
{
    (void)state;
    start(500, 1500, "w", 61);
    struct sim_vm *vm = sim_vm_simple(300), *other = sim_vm_simple(400);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(vm, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 300; g++) {
        sim_write(other, g, SIM_NOISE, g);
        for (uint32_t hot = 0; hot < 80; hot += 1)
            sim_read(vm, hot);
        sim_run(2);
    }
    unsigned hot = 0, cold = 0;
    for (uint32_t g = 0; g < 80; g++)
        hot += homes_of(vm, g) == HOME_SWAP;
    for (uint32_t g = 120; g < 200; g++)
        cold += homes_of(vm, g) == HOME_SWAP;
    printf("figure: swapped out: %u of 80 pages in use, %u of 80 idle ones; %llu page-ins\n", hot,
           cold, (unsigned long long)sim_vm_counter(vm, MM_VM_faults_swap));
    assert_true(cold > hot + 20);
    sim_verify(vm);
    sim_stop();
}

/* Pages in use through translations that stay cached are still seen as in use:
 * an accessed bit is only set again after a flush. */
static void cached_pages_are_active(void **state)
{
    (void)state;
    start(600, 0, "", 64);
    struct sim_vm *vm = sim_vm_simple(200);
    for (uint32_t g = 0; g < 200; g++)
        sim_write(vm, g, SIM_NOISE, g);
    for (unsigned i = 0; i < 1200; i++) {
        for (uint32_t g = 0; g < 12; g++)
            sim_read(vm, g);
        sim_pump();
        if (i > 800)
            assert_in_range(sim_vm_counter(vm, MM_VM_active), 8, 40);
    }
    sim_stop();
}

/* Idle memory is taxed: of two equal VMs the one that uses its memory keeps more. */
static void idle_tax(void **state)
{
    (void)state;
    start(500, 2000, "w", 62);
    struct sim_vm *busy = sim_vm_simple(250), *idle = sim_vm_simple(250);
    struct sim_vm *third = sim_vm_simple(250);
    for (uint32_t g = 0; g < 250; g++) {
        sim_write(idle, g, SIM_NOISE, g);
        sim_write(busy, g, SIM_NOISE, g + 1000);
    }
    for (unsigned round = 0; round < 8; round++)
        for (uint32_t g = 0; g < 250; g++) {
            if (g < 120)
                sim_read(busy, g);
            sim_write(third, g % 120, SIM_NOISE, g);
            sim_pump();
        }
    uint64_t kept_busy = sim_vm_counter(busy, MM_VM_resident);
    uint64_t kept_idle = sim_vm_counter(idle, MM_VM_resident);
    printf("figure: of equal shares, the VM in use keeps %llu pages, the idle one %llu\n",
           (unsigned long long)kept_busy, (unsigned long long)kept_idle);
    assert_true(kept_busy > kept_idle);
    assert_true(sim_vm_counter(busy, MM_VM_target) >= sim_vm_counter(idle, MM_VM_target));
    sim_stop();
}

/* P10: with the Nth write failing, for every N, everything still comes to rest. */
static void every_nth_write_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 40; nth++) {
        start(400, 1200, "sbcw", 63);
        struct sim_vm *one = sim_vm_simple(300), *two = sim_vm_simple(300);
        sim.disk.fail_write_first = nth;
        sim.disk.fail_write_count = 1 + nth % 3;
        for (uint32_t g = 0; g < 300; g++) {
            sim_write(one, g, SIM_NOISE, g);
            sim_write(two, g, SIM_TEXT, g);
        }
        sim_verify(one);
        sim_verify(two);
        sim_settle();
        sim_oracle(true);
        sim_stop();
    }
}

/* Memory so small that only reserves are left, for many sizes. */
static void tiny_hosts(void **state)
{
    (void)state;
    for (uint32_t frames = 320; frames < 400; frames += 7) {
        start(frames, 1500, "sbcw", frames);
        struct sim_vm *one = sim_vm_simple(350), *two = sim_vm_simple(350);
        for (uint32_t g = 0; g < 350; g++) {
            sim_write(one, g, (enum sim_content)(g % SIM_CONTENT_COUNT), g);
            sim_write(two, (g * 7) % 350, SIM_NOISE, g);
        }
        sim_verify(one);
        sim_verify(two);
        sim_oracle(true);
        sim_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swap_alone),
        cmocka_unit_test(compression_alone),
        cmocka_unit_test(balloon_alone),
        cmocka_unit_test(sharing_alone),
        cmocka_unit_test(all_together),
        cmocka_unit_test(pressure_states),
        cmocka_unit_test(width_of_the_hysteresis),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(victims),
        cmocka_unit_test(swap_lost),
        cmocka_unit_test(reservations_hold),
        cmocka_unit_test(part_of_it_reserved),
        cmocka_unit_test(last_frame_and_no_table),
        cmocka_unit_test(inflating_nothing),
        cmocka_unit_test(breathing_balloon),
        cmocka_unit_test(cold_pages_first),
        cmocka_unit_test(cached_pages_are_active),
        cmocka_unit_test(idle_tax),
        cmocka_unit_test(every_nth_write_fails),
        cmocka_unit_test(tiny_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
