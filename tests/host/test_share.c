/*
 * Page sharing: merging, copies on write, taking back, salts, volatile pages,
 * writes that race with the scan.
 */
#include <stdio.h>
#include <string.h>

#include "mm/core.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "tests/host/homes.h"

static struct sim_vm *one, *two;

static bool no_dirty_bits;

static void start(unsigned cpus, unsigned interleave, uint16_t salt_one, uint16_t salt_two)
{
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 31);
    settings.core.accessed_dirty = !no_dirty_bits;
    settings.frames = 900;
    settings.cpus = cpus;
    settings.interleave = interleave;
    sim_start(&settings);
    sim_vm_config_default(&config, 128 + SIM_ROLL_PAGES);
    config.vcpu_count = cpus > 1 ? 2 : 1;
    config.salt = salt_one;
    one = sim_vm_add(&config);
    config.salt = salt_two;
    two = sim_vm_add(&config);
}

/* Scans until nothing new is found. */
static void scan(void)
{
    uint64_t merged = UINT64_MAX, now;
    sim_roll_floor(&one->vcpus[0]);
    sim_roll_floor(&two->vcpus[0]);
    for (unsigned i = 0; i < 60; i++) {
        sim_run(100);
        now = sim_host_counter(MM_HOST_share_merged) + sim_host_counter(MM_HOST_freed_zero);
        if (now == merged && i > 10)
            return;
        merged = now;
    }
}

static uint32_t frame_of(struct sim_vm *vm, uint32_t number)
{
    unsigned level;
    return entry_frame((entry_t){ sim_peek(vm, number, &level) }).v;
}

static void equal_pages_merge(void **state)
{
    (void)state;
    start(1, 0, 7, 7);
    for (uint32_t g = 0; g < 4; g++) {
        sim_write(one, g, SIM_COMMON, 1);
        sim_write(two, g, SIM_COMMON, 1);
    }
    scan();
    for (uint32_t g = 0; g < 4; g++) {
        assert_int_equal(homes_of(one, g), HOME_SHARED);
        assert_int_equal(homes_of(two, g), HOME_SHARED);
        assert_int_equal(frame_of(one, g), frame_of(two, 0));
    }
    assert_int_equal(frame_kind_count(FRAME_SHARED), 1);
    assert_int_equal(frame_at(pfn(frame_of(one, 0)))->shared.count, 8);
    assert_int_equal(sim_host_counter(MM_HOST_net_share), 7);
    sim_oracle(true);
    sim_verify(one);
    sim_verify(two);
    sim_stop();
}

static void copy_on_write(void **state)
{
    (void)state;
    start(1, 0, 7, 7);
    for (uint32_t g = 0; g < 3; g++)
        sim_write(one, g, SIM_COMMON, 1);
    scan();
    assert_int_equal(homes_of(one, 0), HOME_SHARED);
    sim_write_word(one, 0, 8, 99);
    assert_int_equal(homes_of(one, 0), HOME_PRIVATE);
    assert_int_equal(homes_of(one, 1), HOME_SHARED);
    assert_int_equal(sim_vm_counter(one, MM_VM_faults_cow), 1);
    sim_oracle(true);
    sim_write_word(one, 1, 8, 98);
    sim_oracle(true);
    /* The last sharer takes the frame itself. */
    uint32_t frame = frame_of(one, 2);
    assert_int_equal(homes_of(one, 2), HOME_SHARED);
    sim_write_word(one, 2, 8, 97);
    assert_int_equal(homes_of(one, 2), HOME_PRIVATE);
    assert_int_equal(frame_of(one, 2), frame);
    assert_int_equal(sim_vm_counter(one, MM_VM_faults_takeback), 1);
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    sim_oracle(true);
    sim_verify(one);
    sim_stop();
}

