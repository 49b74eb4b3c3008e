/*
 * Verbs of touched pages; see touch.h.
 *
 * Reserve: touch_reserve() refuses a frame to a VM at its limit, to one that is
 * held, and when only reclaim's reserve is left; the vCPU then waits in order
 * of arrival.
 */
#include "mm/touch.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/inflight.h"
#include "mm/pagein.h"
#include "mm/pool.h"
#include "mm/read_ahead.h"
#include "mm/share.h"
#include "mm/vm.h"
#include "mm/wait.h"

static inline __attribute__((always_inline)) enum mm_answer
touch_reserve(struct leaf *leaf, struct mm_vcpu *vcpu, pfn_t *frame)
{
    struct mm_vm *vm = leaf->vm;
    if (vm_is_at_limit(vm)) {
        if (!atomic_swap(vm->limit_waiter, true))
            atomic_add(core.limit_waiters, 1);
        return wait_enlist(vcpu, MM_WAIT_FRAME, NULL);
    }
    if (atomic_get(core.hold) && vm_resident(vm) > atomic_get(vm->target) && vcpu)
        return wait_enlist(vcpu, MM_WAIT_HELD, NULL);
    /* The first page of a table just made follows it into the tables' reserve:
     * refused, it would give the table up and come back for it for ever. */
    bool fresh = leaf->table->table.entries == 0;
    *frame = frame_alloc(FRAME_PRIVATE, fresh ? FRAME_TABLES : FRAME_ORDINARY);
    return pfn_is_none(*frame) ? wait_enlist(vcpu, MM_WAIT_FRAME, NULL) : MM_DONE;
}

static entry_t fresh_entry(pfn_t frame)
{
    entry_t entry = entry_private(frame);
    if (core.config.accessed_dirty)
        entry.v |= ENTRY_ACCESSED;
    return entry;
}

enum mm_answer touch_fresh(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    struct mm_vm *vm = leaf->vm;
    enum home home = entry_home(leaf->entry);
    assert(home == HOME_ZERO || home == HOME_FILL || home == HOME_BALLOON);
    pfn_t frame;
    enum mm_answer answer = touch_reserve(leaf, vcpu, &frame);
    if (answer != MM_DONE)
        return answer;
    unsigned index = home == HOME_FILL ? (unsigned)entry_payload(leaf->entry) : 0;
    fill_page(machine_frame_map(frame), home == HOME_FILL ? fill_word(&vm->fill, index) : 0);
    home_change(leaf, fresh_entry(frame));
    if (home == HOME_FILL)
        fill_drop(&vm->fill, index);
    if (home == HOME_BALLOON)
        core_count(MM_HOST_taken_balloon, vm_take_credit(vm));
    vm_count(vm,
             home == HOME_ZERO   ? MM_VM_faults_zero
             : home == HOME_FILL ? MM_VM_faults_fill
                                 : MM_VM_faults_balloon,
             1);
    return MM_DONE;
}

enum mm_answer touch_write(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    struct mm_vm *vm = leaf->vm;
    assert(entry_home(leaf->entry) == HOME_SHARED);
    pfn_t merged = entry_frame(leaf->entry), frame;
    if (share_frame_take_back(merged)) {
        home_change(leaf, fresh_entry(merged));
        /* Same frame, more rights: nothing cached grants too much. */
        core_flush(vm);
        vm_count(vm, MM_VM_faults_takeback, 1);
        return MM_DONE;
    }
    enum mm_answer answer = touch_reserve(leaf, vcpu, &frame);
    if (answer != MM_DONE)
        return answer;
    memcpy(machine_frame_map(frame), machine_frame_map(merged), PAGE_SIZE);
    home_change(leaf, fresh_entry(frame));
    core_flush(vm);
    if (!share_frame_drop(merged))
        core_count(MM_HOST_taken_share, 1);
    vm_count(vm, MM_VM_faults_cow, 1);
    return MM_DONE;
}

void touch_pool_free(struct mm_vm *vm, gfn_t page, uint64_t location)
{
    struct pool_owner owner = { vm->id, page.v };
    atomic_sub(vm->pool_bytes, pool_free((pool_location_t){ location }, owner));
}

enum mm_answer touch_pool(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    struct mm_vm *vm = leaf->vm;
    pool_location_t location = { entry_payload(leaf->entry) };
    pfn_t frame;
    enum mm_answer answer = touch_reserve(leaf, vcpu, &frame);
    if (answer != MM_DONE)
        return answer;
    struct pool_owner owner = { vm->id, leaf->gfn.v };
    uint32_t size;
    if (pool_take(location, owner, machine_frame_map(frame), &size) != POOL_OK) {
        frame_free(frame);
        vm_stop(vm, MM_STOP_POOL_DAMAGED);
        return MM_STOPPED;
    }
    /* The leaf is locked: nobody sees it name an object that is gone. */
    home_change(leaf, fresh_entry(frame));
    atomic_sub(vm->pool_bytes, size);
    core_count(MM_HOST_taken_compress, 1);
    vm_count(vm, MM_VM_faults_pool, 1);
    return MM_DONE;
}

enum mm_answer touch_swap(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    swap_slot_t slot = { (uint32_t)entry_payload(leaf->entry) };
    pfn_t frame;
    enum mm_answer answer = touch_reserve(leaf, vcpu, &frame);
    if (answer != MM_DONE)
        return answer;
    answer = pagein_start(leaf, vcpu, INFLIGHT_IN_SWAP, slot, frame);
    if (entry_home(leaf->entry) == HOME_BUSY_IN)
        read_ahead_beside(leaf);
    return answer;
}

/* The merged frame is still there for other sharers: map it again. */
static bool rejoin(struct leaf *leaf, uint32_t index)
{
    pfn_t merged = share_frame_of_object(index);
    if (pfn_is_none(merged))
        return false;
    home_change(leaf, entry_shared(merged));
    counted_drop(index);
    return true;
}

enum mm_answer touch_counted(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    struct mm_vm *vm = leaf->vm;
    uint32_t index = (uint32_t)entry_payload(leaf->entry);
    pfn_t frame;
    if (rejoin(leaf, index)) {
        vm_count(vm, MM_VM_faults_counted, 1);
        return MM_DONE;
    }
    enum mm_answer answer = touch_reserve(leaf, vcpu, &frame);
    if (answer != MM_DONE)
        return answer;
    enum pool_result result;
    swap_slot_t slot;
    if (!counted_load(index, machine_frame_map(frame), &result, &slot))
        return pagein_start(leaf, vcpu, INFLIGHT_IN_COUNTED, slot, frame);
    if (result != POOL_OK) {
        frame_free(frame);
        vm_stop(vm, MM_STOP_POOL_DAMAGED);
        return MM_STOPPED;
    }
    home_change(leaf, fresh_entry(frame));
    /* The last reference costs the frame that paging out freed; the ones before
     * it cost what sharing had freed. */
    core_count(counted_drop(index) ? MM_HOST_taken_compress : MM_HOST_taken_share, 1);
    vm_count(vm, MM_VM_faults_counted, 1);
    return MM_DONE;
}
