/*
 * The balloon, seen from the core: pages given up and taken back, the driver's
 * state, and what the balloon should hold. Advisory: limits never depend on it.
 *
 * A driver that has a target and does not move towards it for BALLOON_DEADLINE
 * ticks is stuck, and reclaim's next tiers take over until it moves again.
 *
 * Locks: a page's leaf for the verbs; what is known of a driver, and its target,
 * change under the VM's balloon lock.
 */
#include "mm/balloon.h"
#include "lib/atomic.h"
#include "mm/core.h"
#include "mm/giveup.h"
#include "mm/inflight.h"
#include "mm/nested.h"
#include "mm/pin.h"
#include "mm/vm.h"
#include "mm/wait.h"

#define BALLOON_DEADLINE 100u /* ticks: a second */
#define BALLOON_PART     65u  /* percent of a VM's memory the balloon may hold */
#define BALLOON_INTERVAL 10u  /* ticks between changes of a target */

const char *mm_balloon_state_name(enum mm_balloon_state state)
{
    static const char *const names[MM_DRIVER_STATE_COUNT] = {
        "absent", "idle", "working", "stuck", "failed",
    };
    return state < MM_DRIVER_STATE_COUNT ? names[state] : "?";
}

/* ---- entries of the queues --------------------------------------------------------- */

static enum mm_balloon_result refuse(struct mm_vm *vm, enum mm_balloon_result result)
{
    static const enum mm_vm_counter counters[] = {
        [MM_BALLOON_DONE_ALREADY] = MM_VM_balloon_done_already,
        [MM_BALLOON_OUT_OF_RANGE] = MM_VM_balloon_out_of_range,
        [MM_BALLOON_PINNED] = MM_VM_balloon_pinned,
    };
    vm_count(vm, counters[result], 1);
    return result;
}

static enum mm_balloon_result inflate(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    struct mm_vm *vm = leaf->vm;
    enum home home = entry_home(leaf->entry);
    if (home == HOME_BALLOON)
        return refuse(vm, MM_BALLOON_DONE_ALREADY);
    if (home == HOME_BUSY_IN || home == HOME_BUSY_OUT) {
        wait_enlist(vcpu, home == HOME_BUSY_IN ? MM_WAIT_PAGE_IN : MM_WAIT_PAGE_OUT,
                    &inflight_at(entry_payload(leaf->entry))->waiters);
        return MM_BALLOON_WAIT;
    }
    if (entry_is_present(leaf->entry) && pin_holds(leaf))
        return refuse(vm, MM_BALLOON_PINNED);
    uint32_t freed = giveup_balloon(leaf);
    core_count(MM_HOST_freed_balloon, freed);
    atomic_add(vm->balloon_credit, freed);
    atomic_add(vm->balloon_moves, 1);
    vm_count(vm, MM_VM_inflated, 1);
    return MM_BALLOON_OK;
}

enum mm_balloon_result mm_balloon_inflate(struct mm_vcpu *vcpu, gfn_t page)
{
    struct mm_vm *vm = vcpu->vm;
    struct leaf leaf;
    wait_cancel(vcpu);
    if (page.v >= vm->config.pages)
        return refuse(vm, MM_BALLOON_OUT_OF_RANGE);
    if (!nested_lock(vm, page, NESTED_MAKE, &leaf)) {
        wait_enlist(vcpu, MM_WAIT_FRAME, NULL);
        return MM_BALLOON_WAIT;
    }
    enum mm_balloon_result result = inflate(&leaf, vcpu);
    nested_unlock(&leaf);
    return result;
}

enum mm_balloon_result mm_balloon_deflate(struct mm_vcpu *vcpu, gfn_t page)
{
    struct mm_vm *vm = vcpu->vm;
    struct leaf leaf;
    wait_cancel(vcpu);
    if (page.v >= vm->config.pages)
        return refuse(vm, MM_BALLOON_OUT_OF_RANGE);
    nested_lock(vm, page, NESTED_LOOK, &leaf);
    enum mm_balloon_result result = MM_BALLOON_OK;
    if (entry_home(leaf.entry) == HOME_BALLOON) {
        home_change(&leaf, entry_away(HOME_ZERO, 0));
        core_count(MM_HOST_taken_balloon, vm_take_credit(vm));
        atomic_add(vm->balloon_moves, 1);
        vm_count(vm, MM_VM_deflated, 1);
    } else {
        result = refuse(vm, MM_BALLOON_DONE_ALREADY);
    }
    nested_unlock(&leaf);
    return result;
}

/* ---- the driver ------------------------------------------------------------------------ */

static void set_state(struct mm_vm *vm, enum mm_balloon_state state)
{
    if (state == vm->balloon_state)
        return;
    machine_event(MM_EVENT_BALLOON, vm, vm->balloon_state, state);
    atomic_set(vm->balloon_state, state);
}

static bool at_target(const struct mm_vm *vm)
{
    return vm_pages_in(vm, HOME_BALLOON) == vm->balloon_target;
}

