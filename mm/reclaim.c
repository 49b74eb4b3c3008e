/*
 * Reclaim; see reclaim.h.
 *
 * Progress (P10). A VM is `dry` when three rounds of its clock hand took
 * nothing: the first clears accessed bits, the second takes what stayed cold,
 * the third takes anything that is not pinned or on a floor. When a vCPU waits
 * for a frame, no I/O is under way, and every tier is dry, the VM furthest above
 * its target is stopped; never one within its reservation. A guest can keep a
 * tier from being dry without giving anything (a balloon that breathes, a merged
 * page that comes and goes), so after PATIENCE without a vCPU woken nothing is
 * left but that either.
 */
#include "mm/reclaim.h"
#include "lib/log.h"
#include "mm/age.h"
#include "mm/balloon.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/inflight.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/pool.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/vm.h"
#include "mm/wait.h"

/* VMs compared with the one that was the furthest last. Each one costs a look, and fewer
 * find a VM with little to give more often (docs/performance.md, "Steps of reclaim"). */
#define CHOICES          8u
#define LOOK_BUDGET      256u /* pages the clock hand passes in a step */
#define WRITE_BACK_BATCH 8u   /* objects */
#define COMPACT_BATCH    32u  /* objects */
#define CLEAN_BUDGET     512u /* pages looked at for clean slots in a step */
#define LIMIT_SLACK      16u  /* pages a VM at its limit is brought below it */
#define DRY_ROUNDS       3u
#define PATIENCE         500u /* ticks */
#define LEAST_MIN_FREE   96u  /* frames: below that, the states lie too close to each other */

static struct {
    uint32_t enter[MM_STATE_COUNT]; /* the state holds below this many free frames */
    uint32_t hysteresis;
    uint32_t pool_limit;
    uint64_t answered; /* tick when nobody waited for a frame, or somebody was woken */
    /* Where scans of the VMs begin when there are too many for one step, and whom the
     * last search for the furthest found. */
    uint32_t limit_hand, furthest_hand;
    uint16_t furthest_id;
    /* What this step's first search found. */
    struct {
        bool done;
        struct mm_vm *vm;
        int64_t above;
    } search;
} r;

/* ---- pressure ------------------------------------------------------------------------ */

/* vSphere's sliding scale: 6 % of the first 4 GiB, 4 % up to 12, 2 % up to 28, 1 % of
 * the rest ("vSphere Resource Management", Mem.MemMinFreePct). */
static uint64_t default_min_free(uint64_t frames)
{
    static const struct {
        uint64_t frames;
        unsigned percent;
    } scale[] = { { 1ull << 20, 6 }, { 2ull << 20, 4 }, { 4ull << 20, 2 }, { UINT64_MAX, 1 } };
    uint64_t sum = 0;
    for (unsigned i = 0; frames > 0; i++) {
        uint64_t part = frames < scale[i].frames ? frames : scale[i].frames;
        sum += part * scale[i].percent / 100;
        frames -= part;
    }
    return sum < LEAST_MIN_FREE ? LEAST_MIN_FREE : sum;
}

void reclaim_init(void)
{
    const struct mm_config *c = &core.config;
    uint64_t managed = frame_managed_count();
    uint64_t min_free =
        c->min_free_permille ? managed * c->min_free_permille / 1000 : default_min_free(managed);
    core.min_free = (uint32_t)min_free;
    r.enter[MM_HIGH] = UINT32_MAX;
    r.enter[MM_CLEAR] = core.min_free;
    r.enter[MM_SOFT] = (uint32_t)(min_free * c->soft_percent / 100);
    r.enter[MM_HARD] = (uint32_t)(min_free * c->hard_percent / 100);
    r.enter[MM_LOW] = (uint32_t)(min_free * c->low_percent / 100);
    /* The lowest state must come before ordinary callers are refused. */
    uint32_t least = frame_reserve_count() + 8;
    for (unsigned s = MM_STATE_COUNT - 1; s > MM_HIGH; s--) {
        if (r.enter[s] < least)
            r.enter[s] = least;
        least = r.enter[s] + 1;
    }
    r.hysteresis = core.min_free / 32 < 4 ? 4 : core.min_free / 32;
    r.pool_limit = (uint32_t)(managed * c->pool_percent / 100);
    r.answered = 0;
    r.limit_hand = r.furthest_hand = r.furthest_id = 0;
    core.state = MM_HIGH;
}