/* P12: pages of different salts never merge. */
static void salts_never_merge(void **state)
{
    (void)state;
    start(1, 0, 1, 2);
    for (uint32_t g = 0; g < 16; g++) {
        sim_write(one, g, SIM_COMMON, g);
        sim_write(two, g, SIM_COMMON, g);
    }
    scan();
    sim_oracle(true);
    for (uint32_t g = 0; g < 16; g++) {
        assert_int_equal(homes_of(one, g), HOME_PRIVATE);
        assert_int_equal(homes_of(two, g), HOME_PRIVATE);
    }
    assert_int_equal(sim_host_counter(MM_HOST_share_merged), 0);
    assert_true(sim_host_counter(MM_HOST_share_unmatched) > 0);
    sim_stop();
}

/* A page that changes between two looks is left alone. */
static void volatile_pages(void **state)
{
    (void)state;
    start(1, 0, 7, 7);
    sim_write(one, 0, SIM_COMMON, 5);
    sim_write(two, 0, SIM_COMMON, 5);
    sim_roll_floor(&one->vcpus[0]);
    sim_roll_floor(&two->vcpus[0]);
    for (unsigned i = 0; i < 400; i++) {
        sim_write_word(one, 0, 16, i);
        sim_write_word(two, 0, 16, i);
        sim_pump();
    }
    assert_int_equal(homes_of(one, 0), HOME_PRIVATE);
    assert_true(sim_host_counter(MM_HOST_share_volatile) > 0);
    scan(); /* now they rest */
    assert_int_equal(homes_of(one, 0), HOME_SHARED);
    sim_oracle(true);
    sim_stop();
}

/* Near-equal pages: the compare decides, not the hash; work stays bounded. */
static void near_equal(void **state)
{
    (void)state;
    start(1, 0, 7, 7);
    for (uint32_t g = 0; g < 100; g++) {
        sim_write(one, g, SIM_COMMON, 2);
        sim_write_word(one, g, (uint16_t)(8 * g), 0x1000 + g);
    }
    scan();
    sim_oracle(true);
    for (uint32_t g = 0; g < 100; g++)
        assert_int_equal(homes_of(one, g), HOME_PRIVATE);
    sim_verify(one);
    sim_stop();
}

static void uniform_pages(void **state)
{
    (void)state;
    start(1, 0, 1, 2);
    for (uint32_t g = 0; g < 20; g++) {
        sim_write(one, g, SIM_ZERO, 0);
        sim_write(one, 20 + g, SIM_UNIFORM, 0xffffffffffffffff);
        sim_write(two, g, SIM_UNIFORM, 0xffffffffffffffff);
    }
    scan();
    for (uint32_t g = 0; g < 20; g++) {
        assert_int_equal(homes_of(one, g), HOME_ZERO);
        assert_int_equal(homes_of(one, 20 + g), HOME_FILL);
        assert_int_equal(homes_of(two, g), HOME_FILL);
    }
    assert_true(sim_host_counter(MM_HOST_freed_zero) >= 60);
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    sim_oracle(true);
    sim_write_word(one, 20, 0, 1);
    sim_verify(one);
    sim_verify(two);
    sim_oracle(true);
    sim_stop();
}

/* More words than the fill table holds: the rest stays, and is exact. */
static void fill_table_full(void **state)
{
    (void)state;
    start(1, 0, 1, 2);
    for (uint32_t g = 0; g < 128; g++)
        sim_write(one, g, SIM_UNIFORM, 0x9e3779b97f4a7c15 * (g + 1));
    scan();
    sim_oracle(true);
    assert_true(sim_vm_counter(one, MM_VM_fill) > 0);
    sim_verify(one);
    for (uint32_t g = 0; g < 128; g++)
        sim_write(one, g, SIM_UNIFORM, 0xdeadbeef00 + g % 7);
    scan();
    sim_oracle(true);
    sim_verify(one);
    sim_stop();
}

/* Guests on other CPUs write all the time, with whatever they have cached, while
 * the scan hashes, protects and compares. */
