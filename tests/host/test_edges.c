/*
 * Edges of the core that no ordinary run comes to: refusals, limits of tables,
 * names, damage in the pool as a VM sees it, many page-ins at once.
 */
#include <stdio.h>
#include <string.h>

#include "mm/core.h"
#include "mm/counted.h"
#include "mm/frame.h"
#include "mm/inflight.h"
#include "mm/locks.h"
#include "mm/floor.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/policy.h"
#include "mm/pool_books.h"
#include "mm/swap_books.h"
#include "mm/vm.h"
#include "tests/host/homes.h"

/* ---- refusals ------------------------------------------------------------------- */

static bool starts(const struct mm_config *config, uint32_t frames)
{
    const struct frame_region region = { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT),
                                         (uint64_t)frames * PAGE_SIZE };
    return mm_init(config, &region, 1);
}

static void nonsense_in_the_configuration(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 71);
    settings.frames = 600;
    sim_memory_start(&settings);
    const struct mm_config good = settings.core;
    struct mm_config c = good;
    assert_true(starts(&c, 600));
    c.soft_percent = 101;
    assert_false(starts(&c, 600));
    c = good, c.hard_percent = c.soft_percent + 1;
    assert_false(starts(&c, 600));
    c = good, c.low_percent = c.hard_percent + 1;
    assert_false(starts(&c, 600));
    c = good, c.idle_tax_percent = 100;
    assert_false(starts(&c, 600));
    c = good, c.pool_percent = 101;
    assert_false(starts(&c, 600));
    c = good, c.min_free_permille = 501;
    assert_false(starts(&c, 600));
    c = good, c.swap_read_ahead = MM_READ_AHEAD_MAX + 1;
    assert_false(starts(&c, 600));
    c = good, c.policy = "generous";
    assert_false(starts(&c, 600));
    c = good, c.max_physical_bits = 20; /* memory lies above */
    assert_false(starts(&c, 600));
    assert_false(starts(&good, 100)); /* too small */
    sim_memory_stop();
}

static enum mm_admission ask(const struct mm_vm_config *config)
{
    struct mm_vm *vm = NULL;
    enum mm_admission answer = mm_vm_create(config, &vm, NULL);
    if (vm) {
        assert_true(strlen(vm->name) < MM_VM_NAME_MAX);
        assert_true(vm->config.limit_pages <= vm->config.pages);
        assert_true(mm_vm_destroy(vm));
    }
    return answer;
}

static void vms_refused(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config good, c;
    sim_settings_default(&settings, 72);
    sim_start(&settings);
    sim_vm_config_default(&good, 100);
    good.name = "good";
    good.limit_pages = 1000; /* more than it has */
    assert_int_equal(ask(&good), MM_ADMIT_OK);
    c = good, c.name = "a name that is far longer than a name of a VM may be at all";
    assert_int_equal(ask(&c), MM_ADMIT_OK);
    c = good, c.name = NULL;
    assert_int_equal(ask(&c), MM_ADMIT_BAD_CONFIG);
    c = good, c.name = "";
    assert_int_equal(ask(&c), MM_ADMIT_BAD_CONFIG);
    c = good, c.vcpu_count = VM_VCPU_MAX + 1;
    assert_int_equal(ask(&c), MM_ADMIT_BAD_CONFIG);
    c = good, c.limit_pages = 0;
    assert_int_equal(ask(&c), MM_ADMIT_BAD_CONFIG);
    c = good, c.shares = 0;
    assert_int_equal(ask(&c), MM_ADMIT_BAD_CONFIG);
    c = good, c.limit_pages = 64; /* no more than the floor of its vCPU */
    assert_int_equal(ask(&c), MM_ADMIT_BAD_CONFIG);
    c.limit_pages = 65;
    assert_int_equal(ask(&c), MM_ADMIT_OK);
    assert_null(vm_at(MM_VM_MAX));
    sim_stop();
}

