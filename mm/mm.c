/*
 * The core's beginning and its heartbeat.
 *
 * mm_step() and mm_tick() do the work nobody waits for in line: one CPU at a
 * time (core.step_lock). Faults and completions go on meanwhile.
 */
#include "mm/mm.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/age.h"
#include "mm/balloon.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/entry.h"
#include "mm/hash.h"
#include "mm/home.h"
#include "mm/inflight.h"
#include "mm/large.h"
#include "mm/nested.h"
#include "mm/policy.h"
#include "mm/pool.h"
#include "mm/reclaim.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "mm/wait.h"

#define POLICY_INTERVAL 10u  /* ticks between questions to the policy */
#define SHARE_PORTIONS  4u   /* steps a tick's share of the sharing scan is spread over */
#define SHARE_HURRY     4u   /* times as many a tick when memory is short */
#define AGE_BUDGET      256u /* pages looked at for the working-set estimate per tick */

/* Nanoseconds of a tick, which is 10 ms, for the sharing scan; when memory is short. */
#define SHARE_TIME       1000000
#define SHARE_TIME_SHORT 2500000

struct core core;
static bool ages_due;
static uint32_t share_portion;
static uint32_t share_left; /* pages the scan may still look at before the next tick */
static int64_t share_time;  /* nanoseconds it may take in this tick; below 0: of the next */

void mm_config_default(struct mm_config *config)
{
    *config = (struct mm_config){
        .tiers = { true, true, true, true },
        .policy = "esx",
        .soft_percent = 64,
        .hard_percent = 32,
        .low_percent = 16,
        .idle_tax_percent = 75,
        .pool_percent = 50,
        .share_pages = 64,
        .swap_read_ahead = 8,
        .max_physical_bits = 36,
        .accessed_dirty = true,
        .large_execute = true,
    };
}

bool core_tier_works(enum mm_tier tier)
{
    if (!core.config.tiers[tier])
        return false;
    return tier != MM_TIER_SWAP || swap_is_online();
}

void core_flush(struct mm_vm *vm)
{
    core_count(MM_HOST_flushes, 1);
    machine_flush_vm(vm);
}

/* The pool moves an object: its one name is rewritten, unless someone is at it. */
static bool pool_moved(struct pool_owner owner, pool_location_t from, pool_location_t to)
{
    if (owner.vm == POOL_OWNER_COUNTED)
        return counted_moved(owner.gfn, from, to);
    struct mm_vm *vm = vm_at(owner.vm);
    struct leaf leaf;
    if (!vm || owner.gfn >= vm->config.pages || !nested_lock(vm, gfn(owner.gfn), NESTED_TRY, &leaf))
        return false;
    bool names =
        leaf.slot && entry_home(leaf.entry) == HOME_POOL && entry_payload(leaf.entry) == from.v;
    if (names)
        home_change(&leaf, entry_away(HOME_POOL, to.v));
    nested_unlock(&leaf);
    return names;
}

static bool numbers_make_sense(const struct mm_config *c)
{
    return c->soft_percent <= 100 && c->hard_percent <= c->soft_percent &&
           c->low_percent <= c->hard_percent && c->idle_tax_percent < 100 &&
           c->pool_percent <= 100 && c->min_free_permille <= 500 &&
           c->swap_read_ahead <= MM_READ_AHEAD_MAX;
}

bool mm_init(const struct mm_config *config, const struct frame_region *regions,
             unsigned region_count)
{
    static const struct pool_ops pool_ops = { pool_moved };
    memset(&core, 0, sizeof(core));
    core.step_lock = SPINLOCK(RANK_STEP);
    ages_due = false;
    share_left = 0;
    share_time = 0;
    core.config = *config;
    if (!numbers_make_sense(config) || !policy_init(config->policy)) {
        log_error("mm: unknown policy, or percentages that make no sense");
        return false;
    }
    entry_format_choose(config->format);
    if (!frame_init(regions, region_count) ||
        !entry_init(config->max_physical_bits, frame_highest())) {
        log_error("mm: no usable memory");
        return false;
    }
    home_init();
    hash_init();
    share_init();
    share_scan_init();
    vm_init();
    wait_init();
    inflight_init();
    clean_init();
    counted_init();
    pool_init(&pool_ops, (uint32_t)((uint64_t)frame_managed_count() * config->pool_percent / 100));
    pool_set_discreet(config->discreet);
    swap_init();
    reclaim_init();
    large_init();
    return true;
}

int mm_swap_attach(struct block_device *device, uint64_t first_sector, uint64_t sector_count)
{
    return swap_open(device, first_sector, sector_count);
}

/* A device that went away takes its tier out of service, once. */
static void watch_swap(void)
{
    bool works = core_tier_works(MM_TIER_SWAP);
    if (core.swap_worked && !works)
        machine_event(MM_EVENT_TIER_OFF, NULL, MM_TIER_SWAP, 0);
    core.swap_worked = works;
}

/* So many pages a tick, in small portions, so that guests run in between; fewer on
 * a slow CPU, unless a vCPU that waits for a frame has no better use for it. */
static bool share_within_budget(void)
{
    uint32_t pages = share_left < share_portion ? share_left : share_portion;
    bool late = share_time <= 0 && !wait_for_frames();
    if (pages == 0 || late || !core_tier_works(MM_TIER_SHARE))
        return false;
    uint64_t start = machine_time_ns();
    share_left -= pages;
    share_step(pages);
    share_time -= (int64_t)(machine_time_ns() - start);
    return share_left > 0;
}

/* Two rounds without a page won, one to know them and one to compare: nothing to hurry for. */
static bool share_pays(void)
{
    return share_dry_pages() <= 2 * atomic_get(core.configured_pages);
}

bool mm_step(void)
{
    frame_cache_drain();
    if (!spin_try_lock(&core.step_lock)) {
        atomic_set(core.step_again, true);
        return false;
    }
    watch_swap();
    reclaim_update_state();
    bool more = share_within_budget();
    if (ages_due) {
        ages_due = false;
        age_step(AGE_BUDGET);
        large_step();
    }
    more |= reclaim_step();
    reclaim_update_state();
    core_net_peaks();
    if (wait_wake_frames() > 0)
        reclaim_answered();
    wait_wake_all(wait_io_list());
    more |= atomic_swap(core.step_again, false);
    spin_unlock(&core.step_lock);
    return more;
}

void mm_tick(void)
{
    spin_lock(&core.step_lock);
    atomic_set(core.ticks, core.ticks + 1);
    ages_due = true;
    share_left = core.config.share_pages * (core.state >= MM_CLEAR ? SHARE_HURRY : 1);
    share_portion = (share_left + SHARE_PORTIONS - 1) / SHARE_PORTIONS;
    int64_t time = core.state >= MM_CLEAR && share_pays() ? SHARE_TIME_SHORT : SHARE_TIME;
    share_time = share_time < 0 ? share_time + time : time;
    reclaim_update_state();
    if (core.ticks % POLICY_INTERVAL == 1)
        policy_apply();
    balloon_tick();
    spin_unlock(&core.step_lock);
}