static void writes_during_the_scan(void **state)
{
    (void)state;
    start(4, 15, 7, 7);
    for (unsigned round = 0; round < 30; round++) {
        for (uint32_t g = 0; g < 24; g++) {
            sim_write(one, g, SIM_COMMON, round % 3);
            sim_write(two, g, SIM_COMMON, round % 3);
            sim_oracle(false);
        }
        sim_roll_floor(&one->vcpus[0]);
        sim_roll_floor(&two->vcpus[0]);
        for (unsigned i = 0; i < 80; i++) {
            /* Guests come and go, so that pages also rest for a while. */
            for (unsigned v = 0; v < 2 && i % 8 == 0; v++) {
                sim_enter(&one->vcpus[v]);
                sim_enter(&two->vcpus[v]);
            }
            for (unsigned cpu = 0; cpu < 4 && i % 8 == 4; cpu++)
                sim_leave(cpu);
            sim_pump();
            sim_oracle(i % 8 == 0);
        }
    }
    printf("figure: P2: %llu writes of other CPUs while the core scanned, %llu merges\n",
           (unsigned long long)sim.meanwhile_writes,
           (unsigned long long)sim_host_counter(MM_HOST_share_merged));
    assert_true(sim.meanwhile_writes > 500);
    assert_true(sim_host_counter(MM_HOST_share_merged) > 20);
    sim_verify(one);
    sim_verify(two);
    sim_stop();
}

/* The same where every cached translation of a page allows to write to it. */
static void writes_without_dirty_bits(void **state)
{
    no_dirty_bits = true;
    writes_during_the_scan(state);
    no_dirty_bits = false;
}

static unsigned last_writes;

/* Whatever a translation cached on another CPU still allows is done with it just
 * before the flush that ends it. */
static void write_then_flush(struct mm_vm *flushed)
{
    struct sim_vm *vm = sim_vm_of(flushed);
    for (uint32_t g = 0; g < 8; g++)
        for (unsigned v = 0; v < 2; v++) {
            struct sim_vcpu *vcpu = &vm->vcpus[v];
            struct sim_translation t;
            if (vcpu->cpu == sim.cpu || sim.cpus[vcpu->cpu].inside != vcpu ||
                !sim_cached(vcpu, g, &t) || !(t.access & MM_WRITE) || !t.dirty)
                continue;
            uint64_t value = ++last_writes;
            memcpy((uint8_t *)sim_frame(t.pfn) + 512, &value, sizeof value);
            memcpy(sim_shadow(vm, g) + 512, &value, sizeof value);
        }
    sim_tlb_flush(flushed);
    /* And those who are back read again at once what is there. */
    for (uint32_t g = 0; g < 8; g++)
        for (unsigned v = 0; v < 2; v++) {
            struct sim_vcpu *vcpu = &vm->vcpus[v];
            uint32_t frame;
            if (sim.cpus[vcpu->cpu].inside == vcpu)
                sim_translate(vcpu->cpu, vm, g, MM_READ, &frame);
        }
}

static void a_write_before_each_flush(void **state)
{
    (void)state;
    last_writes = 0;
    for (unsigned bits = 0; bits < 2; bits++) {
        no_dirty_bits = bits;
        start(4, 0, 7, 7);
        sim_hooks.flush = write_then_flush;
        for (unsigned round = 0; round < 30; round++) {
            for (uint32_t g = 0; g < 8; g++) {
                sim_write(one, g, g < 6 ? SIM_COMMON : SIM_UNIFORM, round);
                sim_write(two, g, g < 6 ? SIM_COMMON : SIM_UNIFORM, round);
            }
            sim_roll_floor(&one->vcpus[0]);
            sim_roll_floor(&two->vcpus[0]);
            for (uint32_t g = 0; g < 8; g++) {
                sim_write(one, g, g < 6 ? SIM_COMMON : SIM_UNIFORM, round);
                sim_write(two, g, g < 6 ? SIM_COMMON : SIM_UNIFORM, round);
            }
            for (unsigned i = 0; i < 60; i++) {
                sim_enter(&one->vcpus[0]);
                sim_enter(&two->vcpus[0]);
                sim_pump();
                sim_oracle(i % 4 == 0);
            }
            sim_verify(one);
            sim_verify(two);
        }
        sim_stop();
    }
    no_dirty_bits = false;
    assert_true(last_writes > 100);
}