/* Arithmetic has room for the VM, memory has none for its first table. */
static void no_frame_for_a_table(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    static pfn_t taken[512];
    unsigned count = 0;
    sim_settings_default(&settings, 73);
    sim_start(&settings);
    sim_vm_config_default(&config, 100);
    config.name = "late";
    for (pfn_t n; !pfn_is_none(n = frame_alloc(FRAME_BOOK, FRAME_RECLAIM));)
        taken[count++] = n;
    assert_int_equal(ask(&config), MM_ADMIT_NO_TABLES);
    while (count > 0)
        frame_free(taken[--count]);
    assert_int_equal(ask(&config), MM_ADMIT_OK);
    sim_stop();
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(mm_balloon_state_name(MM_DRIVER_STATE_COUNT), "?");
    assert_string_equal(mm_admission_name(MM_ADMIT_COUNT), "?");
    assert_string_equal(mm_tier_name(MM_TIER_COUNT), "?");
    assert_string_equal(mm_state_name(MM_STATE_COUNT), "?");
    assert_string_equal(mm_wait_name(MM_WAIT_COUNT), "?");
    assert_string_equal(mm_stop_reason_name(MM_STOP_REASON_COUNT), "?");
    assert_string_equal(home_name(HOME_COUNT), "?");
    assert_string_equal(home_name(HOME_SWAP), "SWAP");
    assert_string_equal(mm_balloon_state_name(MM_DRIVER_IDLE), "idle");
    assert_false(home_may_change(HOME_COUNT, HOME_ZERO));
    assert_false(home_may_change(HOME_ZERO, HOME_COUNT));
}

/* The ring of latest moves: fewer than it holds, then more. */
static void latest_moves(void **state)
{
    (void)state;
    struct home_trace moves[HOME_TRACE_COUNT];
    struct sim_settings settings;
    sim_settings_default(&settings, 74);
    sim_start(&settings);
    struct sim_vm *vm = sim_vm_simple(200);
    assert_string_equal(mm_vm_name(vm->core), "vm0");
    assert_int_equal(mm_vm_pages(vm->core), 200);
    for (uint32_t g = 0; g < 10; g++)
        sim_write(vm, g, SIM_NOISE, g);
    assert_int_equal(home_trace_get(moves), 10);
    for (uint32_t g = 0; g < 10; g++)
        assert_true(moves[g].gfn == g && moves[g].from == HOME_ZERO && moves[g].to == HOME_PRIVATE);
    for (uint32_t g = 10; g < 150; g++)
        sim_write(vm, g, SIM_NOISE, g);
    assert_int_equal(home_trace_get(moves), HOME_TRACE_COUNT);
    assert_int_equal(moves[HOME_TRACE_COUNT - 1].gfn, 149);
    sim_stop();
}

/* ---- tables that are full --------------------------------------------------------- */

static void counted_objects(void **state)
{
    (void)state;
    struct sim_settings settings;
    static uint32_t taken[COUNTED_MAX];
    uint32_t extra;
    sim_settings_default(&settings, 75);
    sim_start(&settings);
    pfn_t frame = frame_alloc(FRAME_SHARED, FRAME_RECLAIM);
    assert_false(counted_join(frame, &extra)); /* it names none */
    for (uint32_t i = 0; i < COUNTED_MAX; i++)
        assert_true(counted_take(PFN_NONE, &taken[i]));
    assert_false(counted_take(PFN_NONE, &extra));
    /* The one place that is free is found, wherever it is. */
    counted_drop(taken[700]);
    assert_null(counted_peek(taken[700]));
    assert_true(counted_take(PFN_NONE, &extra));
    assert_int_equal(extra, taken[700]);
    assert_null(counted_peek(COUNTED_MAX));
    /* Moves of what is not there, or not at that place. */
    const pool_location_t here = { 5 }, there = { 6 };
    assert_false(counted_moved(COUNTED_MAX, here, there));
    assert_false(counted_moved(taken[0], here, there)); /* not stored yet */
    counted_set_pool(taken[0], here);
    assert_false(counted_moved(taken[0], there, here));
    assert_false(counted_set_leaving(taken[0], there));
    assert_true(counted_set_leaving(taken[0], here));
    assert_false(counted_moved(taken[0], here, there));
    counted_init();
    frame_free(frame);
    sim_stop();
}