static void start_deadline(struct mm_vm *vm)
{
    vm->balloon_moves_seen = atomic_get(vm->balloon_moves);
    vm->balloon_deadline = core_ticks() + BALLOON_DEADLINE;
}

void mm_balloon_driver(struct mm_vm *vm, bool ready, bool failed, uint32_t actual)
{
    spin_lock(&vm->balloon_lock);
    atomic_set(vm->balloon_actual, actual);
    if (failed)
        set_state(vm, MM_DRIVER_FAILED);
    else if (!ready)
        set_state(vm, MM_DRIVER_ABSENT);
    else if (vm->balloon_state == MM_DRIVER_ABSENT || vm->balloon_state == MM_DRIVER_FAILED) {
        start_deadline(vm);
        set_state(vm, at_target(vm) ? MM_DRIVER_IDLE : MM_DRIVER_WORKING);
    }
    spin_unlock(&vm->balloon_lock);
}

uint32_t mm_balloon_target(const struct mm_vm *vm)
{
    return atomic_get(vm->balloon_target);
}

void mm_balloon_statistics(struct mm_vm *vm, const struct mm_guest_stats *stats)
{
    spin_lock(&vm->balloon_lock);
    vm->stats = *stats;
    spin_unlock(&vm->balloon_lock);
}

static void watch_driver(struct mm_vm *vm)
{
    if (vm->balloon_state == MM_DRIVER_ABSENT || vm->balloon_state == MM_DRIVER_FAILED)
        return;
    bool moved = atomic_get(vm->balloon_moves) != vm->balloon_moves_seen;
    if (at_target(vm)) {
        start_deadline(vm);
        set_state(vm, MM_DRIVER_IDLE);
    } else if (moved) {
        start_deadline(vm);
        set_state(vm, MM_DRIVER_WORKING);
    } else if (vm->balloon_state == MM_DRIVER_IDLE) {
        start_deadline(vm);
        set_state(vm, MM_DRIVER_WORKING);
    } else if (core.ticks >= vm->balloon_deadline) {
        set_state(vm, MM_DRIVER_STUCK);
    }
}

static bool is_usable(const struct mm_vm *vm)
{
    enum mm_balloon_state state = atomic_get(vm->balloon_state);
    return vm->config.balloon && !vm_is_stopped(vm) &&
           (state == MM_DRIVER_IDLE || state == MM_DRIVER_WORKING);
}

static uint32_t most(const struct mm_vm *vm)
{
    return (uint32_t)((uint64_t)vm->config.pages * BALLOON_PART / 100);
}

/* Pages the balloon could still take from it. */
static uint32_t room(const struct mm_vm *vm)
{
    uint32_t resident = vm_resident(vm), held = vm_pages_in(vm, HOME_BALLOON);
    uint32_t floor = vm_floor(&vm->config);
    uint32_t keep = vm->config.reserve_pages > floor ? vm->config.reserve_pages : floor;
    if (vm->target > keep)
        keep = vm->target;
    uint32_t left = most(vm) > held ? most(vm) - held : 0;
    uint32_t excess = resident > keep ? resident - keep : 0;
    return left < excess ? left : excess;
}

bool balloon_can_help(void)
{
    if (!core_tier_works(MM_TIER_BALLOON))
        return false;
    for (unsigned i = 0; i < vm_live_count(); i++) {
        struct mm_vm *vm = vm_live(i);
        if (is_usable(vm) && (room(vm) > 0 || vm_pages_in(vm, HOME_BALLOON) < vm->balloon_target))
            return true;
    }
    return false;
}

/* Soft or worse: what the VM has above its target goes into its balloon, a part
 * at a time, so that guests find pages they can spare. */
static void grow(struct mm_vm *vm)
{
    uint32_t step = vm->config.pages / 16 + 1, more = room(vm);
    uint32_t want = vm_pages_in(vm, HOME_BALLOON) + (more < step ? more : step);
    if (want > vm->balloon_target)
        atomic_set(vm->balloon_target, want);
}

/* High: memory is given back as long as the state stays high with it. */
static void shrink(struct mm_vm *vm, uint32_t spare)
{
    uint32_t step = vm->config.pages / 64 + 1;
    if (step > spare)
        step = spare;
    uint32_t target = vm->balloon_target;
    atomic_set(vm->balloon_target, step < target ? target - step : 0);
}

void balloon_tick(void)
{
    uint32_t free = frame_free_count(), keep = core.min_free + core.min_free / 4;
    bool due = core.ticks % BALLOON_INTERVAL == 0 && core_tier_works(MM_TIER_BALLOON);
    for (unsigned i = 0; i < vm_live_count(); i++) {
        struct mm_vm *vm = vm_live(i);
        if (!vm->config.balloon)
            continue;
        spin_lock(&vm->balloon_lock);
        if (due && core.state >= MM_SOFT && is_usable(vm))
            grow(vm);
        else if (due && core.state == MM_HIGH && free > keep)
            shrink(vm, (free - keep) / 4);
        watch_driver(vm);
        spin_unlock(&vm->balloon_lock);
    }
}