/* Pages a merged page out by hand, while another CPU has it cached. */
static void page_out_while_read(uint32_t page)
{
    struct sim_vcpu *reader = &one->vcpus[1];
    struct pageout batch = { .vm = one->core };
    struct leaf leaf;
    uint32_t frame;
    assert_int_equal(homes_of(one, page), HOME_SHARED);
    sim_enter(reader);
    assert_true(sim_translate(reader->cpu, one, page, MM_READ, &frame));
    sim.cpu = 0;
    SIM_CORE(nested_lock(one->core, gfn(page), NESTED_LOOK, &leaf));
    SIM_CORE(assert_true(pageout_shared(&leaf, &batch)));
    SIM_CORE(nested_unlock(&leaf));
    sim_oracle(false);
    SIM_CORE(swap_write_flush());
    while (sim_disk_complete())
        ;
    sim_oracle(false);
    assert_int_equal(homes_of(one, page), HOME_COUNTED);
}

/* Nothing cached leads to a merged frame when its last sharer has left and it is free. */
static void sharers_leave_while_read(void **state)
{
    (void)state;
    for (unsigned tier = MM_TIER_COMPRESS; tier <= MM_TIER_SWAP; tier++)
        for (uint32_t sharers = 1; sharers <= 3; sharers++) {
            start(2, 0, 7, 7);
            core.config.tiers[MM_TIER_COMPRESS] = tier == MM_TIER_COMPRESS;
            for (uint32_t g = 0; g < 3; g++)
                sim_write(one, g, SIM_TEXT, 5);
            scan();
            for (uint32_t g = sharers; g < 3; g++)
                sim_write_word(one, g, 8, g);
            for (uint32_t g = 0; g < sharers; g++)
                page_out_while_read(g);
            assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
            sim_verify(one);
            sim_stop();
        }
}

/* Two vCPUs of one VM on one merged page: no stale copy is ever read. */
static void two_vcpus_one_page(void **state)
{
    (void)state;
    start(4, 300, 7, 7);
    for (unsigned round = 0; round < 40; round++) {
        for (uint32_t g = 0; g < 6; g++)
            sim_write(one, g, SIM_COMMON, 4);
        sim_roll_floor(&one->vcpus[0]);
        sim_roll_floor(&one->vcpus[1]);
        for (unsigned i = 0; i < 120 && homes_of(one, 5) != HOME_SHARED; i++)
            sim_pump();
        for (uint32_t g = 0; g < 6; g++) {
            for (unsigned v = 0; v < 2; v++)
                sim_do(&one->vcpus[v], (struct sim_op){ .kind = SIM_READ, .gfn = g });
            sim_do(
                &one->vcpus[round % 2],
                (struct sim_op){ .kind = SIM_WRITE_WORD, .gfn = g, .offset = 64, .value = round });
            for (unsigned v = 0; v < 2; v++)
                sim_do(&one->vcpus[v], (struct sim_op){ .kind = SIM_READ, .gfn = g });
            sim_oracle(true);
        }
    }
    sim_stop();
}

/* A VM ends while it shares with another. */
static void a_sharer_ends(void **state)
{
    (void)state;
    start(2, 0, 7, 7);
    for (uint32_t g = 0; g < 32; g++) {
        sim_write(one, g, SIM_COMMON, g);
        sim_write(two, g, SIM_COMMON, g);
    }
    scan();
    assert_true(sim_vm_counter(two, MM_VM_shared) >= 32);
    sim_vm_remove(one);
    sim_oracle(true);
    sim_verify(two);
    for (uint32_t g = 0; g < 32; g++)
        sim_write_word(two, g, 0, g);
    sim_oracle(true);
    assert_int_equal(frame_kind_count(FRAME_SHARED), 0);
    sim_verify(two);
    sim_stop();
}