/* Slots and cells at their ends. */
static void swap_books(void **state)
{
    (void)state;
    struct sim_settings settings;
    sim_settings_default(&settings, 76);
    sim_start(&settings);
    static struct swap_slots slots;
    const struct swap_extent extent = { 0, 9 };
    swap_slots_init(&slots);
    assert_null(swap_slots_entry(&slots, (swap_slot_t){ 3 }));
    slots.made = SWAP_SLOTS_MAX;
    assert_int_equal(swap_slots_take(&slots, extent).v, SWAP_SLOT_NONE.v);
    static struct swap_cells cells;
    uint32_t first;
    swap_cells_init(&cells, 10);
    cells.cursor = 10; /* behind the end: from the start again */
    assert_int_equal(swap_cells_find(&cells, 4, &first), 4);
    assert_int_equal(first, 0);
    assert_int_equal(swap_cells_find(&cells, 40, &first), 10);
    /* The book's second page is made before its first. */
    const uint32_t page = PAGE_SIZE * 2;
    swap_cells_init(&cells, 2 * page);
    cells.cursor = page;
    assert_int_equal(swap_cells_find(&cells, 4, &first), 4);
    assert_int_equal(first, page);
    assert_int_equal(cells.known, 2 * page);
    cells.cursor = 0;
    assert_int_equal(swap_cells_find(&cells, 4, &first), 4);
    assert_int_equal(first, 0);
    assert_int_equal(cells.known, 2 * page);
    sim_stop();
}

/* More frames than the allocator's caches and draws make a difference for; banks
 * in any order, and more of them than it takes. */
static void a_large_host(void **state)
{
    (void)state;
    struct sim_settings settings;
    static pfn_t taken[10000];
    sim_settings_default(&settings, 77);
    settings.frames = 10000;
    sim_memory_start(&settings);
    uint64_t start = (uint64_t)SIM_PFN_FIRST << PAGE_SHIFT;
    struct frame_region regions[20];
    /* 9,600 frames, and before them, in the wrong order, twenty small banks. */
    regions[0] = (struct frame_region){ hpa(start + 400 * PAGE_SIZE), 9600 * PAGE_SIZE };
    for (unsigned i = 1; i < 20; i++)
        regions[i] =
            (struct frame_region){ hpa(start + (380 - 20 * i) * PAGE_SIZE), 10 * PAGE_SIZE };
    assert_true(frame_init(regions, 20));
    assert_int_equal(frame_total_count(), 9600 + 15 * 10);
    assert_int_equal(frame_reserve_count(), frame_managed_count() / 256);
    assert_null(frame_books(64u << 20));
    uint32_t free = frame_free_count();
    for (unsigned round = 0; round < 3; round++) {
        unsigned count = 0;
        while (count < 9000) {
            taken[count] = round == 1 && count % 2 ? frame_alloc_shared()
                                                   : frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
            if (pfn_is_none(taken[count]))
                break;
            assert_int_equal(frame_at(taken[count])->flags, 0);
            count++;
            if (count % 1000 == 0)
                assert_null(frame_audit());
        }
        assert_true(count > 4000);
        while (count > 0)
            frame_free(taken[--count]);
        frame_cache_drain();
        assert_null(frame_audit());
        assert_int_equal(frame_free_count(), free);
    }
    sim_memory_stop();
    /* Memory that ends with the last frame number there is. */
    sim_memory_start(&settings);
    regions[0] = (struct frame_region){ hpa(start), 600 * PAGE_SIZE };
    regions[1] = (struct frame_region){ hpa(0xfffffff0ull << PAGE_SHIFT), 64 * PAGE_SIZE };
    assert_true(frame_init(regions, 2));
    assert_int_equal(frame_highest(), 0xfffffffdu);
    sim_memory_stop();
}

/* ---- damage in the pool, as VMs see it (P5) ------------------------------------------- */

/* The one VM whose page it was stops, whoever comes across it. */
static void damaged_object(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        homes_start(HOME_POOL, 78);
        struct sim_vm *vm = sim_vm_simple(250);
        assert_true(homes_reach(vm, 5, HOME_POOL));
        unsigned level;
        entry_t entry = { sim_peek(vm, 5, &level) };
        struct pool_at at = pool_log_place((pool_location_t){ entry_payload(entry) });
        uint8_t *bytes = (uint8_t *)sim_frame(at.frame) + at.offset;
        bytes[way ? 14 : 5] ^= 1; /* in the block; in the header */
        sim.stop_allowed = true;
        assert_int_equal(sim_read(vm, 5), MM_STOPPED);
        assert_true(vm->stopped);
        assert_int_equal(vm->reason, MM_STOP_POOL_DAMAGED);
        bytes[way ? 14 : 5] ^= 1; /* so that the books can be closed */
        assert_false(homes_squeezer()->stopped);
        sim_verify(homes_squeezer());
        sim_stop();
    }
}

