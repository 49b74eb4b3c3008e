/*
 * Reading ahead; see read_ahead.h. One group of a VM's pages at a time: choose the
 * direction, collect neighbours, keep those that one request can read, start it. Each page
 * completes by itself.
 */
#include "mm/read_ahead.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/floor.h"
#include "mm/inflight.h"
#include "mm/nested.h"
#include "mm/pagein.h"
#include "mm/reclaim.h"
#include "mm/vm.h"
#include "mm/wait.h"

static_assert(MM_READ_AHEAD_MAX <= SWAP_AHEAD_MAX, "a window is one group");
#define RANGE_PAGES   512u
#define WINDOW_BEGIN  4u
#define WINDOWS_AHEAD 4u  /* so many windows of unjudged pages at most */
#define TRIAL_EVERY   16u /* chances */
#define TRIAL_PAGES   2u

uint32_t read_ahead_begin(void)
{
    uint32_t most = core.config.swap_read_ahead;
    return most < WINDOW_BEGIN ? most : WINDOW_BEGIN;
}

/* ---- use and waste ------------------------------------------------------------------- */

void read_ahead_judge(struct mm_vm *vm, bool used)
{
    atomic_sub(vm->ahead.unjudged, 1);
    atomic_add(*(used ? &vm->ahead.hits : &vm->ahead.wasted), 1);
    core_count(used ? MM_HOST_ahead_hit : MM_HOST_ahead_wasted, 1);
    vm_count(vm, used ? MM_VM_ahead_hit : MM_VM_ahead_wasted, 1);
}

/* The pages just passed: what the guest used of them counts now, not when someone
 * comes along. The mark goes; whoever ages pages sees the accessed bit as before. */
static void judge_passed(const struct leaf *leaf, int direction)
{
    uint32_t first = leaf->gfn.v / RANGE_PAGES * RANGE_PAGES;
    for (uint32_t n = 1; n <= SWAP_AHEAD_MAX; n++) {
        uint32_t page = leaf->gfn.v - (uint32_t)direction * n;
        if (page - first >= RANGE_PAGES)
            return;
        struct leaf passed = nested_beside(leaf, gfn(page));
        if (entry_is_ahead(passed.entry) && entry_is_used(passed.entry))
            home_adjust(&passed, 0, 0);
    }
}

/* The window after what was judged since it last changed. */
static uint32_t settle(struct mm_vm *vm)
{
    uint32_t window = atomic_get(vm->ahead.window), most = core.config.swap_read_ahead;
    uint32_t hits = atomic_get(vm->ahead.hits), all = hits + atomic_get(vm->ahead.wasted);
    if (all < 2 || all < window)
        return window;
    if (hits * 4 >= all * 3)
        window = window ? 2 * window : TRIAL_PAGES;
    else if (hits * 2 < all)
        window /= 2;
    window = window < most ? window : most;
    atomic_set(vm->ahead.window, window);
    atomic_set(vm->ahead.hits, 0);
    atomic_set(vm->ahead.wasted, 0);
    return window;
}

/* How many pages now, by what became of the last ones. */
static uint32_t wanted(struct mm_vm *vm)
{
    uint32_t window = settle(vm), most = core.config.swap_read_ahead;
    if (window > 0 && atomic_get(vm->ahead.unjudged) < WINDOWS_AHEAD * most)
        return window;
    if ((atomic_add(vm->ahead.chances, 1) + 1) % TRIAL_EVERY != 0)
        return 0;
    return most < TRIAL_PAGES ? most : TRIAL_PAGES;
}

/* How many there is room for: half of what could be taken before anyone has to give. */
static uint32_t room(const struct mm_vm *vm)
{
    uint32_t resident = vm_resident(vm), target = atomic_get(vm->target);
    uint32_t below = target > resident ? target - resident : 0, free = reclaim_room();
    return (below < free ? below : free) / 2;
}

/* ---- done ------------------------------------------------------------------------------ */

/* BUSY_IN => PRIVATE, accessed only when a vCPU came to wait for it meanwhile. */
static bool commit(struct inflight *record, struct leaf *leaf)
{
    bool awaited = record->vcpu != NULL, kept = clean_keep(record->frame, record->slot);
    if (!kept && !awaited)
        return false;
    entry_t entry = entry_private(record->frame);
    entry.v |= awaited ? ENTRY_ACCESSED : ENTRY_AHEAD;
    home_change(leaf, entry);
    if (!kept)
        swap_slot_free(record->slot);
    if (awaited)
        read_ahead_judge(record->vm, true);
    else
        frame_flag_set(frame_at(record->frame), FRAME_COLD);
    core_count(MM_HOST_taken_swap, 1);
    vm_not_dry(record->vm);
    return true;
}

/* BUSY_IN => SWAP, as if nothing had been. */
static void put_back(struct inflight *record, struct leaf *leaf)
{
    home_change(leaf, entry_away(HOME_SWAP, record->slot.v));
    frame_free(record->frame);
    read_ahead_judge(record->vm, false);
}