/* Copies on write when no frame is free: the writer waits, then goes on. */
static void copy_without_a_frame(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 33);
    settings.frames = 620;
    sim_start(&settings);
    sim_vm_config_default(&config, 200 + SIM_ROLL_PAGES);
    config.salt = 9;
    one = sim_vm_add(&config);
    two = sim_vm_add(&config);
    struct sim_vm *other = sim_vm_simple(500);
    for (uint32_t g = 0; g < 150; g++) {
        sim_write(one, g, SIM_COMMON, g);
        sim_write(two, g, SIM_COMMON, g);
    }
    scan();
    for (uint32_t g = 0; g < 500; g++)
        sim_write(other, g, SIM_NOISE, g);
    for (uint32_t g = 0; g < 150; g++) {
        sim_write_word(one, g, 24, g);
        sim_write_word(two, g, 24, g + 1);
        if (g % 10 == 0)
            sim_oracle(true);
    }
    sim_verify(one);
    sim_verify(two);
    sim_verify(other);
    sim_stop();
}

/* Merged pages are paged out as one and come back exact, to each sharer. */
static void counted_objects(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 35);
    settings.frames = 520;
    settings.cpus = 2;
    settings.interleave = 5;
    sim_start(&settings);
    sim_vm_config_default(&config, 200 + SIM_ROLL_PAGES);
    config.salt = 9;
    one = sim_vm_add(&config);
    two = sim_vm_add(&config);
    struct sim_vm *other = sim_vm_greedy(700);
    uint64_t counted = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t g = 0; g < 64; g++) {
            sim_write(one, g, SIM_TEXT, g);
            sim_write(two, g, SIM_TEXT, g);
        }
        scan();
        for (uint32_t g = 0; g < 700; g++) {
            sim_write(other, g, SIM_NOISE, g + round);
            if (g % 50 == 0)
                sim_oracle(g % 100 == 0);
        }
        for (uint32_t g = 0; g < 64; g++)
            counted += homes_of(one, g) == HOME_COUNTED;
        for (uint32_t g = 0; g < 64; g++) {
            if (g % 3 == 0)
                sim_read(one, g);
            if (g % 3 == 1)
                sim_write_word(two, g, 40, g);
            if (g % 3 == 2)
                sim_inflate(one, g);
        }
        sim_oracle(true);
    }
    assert_true(counted > 0);
    sim_vm_remove(one);
    sim_oracle(true);
    sim_verify(two);
    sim_verify(other);
    sim_stop();
}

/* However many pages have one hash, a bucket's chain stays short. */
static void chains_are_bounded(void **state)
{
    pfn_t frames[3 * SHARE_WALK];
    unsigned linked = 0;
    (void)state;
    start(1, 0, 7, 7);
    for (unsigned i = 0; i < 3 * SHARE_WALK; i++) {
        frames[i] = frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
        struct frame *frame = frame_at(frames[i]);
        frame->tag = one->core->id;
        frame->private.hash = 0x12345678;
        linked += share_index_insert(frames[i]);
    }
    assert_int_equal(linked, SHARE_WALK);
    assert_null(share_audit());
    assert_false(pfn_is_none(share_index_find(0x12345678, 7, PFN_NONE).frame));
    assert_true(pfn_is_none(share_index_find(0x12345678, 8, PFN_NONE).frame));
    for (unsigned i = 0; i < 3 * SHARE_WALK; i++) {
        share_forget(frames[i]);
        frame_free(frames[i]);
    }
    sim_oracle(true);
    sim_stop();
}

/* P13: merged content lies in the frame of neither page, in one nobody can foretell. */
static void a_fresh_random_frame(void **state)
{
    static uint8_t seen[1024];
    unsigned different = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct sim_settings settings;
        sim_settings_default(&settings, 900 + seed);
        settings.frames = 900;
        settings.interleave = 0;
        sim_start(&settings);
        one = sim_vm_simple(4 + SIM_ROLL_PAGES);
        sim_write(one, 0, SIM_COMMON, 1);
        sim_write(one, 1, SIM_COMMON, 1);
        uint32_t a = frame_of(one, 0), b = frame_of(one, 1);
        sim_roll_floor(&one->vcpus[0]);
        for (unsigned i = 0; i < 2000 && homes_of(one, 1) != HOME_SHARED; i++)
            sim_pump();
        uint32_t merged = frame_of(one, 0);
        assert_int_equal(homes_of(one, 0), HOME_SHARED);
        assert_int_equal(merged, frame_of(one, 1));
        assert_true(merged != a && merged != b);
        assert_true(merged - SIM_PFN_FIRST >= settings.frames / 4 * 3 - 16);
        different += !seen[merged - SIM_PFN_FIRST];
        seen[merged - SIM_PFN_FIRST] = 1;
        sim_stop();
    }
    printf("figure: P13: the same two pages merged on 40 machines: %u different frames\n",
           different);
    assert_true(different >= 30);
}