/* Content that several pages share, paged out and damaged. */
static void damaged_counted_object(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 79);
    settings.frames = 520;
    settings.core.tiers[MM_TIER_SWAP] = false;
    settings.interleave = 0;
    sim_start(&settings);
    sim.victim_allowed = true;
    sim_vm_config_default(&config, 200 + SIM_ROLL_PAGES);
    config.salt = 9;
    struct sim_vm *one = sim_vm_add(&config), *two = sim_vm_add(&config);
    struct sim_vm *other = sim_vm_greedy(700);
    for (uint32_t g = 0; g < 64; g++) {
        sim_write(one, g, SIM_TEXT, g);
        sim_write(two, g, SIM_TEXT, g);
    }
    for (unsigned i = 0; i < 60 && homes_of(one, 63) != HOME_SHARED; i++) {
        sim_roll_floor(&one->vcpus[0]);
        sim_roll_floor(&two->vcpus[0]);
        sim_run(100);
    }
    uint32_t page = UINT32_MAX;
    for (uint32_t g = 0; g < 700 && page == UINT32_MAX; g++) {
        sim_write(other, g, SIM_TEXT, 1000 + g);
        for (uint32_t at = 0; at < 64; at++)
            if (homes_of(one, at) == HOME_COUNTED && homes_of(two, at) == HOME_COUNTED)
                page = at;
    }
    assert_int_not_equal(page, UINT32_MAX);
    unsigned level;
    entry_t entry = { sim_peek(one, page, &level) };
    struct counted *object = counted_at(entry_payload(entry));
    assert_int_equal(object->state, COUNTED_POOL);
    struct pool_at at = pool_log_place(object->location);
    uint8_t *bytes = (uint8_t *)sim_frame(at.frame) + at.offset;
    sim.stop_allowed = true;
    bytes[0] ^= 1;
    assert_int_equal(sim_read(one, page), MM_STOPPED);
    assert_int_equal(one->reason, MM_STOP_POOL_DAMAGED);
    assert_false(two->stopped);
    bytes[0] ^= 1;
    sim_stop();
}

/* ---- many at once ------------------------------------------------------------------------ */

/* More vCPUs fault on swapped pages than there are readers and records. */
static void all_fault_at_once(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    struct sim_vm *vms[6];
    sim_settings_default(&settings, 80);
    settings.frames = 2600;
    settings.disk_pages = 6000;
    settings.interleave = 0;
    settings.core.tiers[MM_TIER_COMPRESS] = settings.core.tiers[MM_TIER_SHARE] = false;
    sim_start(&settings);
    for (unsigned i = 0; i < 6; i++) {
        sim_vm_config_default(&config, 900);
        config.vcpu_count = SIM_VCPU_MAX;
        vms[i] = sim_vm_add(&config);
        for (uint32_t g = 0; g < 900; g++)
            sim_write(vms[i], g, SIM_NOISE, i * 1000 + g);
    }
    sim_settle();
    for (unsigned round = 0; round < 12; round++) {
        unsigned waiting = 0;
        for (unsigned i = 0; i < 6; i++)
            for (unsigned v = 0; v < SIM_VCPU_MAX; v++) {
                struct sim_vcpu *vcpu = &vms[i]->vcpus[v];
                uint32_t page = (uint32_t)rng_below(&sim.rng, 900);
                while (homes_of(vms[i], page) != HOME_SWAP)
                    page = (page + 1) % 900;
                vcpu->op = (struct sim_op){ .kind = SIM_READ, .gfn = page };
                waiting += sim_vcpu_try(vcpu) == MM_WAIT;
            }
        assert_true(waiting > 16);
        sim_oracle(false);
        for (unsigned i = 0; i < 6; i++)
            for (unsigned v = 0; v < SIM_VCPU_MAX; v++)
                if (vms[i]->vcpus[v].op.kind != SIM_NO_OP)
                    assert_int_equal(sim_do(&vms[i]->vcpus[v], vms[i]->vcpus[v].op), MM_DONE);
    }
    sim_oracle(true);
    sim_stop();
}