void reclaim_answered(void)
{
    r.answered = core.ticks;
}

uint32_t reclaim_room(void)
{
    uint32_t free = frame_free_count(), soft = r.enter[MM_SOFT];
    return atomic_get(core.state) <= MM_CLEAR && free > soft ? free - soft : 0;
}

void reclaim_update_state(void)
{
    uint32_t free = frame_free_count();
    enum mm_state state = core.state;
    while (state < MM_LOW && free < r.enter[state + 1])
        state++;
    while (state > MM_HIGH && free >= r.enter[state] + r.hysteresis)
        state--;
    if (state != core.state)
        machine_event(MM_EVENT_STATE, NULL, core.state, state);
    atomic_set(core.state, state);
}

/* ---- whose memory ---------------------------------------------------------------------- */

static bool can_page_out(void)
{
    return core_tier_works(MM_TIER_COMPRESS) || core_tier_works(MM_TIER_SWAP);
}

static bool is_dry(const struct mm_vm *vm)
{
    return atomic_get(vm->dry_pages) > (uint64_t)DRY_ROUNDS * vm->config.pages + LOOK_BUDGET;
}

struct search {
    struct mm_vm *best, *spare;
    int64_t most, most_spare; /* pages above the target, above the reservation */
};

static void search_look(struct search *s, struct mm_vm *vm, bool dry)
{
    if (vm_is_stopped(vm) || (!dry && is_dry(vm)))
        return;
    /* What is on its way out is as good as gone. */
    int64_t resident = (int64_t)vm_resident(vm) - vm_pages_in(vm, HOME_BUSY_OUT);
    int64_t over = resident - vm->target, beyond = resident - vm->config.reserve_pages;
    if (beyond <= 0)
        return;
    if (over > s->most) {
        s->most = over;
        s->best = vm;
    }
    if (beyond > s->most_spare) {
        s->most_spare = beyond;
        s->spare = vm;
    }
}

/* The VM furthest above its target; without one, the one furthest above its
 * reservation; floors are guarded page by page. NULL: nobody has anything to give. `dry`: also
 * those that gave nothing lately. Of more VMs than a step looks at, and not for a victim: of
 * the next ones and the one that was the furthest last. */
static struct mm_vm *furthest(bool dry, int64_t *above)
{
    struct search s = { 0 };
    unsigned count = vm_live_count();
    bool all = dry || count <= VM_SCAN;
    unsigned start = dry ? 0 : vm_scan_start(&r.furthest_hand, CHOICES);
    if (!all && vm_at(r.furthest_id))
        search_look(&s, vm_at(r.furthest_id), dry);
    for (unsigned n = 0; n < count && (all || n < CHOICES || !s.spare); n++)
        search_look(&s, vm_live((start + n) % count), dry);
    struct mm_vm *found = s.best ? s.best : s.spare;
    if (found)
        r.furthest_id = found->id;
    *above = s.best ? s.most : s.most_spare;
    return found;
}

/* The same, searched for once a step. */
static struct mm_vm *furthest_now(void)
{
    if (!r.search.done)
        r.search.vm = furthest(false, &r.search.above);
    r.search.done = true;
    return r.search.vm;
}

/* ---- paging out --------------------------------------------------------------------------- */

/* Of a merged frame with many sharers, none frees anything by leaving: those
 * wait for the second round, unless their content is stored already. */
static bool is_worth_leaving(const struct leaf *leaf, uint64_t round)
{
    const struct frame *frame = frame_at(entry_frame(leaf->entry));
    return round >= 1 || atomic_get(frame->shared.count) <= 2 || frame_has(frame, FRAME_OBJECT);
}

