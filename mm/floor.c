/*
 * Floors; see floor.h.
 */
#include "mm/floor.h"
#include "lib/atomic.h"
#include "mm/vm.h"

static_assert(MM_VCPU_FLOOR < 256, "a mark counts all pages of a floor");

static uint8_t *mark_of(struct mm_vcpu *vcpu, uint32_t page)
{
    return &vcpu->floor_marks[page % MM_FLOOR_MARKS];
}

static bool on_floor(struct mm_vcpu *vcpu, uint32_t page)
{
    if (!__atomic_load_n(mark_of(vcpu, page), __ATOMIC_ACQUIRE))
        return false;
    for (unsigned i = 0; i < MM_VCPU_FLOOR; i++)
        if (atomic_get(vcpu->floor[i]) == page)
            return true;
    return false;
}

void floor_protect(struct mm_vcpu *vcpu, gfn_t page, struct frame *frame)
{
    if (!vcpu)
        return;
    frame_flag_set(frame, FRAME_PROTECTED);
    if (on_floor(vcpu, page.v))
        return;
    /* Marked before it is there and until it has gone. */
    __atomic_fetch_add(mark_of(vcpu, page.v), 1, __ATOMIC_ACQ_REL);
    uint32_t fallen =
        atomic_swap(vcpu->floor[atomic_add(vcpu->floor_next, 1) % MM_VCPU_FLOOR], page.v);
    if (fallen != UINT32_MAX)
        __atomic_fetch_sub(mark_of(vcpu, fallen), 1, __ATOMIC_ACQ_REL);
}

static bool on_any_floor(struct mm_vm *vm, uint32_t page)
{
    bool found = false;
    unsigned count = __atomic_load_n(&vm->vcpu_count, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < count && !found; i++)
        found = on_floor(vm->vcpus[i], page);
    return found;
}

bool floor_holds(struct mm_vm *vm, gfn_t page, struct frame *frame)
{
    if (!frame_has(frame, FRAME_PROTECTED))
        return false;
    if (on_any_floor(vm, page.v))
        return true;
    frame_flag_clear(frame, FRAME_PROTECTED);
    return false;
}