/* No record is left for a page-in: the vCPU waits for one. */
static void no_record(void **state)
{
    (void)state;
    homes_start(HOME_SWAP, 81);
    struct sim_vm *vm = sim_vm_simple(250);
    assert_true(homes_reach(vm, 5, HOME_SWAP));
    struct inflight *taken[INFLIGHT_COUNT + 1];
    unsigned count = 0;
    sim_settle();
    /* Read-ahead leaves some to page-outs, these leave some to page-ins. */
    while ((taken[count] = inflight_take(INFLIGHT_IN_AHEAD, NULL)) != NULL)
        count++;
    assert_int_equal(count, INFLIGHT_COUNT - 2 * INFLIGHT_FOR_PAGE_INS);
    while ((taken[count] = inflight_take(INFLIGHT_OUT_PRIVATE, NULL)) != NULL)
        count++;
    assert_int_equal(count, INFLIGHT_COUNT - INFLIGHT_FOR_PAGE_INS);
    while ((taken[count] = inflight_take(INFLIGHT_IN_SWAP, NULL)) != NULL)
        count++;
    assert_int_equal(count, INFLIGHT_COUNT);
    vm->vcpus[0].op = (struct sim_op){ .kind = SIM_READ, .gfn = 5 };
    assert_int_equal(sim_vcpu_try(&vm->vcpus[0]), MM_WAIT);
    assert_int_equal(homes_of(vm, 5), HOME_SWAP);
    while (count > 0)
        inflight_release(taken[--count]);
    assert_int_equal(sim_do(&vm->vcpus[0], vm->vcpus[0].op), MM_DONE);
    sim_oracle(true);
    sim_stop();
}

/* A VM ends with pages pinned, merged and private ones. */
static void pins_at_the_end(void **state)
{
    (void)state;
    homes_start(HOME_SHARED, 82);
    struct sim_vm *vm = sim_vm_simple(300), *other;
    assert_true(homes_reach(vm, 3, HOME_SHARED));
    other = homes_squeezer();
    void *content;
    for (uint32_t g = 3; g < 6; g++)
        SIM_CORE(assert_int_equal(mm_pin(vm->core, NULL, gfn(g), MM_READ, &content), MM_DONE));
    sim_oracle(false);
    for (unsigned i = 0; i < 64 && !sim_vm_try_remove(vm); i++)
        sim_pump();
    assert_null(vm->core);
    sim_oracle(true);
    if (other)
        sim_verify(other);
    sim_stop();
}

/* ---- the balloon ------------------------------------------------------------------------------
 */

static void balloons_at_the_edges(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 83);
    settings.frames = 500;
    sim_start(&settings);
    sim_vm_config_default(&config, 300);
    config.reserve_pages = 120; /* above its floor */
    struct sim_vm *vm = sim_vm_add(&config), *other = sim_vm_greedy(400);
    for (uint32_t g = 0; g < 300; g++)
        sim_write(vm, g, SIM_NOISE, g);
    vm->driver = true;
    SIM_CORE(mm_balloon_driver(vm->core, true, false, 0));
    /* More than the balloon is to hold at most. */
    for (uint32_t g = 0; g < 280; g++)
        sim_inflate(vm, g);
    for (uint32_t g = 0; g < 400; g++) {
        sim_write(other, g, SIM_NOISE, g);
        if (g % 20 == 0)
            sim_oracle(false);
    }
    /* It fails; its state is watched all the same. */
    SIM_CORE(mm_balloon_driver(vm->core, true, true, 280));
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_FAILED);
    sim_run(400);
    assert_int_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_FAILED);
    SIM_CORE(mm_balloon_driver(vm->core, true, false, 280));
    assert_int_not_equal(sim_vm_counter(vm, MM_VM_balloon_state), MM_DRIVER_FAILED);
    sim_oracle(true);
    sim_stop();
}