/* One page under the hand. */
static void consider(struct mm_vm *vm, struct leaf *leaf, struct pageout *batch, bool *cleared)
{
    uint64_t round = atomic_get(vm->dry_pages) / vm->config.pages;
    switch (entry_home(leaf->entry)) {
    case HOME_PRIVATE:
        if (pageout_may(leaf) && (age_look(leaf, cleared) || round >= 2))
            pageout_add(batch, leaf);
        return;
    case HOME_SHARED:
        if (is_worth_leaving(leaf, round) && (age_look(leaf, cleared) || round >= 2))
            pageout_shared(leaf, batch);
        return;
    default:
        return;
    }
}

/* Moves the VM's hand on until `want` pages, PAGEOUT_BATCH at most, are on their way or the
 * budget is spent; returns frames freed or soon to be. */
static uint32_t take_from(struct mm_vm *vm, uint32_t want, bool past_pool, bool *pool_full)
{
    struct pageout batch = { .vm = vm, .past_pool = past_pool };
    bool cleared = false;
    for (uint32_t n = 0; n < LOOK_BUDGET; n++) {
        if (batch.count + batch.freed + batch.started >= want)
            break;
        struct leaf leaf;
        gfn_t page = gfn(vm->hand);
        nested_lock(vm, page, NESTED_LOOK, &leaf);
        uint32_t next = nested_next(&leaf, false);
        consider(vm, &leaf, &batch, &cleared);
        nested_unlock(&leaf);
        atomic_add(vm->dry_pages, next - page.v);
        vm->hand = next < vm->config.pages ? next : 0;
    }
    if (cleared && batch.count == 0)
        core_flush(vm);
    pageout_run(&batch);
    /* What was started counts when it is done: writes may fail for ever. */
    if (batch.freed > 0)
        vm_not_dry(vm);
    *pool_full |= batch.pool_full;
    return batch.freed + batch.started;
}

static uint32_t keep_limit(struct mm_vm *vm, bool *pool_full)
{
    uint32_t limit = vm->config.limit_pages;
    /* Without a limit of its own it cannot pass it. */
    if (limit >= vm->config.pages)
        return 0;
    uint32_t resident = vm_resident(vm);
    if (!atomic_get(vm->limit_waiter) && resident <= limit)
        return 0;
    static_assert(LIMIT_SLACK < MM_VCPU_FLOOR, "admission wants a limit above the floor");
    if (resident <= limit - LIMIT_SLACK) {
        if (atomic_swap(vm->limit_waiter, false))
            atomic_sub(core.limit_waiters, 1);
        return 0;
    }
    if (!is_dry(vm))
        return take_from(vm, PAGEOUT_BATCH, true, pool_full);
    if (atomic_get(vm->pool_bytes) > 0 && core_tier_works(MM_TIER_SWAP))
        return pageout_write_back(WRITE_BACK_BATCH);
    return 0;
}

/* VMs above their limit, whatever the host's state. All are looked at while one of
 * them waits, else some in turn. */
static uint32_t keep_limits(bool *pool_full)
{
    uint32_t moved = 0;
    unsigned count = vm_live_count(), start = vm_scan_start(&r.limit_hand, VM_SCAN);
    unsigned scan = count < VM_SCAN || atomic_get(core.limit_waiters) ? count : VM_SCAN;
    for (unsigned i = 0; i < scan && can_page_out(); i++) {
        struct mm_vm *vm = vm_live((start + i) % count);
        if (!vm_is_stopped(vm))
            moved += keep_limit(vm, pool_full);
    }
    return moved;
}

static uint32_t page_out(bool *pool_full)
{
    struct mm_vm *vm = can_page_out() ? furthest_now() : NULL;
    if (!vm)
        return 0;
    /* Never beyond its target or its reservation (P11). */
    uint32_t want = r.search.above < PAGEOUT_BATCH ? (uint32_t)r.search.above : PAGEOUT_BATCH;
    return take_from(vm, want, false, pool_full);
}

/* ---- the pool ----------------------------------------------------------------------------- */

