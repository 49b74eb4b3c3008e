/*
 * mm_pin and mm_unpin: the hypervisor's only way to guest memory.
 *
 * A pinned private page carries FRAME_PINNED. A read pin of a merged page holds
 * one more sharer on the frame, so that the pointer stays good even when the
 * page is written (and copied) meanwhile; the pointer then shows the content as
 * it was. Records per VM, under the VM's pin lock, inside range locks.
 */
#include "mm/pin.h"
#include "mm/core.h"
#include "mm/fault.h"
#include "mm/floor.h"
#include "mm/nested.h"
#include "mm/share.h"
#include "mm/vm.h"
#include "mm/wait.h"

/* The lock is held. */
static struct vm_pin *find(struct mm_vm *vm, uint32_t page)
{
    if (vm->pins_used == 0)
        return NULL;
    for (unsigned i = 0; i < VM_PIN_MAX; i++)
        if (vm->pins[i].count > 0 && vm->pins[i].gfn == page)
            return &vm->pins[i];
    return NULL;
}

/* The lock is held. */
static struct vm_pin *take(struct mm_vm *vm, uint32_t page)
{
    ensure(vm->pins_used < VM_PIN_MAX); /* MM_PIN_MAX a vCPU: the caller's promise */
    struct vm_pin *pin = vm->pins;
    while (pin->count > 0)
        pin++;
    *pin = (struct vm_pin){ page, 0, PFN_NONE };
    atomic_set(vm->pins_used, vm->pins_used + 1);
    return pin;
}

bool pin_holds(const struct leaf *leaf)
{
    struct mm_vm *vm = leaf->vm;
    /* A pin of this page was taken under the lock of its leaf. */
    if (atomic_get(vm->pins_used) == 0)
        return false;
    spin_lock(&vm->pin_lock);
    bool pinned = find(vm, leaf->gfn.v) != NULL;
    spin_unlock(&vm->pin_lock);
    return pinned;
}

/* The leaf is locked and present. */
static void *pin_page(struct leaf *leaf)
{
    struct mm_vm *vm = leaf->vm;
    pfn_t frame = entry_frame(leaf->entry);
    spin_lock(&vm->pin_lock);
    struct vm_pin *pin = find(vm, leaf->gfn.v);
    if (!pin)
        pin = take(vm, leaf->gfn.v);
    ensure(pin->count < UINT16_MAX);
    if (entry_home(leaf->entry) == HOME_PRIVATE)
        frame_flag_set(frame_at(frame), FRAME_PINNED);
    else if (pfn_is_none(pin->shared)) {
        share_frame_hold(frame);
        pin->shared = frame;
    }
    pin->count++;
    spin_unlock(&vm->pin_lock);
    return machine_frame_map(frame);
}

enum mm_answer mm_pin(struct mm_vm *vm, struct mm_vcpu *vcpu, gfn_t page, unsigned access,
                      void **content)
{
    struct leaf leaf;
    bool spurious;
    if (vcpu)
        wait_cancel(vcpu);
    enum mm_answer answer = fault_resolve(vm, vcpu, page, access, &leaf, &spurious);
    if (answer != MM_DONE)
        return answer;
    struct frame *frame = frame_at(entry_frame(leaf.entry));
    if (access & MM_WRITE) {
        if (core.config.accessed_dirty)
            home_adjust(&leaf, ENTRY_ACCESSED | ENTRY_DIRTY, 0);
        frame_flag_clear(frame, FRAME_STUBBORN);
    }
    *content = pin_page(&leaf);
    if (entry_home(leaf.entry) == HOME_PRIVATE && !spurious)
        floor_protect(vcpu, page, frame);
    nested_unlock(&leaf);
    if (!spurious)
        vm_not_dry(vm);
    return MM_DONE;
}

void mm_unpin(struct mm_vm *vm, gfn_t page)
{
    struct leaf leaf;
    pfn_t merged = PFN_NONE;
    ensure(page.v < vm->config.pages);
    nested_lock(vm, page, NESTED_LOOK, &leaf);
    spin_lock(&vm->pin_lock);
    struct vm_pin *pin = find(vm, page.v);
    ensure(pin);
    if (--pin->count == 0) {
        merged = pin->shared;
        atomic_set(vm->pins_used, vm->pins_used - 1);
        if (entry_home(leaf.entry) == HOME_PRIVATE)
            frame_flag_clear(frame_at(entry_frame(leaf.entry)), FRAME_PINNED);
    }
    spin_unlock(&vm->pin_lock);
    if (!pfn_is_none(merged))
        share_frame_drop(merged);
    nested_unlock(&leaf);
}

void pin_drop_all(struct mm_vm *vm)
{
    spin_lock(&vm->pin_lock);
    for (struct vm_pin *pin = vm->pins; vm->pins_used > 0; pin++) {
        if (pin->count == 0)
            continue;
        if (!pfn_is_none(pin->shared))
            share_frame_drop(pin->shared);
        pin->count = 0;
        atomic_set(vm->pins_used, vm->pins_used - 1);
    }
    spin_unlock(&vm->pin_lock);
}

void pin_audit(struct mm_vm *vm, void (*visit)(void *context, pfn_t merged), void *context)
{
    for (unsigned i = 0; i < VM_PIN_MAX && vm->pins_used > 0; i++)
        if (vm->pins[i].count > 0 && !pfn_is_none(vm->pins[i].shared))
            visit(context, vm->pins[i].shared);
}