/* The plain policy divides by size alone. */
static void fixed_policy(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 84);
    settings.frames = 600;
    settings.core.policy = "fixed";
    sim_start(&settings);
    struct sim_vm *vms[3];
    for (unsigned i = 0; i < 3; i++) {
        sim_vm_config_default(&config, 300);
        config.shares = 1000 * (i + 1);
        config.reserve_pages = i == 2 ? 120 : 0;
        vms[i] = sim_vm_add(&config);
    }
    for (uint32_t g = 0; g < 300; g++)
        for (unsigned i = 0; i < 3; i++)
            sim_write(vms[i], g, SIM_NOISE, 400 * i + g);
    sim_run(400);
    uint64_t target[3];
    for (unsigned i = 0; i < 3; i++)
        target[i] = sim_vm_counter(vms[i], MM_VM_target);
    assert_int_equal(target[0], target[1]); /* shares count for nothing */
    assert_true(target[2] > target[0]);     /* the reservation does */
    assert_int_equal(sim_host_counter(MM_HOST_policy_corrected), 0);
    sim_oracle(true);
    /* Room for everybody's limit. */
    sim_vm_remove(vms[1]);
    sim_vm_remove(vms[2]);
    sim_run(400);
    assert_int_equal(sim_vm_counter(vms[0], MM_VM_target), 300);
    sim_vm_remove(vms[0]);
    sim_run(100);
    sim_stop();
    /* All of it is reserved; less is there than that. */
    static struct policy_view view = { .vm_count = 2 };
    uint32_t targets[2];
    for (unsigned i = 0; i < 2; i++)
        view.vms[i] = (struct policy_vm){ .pages = 100, .reserve = 60 + 20 * i, .limit = 80 };
    view.capacity = 100;
    policy_fixed.targets(&view, targets);
    assert_true(targets[0] == 60 && targets[1] == 80);
    view.vms[0].reserve = 80;
    view.capacity = 1000;
    policy_fixed.targets(&view, targets);
    assert_true(targets[0] == 80 && targets[1] == 80);
}

/* Pages of one content in one range, in two, and in two that share a lock. */
static void merges_across_ranges(void **state)
{
    (void)state;
    struct sim_settings settings;
    const uint32_t pages[] = { 1, 2, 700, 512 * VM_RANGE_LOCKS + 3 };
    sim_settings_default(&settings, 85);
    settings.frames = 700;
    settings.disk_pages = 40000;
    settings.interleave = 0;
    settings.core.tiers[MM_TIER_COMPRESS] = false;
    for (unsigned with = 0; with < 2; with++) {
        sim_start(&settings);
        struct sim_vm *vm = sim_vm_simple(512 * VM_RANGE_LOCKS + 600);
        for (unsigned pair = 1; pair < 4; pair++) {
            sim_write(vm, pages[0] + 8 * pair, SIM_COMMON, pair);
            sim_write(vm, pages[pair] + 8 * pair, SIM_COMMON, pair);
        }
        sim_roll_floor(&vm->vcpus[0]);
        for (unsigned i = 0; i < 4000; i++)
            sim_pump();
        for (unsigned pair = 1; pair < 4; pair++)
            assert_int_equal(homes_of(vm, pages[pair] + 8 * pair), HOME_SHARED);
        sim_oracle(false);
        settings.seed++;
        sim_stop();
    }
}

/* A page on the floors of two vCPUs stays until it has fallen off both. */
static void two_floors(void **state)
{
    (void)state;
    struct sim_settings settings;
    struct mm_vm_config config;
    sim_settings_default(&settings, 86);
    sim_start(&settings);
    sim_vm_config_default(&config, 200);
    config.vcpu_count = 2;
    struct sim_vm *vm = sim_vm_add(&config);
    struct mm_vcpu *first = &vm->vcpus[0].core, *second = &vm->vcpus[1].core;
    unsigned level;
    bool held;
    SIM_CORE(assert_int_equal(mm_fault(first, gfn_to_gpa(gfn(5)), MM_WRITE), MM_DONE));
    SIM_CORE(assert_int_equal(mm_fault(second, gfn_to_gpa(gfn(5)), MM_READ), MM_DONE));
    struct frame *frame = frame_at(entry_frame((entry_t){ sim_peek(vm, 5, &level) }));
    for (uint32_t g = 10; g < 10 + MM_VCPU_FLOOR; g++)
        SIM_CORE(assert_int_equal(mm_fault(second, gfn_to_gpa(gfn(g)), MM_READ), MM_DONE));
    SIM_CORE(held = floor_holds(vm->core, gfn(5), frame));
    assert_true(held);
    for (uint32_t g = 100; g < 100 + MM_VCPU_FLOOR; g++)
        SIM_CORE(assert_int_equal(mm_fault(first, gfn_to_gpa(gfn(g)), MM_READ), MM_DONE));
    SIM_CORE(held = floor_holds(vm->core, gfn(5), frame));
    assert_false(held || frame_has(frame, FRAME_PROTECTED));
    sim_oracle(true);
    sim_stop();
}