static uint32_t tend_pool(bool pressed, bool pool_full)
{
    struct pool_stats pool;
    uint32_t moved = 0;
    pool_stats_get(&pool);
    if (pool.frames == 0)
        return 0;
    uint64_t bytes = pool.frames << PAGE_SHIFT;
    if (pool.frames > 4 && pool.live_bytes < (pressed ? bytes / 16 * 15 : bytes / 2)) {
        moved += pool_compact(COMPACT_BATCH);
    }
    bool crowded = pool.frames >= r.pool_limit - r.pool_limit / 16 || pool_full;
    if (core_tier_works(MM_TIER_SWAP) && pressed &&
        (crowded || core.state == MM_LOW || !furthest_now()))
        moved += pageout_write_back(WRITE_BACK_BATCH);
    return moved;
}

/* ---- exhaustion ---------------------------------------------------------------------------- */

static bool victim_is_leaving(void)
{
    for (unsigned i = 0; i < vm_live_count(); i++)
        if (vm_is_stopped(vm_live(i)))
            return true;
    return false;
}

static bool sharing_is_dry(void)
{
    return !core_tier_works(MM_TIER_SHARE) ||
           share_dry_pages() > DRY_ROUNDS * atomic_get(core.configured_pages);
}

static bool paging_is_dry(void)
{
    int64_t above;
    return !can_page_out() || !furthest(false, &above);
}

/* A vCPU waits that no tier can help: its VM's own limit, or the host's end. */
static void stop_victim(void)
{
    int64_t above = 0;
    struct mm_vm *victim = NULL;
    for (unsigned i = 0; i < vm_live_count() && !victim; i++) {
        struct mm_vm *vm = vm_live(i);
        if (!vm_is_stopped(vm) && atomic_get(vm->limit_waiter) && wait_of_vm(vm) &&
            vm_is_at_limit(vm) && (!can_page_out() || is_dry(vm))) {
            victim = vm;
            above = (int64_t)vm_resident(vm) - vm->target;
        }
    }
    if (!victim && frame_free_count() <= frame_reserve_count())
        victim = furthest(true, &above);
    if (!victim)
        return;
    core_count(MM_HOST_victims, 1);
    machine_event(MM_EVENT_VICTIM, victim, above > 0 ? (uint64_t)above : 0, 0);
    vm_stop(victim, MM_STOP_OUT_OF_MEMORY);
}

static bool limit_is_dry(void)
{
    for (unsigned i = 0; i < vm_live_count() && atomic_get(core.limit_waiters) > 0; i++) {
        struct mm_vm *vm = vm_live(i);
        if (!vm_is_stopped(vm) && atomic_get(vm->limit_waiter) && is_dry(vm))
            return true;
    }
    return false;
}

static bool tiers_are_dry(void)
{
    /* Cutting a large mapping may free some of its pages. */
    return atomic_get(core.large) == 0 && !balloon_can_help() && sharing_is_dry() &&
           (paging_is_dry() || limit_is_dry());
}

/* Of a vCPU that waits. */
static bool is_exhausted(uint32_t moved)
{
    return moved == 0 && inflight_count(NULL) == 0 && !victim_is_leaving() &&
           (tiers_are_dry() || core.ticks - r.answered >= PATIENCE);
}

/* ---- the step ------------------------------------------------------------------------------- */

/* Does this state page out? Soft only when no balloon can answer it. */
static bool state_pages_out(void)
{
    return core.state >= MM_HARD || (core.state == MM_SOFT && !balloon_can_help());
}

bool reclaim_step(void)
{
    bool pool_full = false, pressed = state_pages_out();
    r.search.done = false;
    uint32_t moved = swap_is_tight() ? clean_drop(CLEAN_BUDGET) : 0;
    moved += keep_limits(&pool_full);
    uint32_t coming = inflight_outs();
    if (pressed && frame_free_count() + coming < r.enter[MM_SOFT] + r.hysteresis)
        moved += page_out(&pool_full);
    moved += tend_pool(pressed, pool_full);
    bool waiting = wait_for_frames();
    if (moved == 0 || waiting || core.state == MM_LOW || inflight_outs_awaited())
        swap_write_flush();
    atomic_set(core.hold, core.state == MM_LOW && can_page_out() && furthest_now());
    if (!waiting)
        reclaim_answered();
    else if (is_exhausted(moved))
        stop_victim();
    return moved > 0 || (waiting && inflight_count(NULL) == 0);
}
