/*
 * Faults: the touched page's home decides the verb (mm/touch.h). Nothing waits
 * here; whoever has to is put on a list and the vCPU executes its instruction
 * again later.
 */
#include "mm/fault.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/floor.h"
#include "mm/inflight.h"
#include "mm/large.h"
#include "mm/nested.h"
#include "mm/touch.h"
#include "mm/vm.h"
#include "mm/wait.h"

/* COUNTED => SHARED => PRIVATE is the longest way. */
#define STEPS_MAX 4u

static enum mm_answer wait_for_record(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    struct inflight *record = inflight_at(entry_payload(leaf->entry));
    bool in = entry_home(leaf->entry) == HOME_BUSY_IN;
    if (in && !record->vcpu)
        record->vcpu = vcpu;
    return wait_enlist(vcpu, in ? MM_WAIT_PAGE_IN : MM_WAIT_PAGE_OUT, &record->waiters);
}

/* A private page that was read-only to see whether it is written. */
static enum mm_answer allow_write(struct leaf *leaf)
{
    clean_forget_leaf(leaf);
    return MM_DONE;
}

static void note_foreign(struct mm_vcpu *vcpu)
{
    if (vcpu)
        vcpu->foreign = true;
}

/* One step; DONE: look again. */
static enum mm_answer step(struct leaf *leaf, struct mm_vcpu *vcpu)
{
    switch (entry_home(leaf->entry)) {
    case HOME_ZERO:
    case HOME_FILL:
    case HOME_BALLOON:
        return touch_fresh(leaf, vcpu);
    case HOME_PRIVATE:
        return allow_write(leaf);
    case HOME_SHARED:
        return touch_write(leaf, vcpu);
    case HOME_POOL:
        return touch_pool(leaf, vcpu);
    case HOME_SWAP:
        note_foreign(vcpu);
        return touch_swap(leaf, vcpu);
    case HOME_COUNTED:
        note_foreign(vcpu);
        return touch_counted(leaf, vcpu);
    case HOME_BUSY_OUT:
    case HOME_BUSY_IN:
        return wait_for_record(leaf, vcpu);
    default:
        return MM_NO_PAGE;
    }
}

static bool is_enough(entry_t entry, unsigned access)
{
    return entry_is_present(entry) && (entry_is_writable(entry) || !(access & MM_WRITE));
}

/* A fetch from where large pages may not be executed from: such a range is mapped by
 * pages from now on. */
static bool is_fetch(unsigned access)
{
    return (access & MM_EXEC) && !core.config.large_execute;
}

/* True when that changed anything. */
static bool allow_fetch(struct leaf *leaf)
{
    bool large = large_holds(leaf);
    if (large)
        large_split(leaf);
    leaf->table->table.fetched = 1;
    return large;
}

/* fault_resolve(), as part of its caller. */
static inline __attribute__((always_inline)) enum mm_answer
resolve(struct mm_vm *vm, struct mm_vcpu *vcpu, gfn_t page, unsigned access, struct leaf *leaf,
        bool *spurious)
{
    if (page.v >= vm->config.pages)
        return MM_NO_PAGE;
    if (vm_is_stopped(vm))
        return MM_STOPPED;
    if (!nested_lock(vm, page, is_fetch(access) ? NESTED_MAKE : NESTED_TOUCH, leaf))
        return wait_enlist(vcpu, MM_WAIT_FRAME, NULL);
    enum mm_answer answer = MM_DONE;
    *spurious = is_enough(leaf->entry, access) && !leaf->made;
    if (leaf->made)
        vm_count(vm, MM_VM_faults_zero, 1);
    if (is_fetch(access) && allow_fetch(leaf))
        *spurious = false;
    for (unsigned i = 0; answer == MM_DONE; i++) {
        if (is_enough(leaf->entry, access))
            return MM_DONE;
        ensure(i < STEPS_MAX);
        answer = step(leaf, vcpu);
    }
    nested_unlock(leaf);
    return answer;
}

enum mm_answer fault_resolve(struct mm_vm *vm, struct mm_vcpu *vcpu, gfn_t page, unsigned access,
                             struct leaf *leaf, bool *spurious)
{
    return resolve(vm, vcpu, page, access, leaf, spurious);
}

enum mm_answer mm_fault(struct mm_vcpu *vcpu, gpa_t address, unsigned access)
{
    struct mm_vm *vm = vcpu->vm;
    struct leaf leaf;
    bool spurious = false;
    if (address.v >> PAGE_SHIFT >= vm->config.pages)
        return MM_NO_PAGE;
    wait_cancel(vcpu);
    vcpu->foreign = false;
    gfn_t page = gfn((uint32_t)(address.v >> PAGE_SHIFT));
    enum mm_answer answer = resolve(vm, vcpu, page, access, &leaf, &spurious);
    if (answer != MM_DONE)
        return answer;
    if (entry_home(leaf.entry) == HOME_PRIVATE)
        floor_protect(vcpu, page, frame_at(entry_frame(leaf.entry)));
    nested_unlock(&leaf);
    if (spurious) {
        /* Something narrower may still be cached. */
        core_flush(vm);
        vm_count(vm, MM_VM_faults_table, 1);
    } else {
        vm_not_dry(vm);
    }
    return MM_DONE;
}