static bool page_out_shared(struct sim_vm *vm, uint32_t page, struct pageout *batch)
{
    struct leaf leaf;
    bool left;
    SIM_CORE(nested_lock(vm->core, gfn(page), NESTED_LOOK, &leaf));
    SIM_CORE(left = pageout_shared(&leaf, batch));
    SIM_CORE(nested_unlock(&leaf));
    return left;
}

/* A merged page that cannot leave stays merged: no object is free, no tier is there; with
 * a full pool it goes to swap. */
static void merged_pages_that_stay(void **state)
{
    (void)state;
    static uint32_t taken[COUNTED_MAX];
    uint32_t count = 0;
    homes_start(HOME_SHARED, 87);
    struct sim_vm *vm = sim_vm_simple(300);
    struct pageout batch = { .vm = vm->core };
    assert_true(homes_reach(vm, 3, HOME_SHARED));
    bool *tiers = core.config.tiers;
    tiers[MM_TIER_COMPRESS] = true;
    while (counted_take(PFN_NONE, &taken[count]))
        count++;
    assert_true(count > 0);
    assert_false(page_out_shared(vm, 3, &batch));
    while (count > 0)
        counted_drop(taken[--count]);
    tiers[MM_TIER_COMPRESS] = tiers[MM_TIER_SWAP] = false;
    assert_false(page_out_shared(vm, 3, &batch));
    assert_int_equal(homes_of(vm, 3), HOME_SHARED);
    tiers[MM_TIER_COMPRESS] = true;
    int pin = sim_pin(vm, NULL, 3, false);
    assert_false(page_out_shared(vm, 3, &batch));
    sim_unpin(vm, pin);
    tiers[MM_TIER_COMPRESS] = false;
    struct leaf leaf;
    uint32_t private = 0;
    while (homes_of(vm, private) != HOME_PRIVATE)
    private++;
    SIM_CORE(nested_lock(vm->core, gfn(private), NESTED_LOOK, &leaf));
    frame_flag_clear(frame_at(entry_frame(leaf.entry)), FRAME_PROTECTED);
    assert_false(pageout_may(&leaf));
    SIM_CORE(nested_unlock(&leaf));
    tiers[MM_TIER_COMPRESS] = tiers[MM_TIER_SWAP] = true;
    uint32_t limit = pool.frame_limit;
    pool.frame_limit = pool.log.frames = 0;
    assert_true(page_out_shared(vm, 3, &batch));
    assert_true(batch.pool_full);
    assert_int_equal(homes_of(vm, 3), HOME_BUSY_OUT);
    pool.frame_limit = limit;
    sim_settle();
    sim_verify(vm);
    sim_oracle(true);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_in_the_configuration),
        cmocka_unit_test(vms_refused),
        cmocka_unit_test(no_frame_for_a_table),
        cmocka_unit_test(names),
        cmocka_unit_test(latest_moves),
        cmocka_unit_test(counted_objects),
        cmocka_unit_test(swap_books),
        cmocka_unit_test(a_large_host),
        cmocka_unit_test(damaged_object),
        cmocka_unit_test(damaged_counted_object),
        cmocka_unit_test(all_fault_at_once),
        cmocka_unit_test(no_record),
        cmocka_unit_test(pins_at_the_end),
        cmocka_unit_test(balloons_at_the_edges),
        cmocka_unit_test(fixed_policy),
        cmocka_unit_test(merges_across_ranges),
        cmocka_unit_test(two_floors),
        cmocka_unit_test(merged_pages_that_stay),
    };
    return cmocka_run_group_tests_name("edges", tests, NULL, NULL);
}