static void done(struct swap_io *io, enum swap_status status)
{
    struct inflight *record = container_of(io, struct inflight, io);
    struct mm_vm *vm = record->vm;
    struct leaf leaf;
    nested_lock(vm, record->gfn, NESTED_LOOK, &leaf);
    ensure(entry_home(leaf.entry) == HOME_BUSY_IN &&
           entry_payload(leaf.entry) == inflight_index(record));
    if (status != SWAP_OK || !pagein_unpack(io, record->frame) || !commit(record, &leaf))
        put_back(record, &leaf);
    else if (!vm_is_stopped(vm))
        floor_protect(record->vcpu, record->gfn, frame_at(record->frame));
    nested_unlock(&leaf);
    atomic_sub(vm->held_frames, 1);
    atomic_sub(vm->ahead.under_way, 1);
    inflight_release(record);
}

/* ---- start ------------------------------------------------------------------------------- */

struct group {
    unsigned count;
    gfn_t pages[SWAP_AHEAD_MAX];
    swap_slot_t slots[SWAP_AHEAD_MAX];
};

static enum home home_beside(const struct leaf *leaf, int offset)
{
    uint32_t page = leaf->gfn.v + (uint32_t)offset;
    bool same = page / RANGE_PAGES == leaf->gfn.v / RANGE_PAGES;
    return same ? entry_home(nested_beside(leaf, gfn(page)).entry) : HOME_NONE;
}

static bool is_in_memory(enum home home)
{
    return home == HOME_PRIVATE || home == HOME_SHARED;
}

/* From what is in memory towards what is swapped out: +1, -1; 0: neither, a page amid
 * others of one kind. A range begins as if the page before it had been there. */
static int direction_of(const struct leaf *leaf)
{
    enum home before = home_beside(leaf, -1), behind = home_beside(leaf, 1);
    if (behind == HOME_SWAP && (is_in_memory(before) || leaf->gfn.v % RANGE_PAGES == 0))
        return 1;
    return before == HOME_SWAP && is_in_memory(behind) ? -1 : 0;
}

/* The next `most` swapped pages, of twice as many looked at. */
static void collect(const struct leaf *leaf, int direction, uint32_t most, struct group *group)
{
    uint32_t first = leaf->gfn.v / RANGE_PAGES * RANGE_PAGES;
    for (uint32_t n = 1; n <= 2 * most && group->count < most; n++) {
        uint32_t page = leaf->gfn.v + (uint32_t)direction * n;
        if (page - first >= RANGE_PAGES || page >= leaf->vm->config.pages)
            return;
        entry_t entry = nested_beside(leaf, gfn(page)).entry;
        if (entry_home(entry) != HOME_SWAP)
            continue;
        group->pages[group->count] = gfn(page);
        group->slots[group->count++] = (swap_slot_t){ (uint32_t)entry_payload(entry) };
    }
}

/* A record and a frame for one page; NULL: none to be had. */
static struct inflight *reserve(struct mm_vm *vm, gfn_t page, swap_slot_t slot)
{
    struct inflight *record = inflight_take(INFLIGHT_IN_AHEAD, vm);
    if (!record)
        return NULL;
    record->frame = frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
    if (pfn_is_none(record->frame)) {
        inflight_release(record);
        return NULL;
    }
    record->gfn = page;
    record->slot = record->io.slot = slot;
    record->io.done = done;
    return record;
}

/* The request is with the device, and nobody is told before the lock is given up. */
static void mark_busy(const struct leaf *leaf, struct swap_io *const ios[], unsigned count)
{
    struct mm_vm *vm = leaf->vm;
    for (unsigned i = 0; i < count; i++) {
        struct inflight *record = container_of(ios[i], struct inflight, io);
        struct leaf ahead = nested_beside(leaf, record->gfn);
        home_change(&ahead, entry_away(HOME_BUSY_IN, inflight_index(record)));
    }
    atomic_add(vm->held_frames, count);
    atomic_add(vm->ahead.under_way, count);
    atomic_add(vm->ahead.unjudged, count);
    core_count(MM_HOST_ahead_issued, count);
    core_count(MM_HOST_ahead_reads, 1);
    vm_count(vm, MM_VM_ahead_issued, count);
}

static void start(const struct leaf *leaf, const struct group *group)
{
    struct swap_io *ios[SWAP_AHEAD_MAX];
    uint32_t chosen = swap_ahead_choose(group->slots, group->count);
    unsigned count = 0;
    for (unsigned i = 0; i < group->count; i++) {
        if (!(chosen & 1u << i))
            continue;
        struct inflight *record = reserve(leaf->vm, group->pages[i], group->slots[i]);
        if (!record)
            break;
        ios[count++] = &record->io;
    }
    if (count > 0 && swap_ahead_start(ios, count) == SWAP_OK) {
        mark_busy(leaf, ios, count);
        return;
    }
    while (count > 0) {
        struct inflight *record = container_of(ios[--count], struct inflight, io);
        frame_free(record->frame);
        inflight_release(record);
    }
}

void read_ahead_beside(const struct leaf *leaf)
{
    struct mm_vm *vm = leaf->vm;
    if (core.config.swap_read_ahead == 0 || !core.config.accessed_dirty)
        return;
    int direction = direction_of(leaf);
    if (direction == 0)
        return;
    judge_passed(leaf, direction);
    uint32_t most = wanted(vm), there = most ? room(vm) : 0;
    struct group group = { 0 };
    if (there == 0 || atomic_get(vm->ahead.under_way) > 0 || wait_for_frames() || !swap_is_roomy())
        return;
    collect(leaf, direction, most < there ? most : there, &group);
    start(leaf, &group); /* of one page at least, the one that gave the direction */
}