/* What sharing may cost at once: a frame for each sharer but the last. */
static void exposure(void **state)
{
    (void)state;
    start(1, 0, 7, 7);
    for (uint32_t g = 0; g < 20; g++) {
        sim_write(one, g, SIM_COMMON, g % 4);
        sim_write(two, g, SIM_COMMON, g % 4);
    }
    scan();
    uint64_t exposed = sim_host_counter(MM_HOST_share_exposure);
    assert_int_equal(exposed, 40 - 4);
    uint64_t frames = sim_host_counter(MM_HOST_frames_private);
    for (uint32_t g = 0; g < 20; g++) {
        sim_write_word(one, g, 8, g);
        sim_write_word(two, g, 16, g);
        assert_true(sim_host_counter(MM_HOST_share_exposure) <= exposed);
    }
    /* The last sharers' frames were there already. */
    assert_int_equal(sim_host_counter(MM_HOST_frames_private) - frames, exposed + 4);
    assert_int_equal(sim_host_counter(MM_HOST_share_exposure), 0);
    sim_oracle(true);
    sim_stop();
}

/* Other things fill the share region: merging, which frees frames, goes on. */
static void the_region_is_full(void **state)
{
    static pfn_t taken[900];
    unsigned count = 0;
    (void)state;
    start(1, 0, 7, 7);
    sim_write(one, 0, SIM_COMMON, 1);
    sim_write(two, 0, SIM_COMMON, 1);
    uint32_t lowest = UINT32_MAX;
    while (count < frame_total_count() / 4) {
        taken[count] = frame_alloc_shared();
        assert_false(pfn_is_none(taken[count]));
        lowest = taken[count].v < lowest ? taken[count].v : lowest;
        count++;
    }
    scan();
    assert_int_equal(homes_of(one, 0), HOME_SHARED);
    assert_int_equal(frame_of(one, 0), frame_of(two, 0));
    assert_true(frame_of(one, 0) < lowest);
    while (count > 0)
        frame_free(taken[--count]);
    sim_oracle(true);
    sim_verify(one);
    sim_stop();
}

/* Without the tier nothing merges. */
static void switched_off(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 36);
    settings.core.tiers[MM_TIER_SHARE] = false;
    sim_start(&settings);
    one = sim_vm_simple(64);
    for (uint32_t g = 0; g < 8; g++)
        sim_write(one, g, SIM_COMMON, 1);
    sim_run(2000);
    assert_int_equal(sim_vm_counter(one, MM_VM_shared), 0);
    assert_int_equal(sim_host_counter(MM_HOST_share_scanned), 0);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_pages_merge),
        cmocka_unit_test(copy_on_write),
        cmocka_unit_test(salts_never_merge),
        cmocka_unit_test(volatile_pages),
        cmocka_unit_test(near_equal),
        cmocka_unit_test(uniform_pages),
        cmocka_unit_test(fill_table_full),
        cmocka_unit_test(writes_during_the_scan),
        cmocka_unit_test(two_vcpus_one_page),
        cmocka_unit_test(a_sharer_ends),
        cmocka_unit_test(copy_without_a_frame),
        cmocka_unit_test(counted_objects),
        cmocka_unit_test(the_region_is_full),
        cmocka_unit_test(switched_off),
        cmocka_unit_test(chains_are_bounded),
        cmocka_unit_test(a_fresh_random_frame),
        cmocka_unit_test(exposure),
        cmocka_unit_test(writes_without_dirty_bits),
        cmocka_unit_test(a_write_before_each_flush),
        cmocka_unit_test(sharers_leave_while_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
