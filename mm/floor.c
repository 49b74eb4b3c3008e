/*
 * Floors; see floor.h.
 */
#include "mm/floor.h"
#include "mm/nested.h"
#include "mm/vm.h"

static bool on_floor(const struct mm_vcpu *vcpu, uint32_t page)
{
    for (unsigned i = 0; i < MM_VCPU_FLOOR; i++)
        if (vcpu->floor[i] == page)
            return true;
    return false;
}

uint32_t floor_protect(struct mm_vcpu *vcpu, gfn_t page, struct frame *frame)
{
    if (!vcpu)
        return UINT32_MAX;
    frame_flag_set(frame, FRAME_PROTECTED);
    if (on_floor(vcpu, page.v))
        return UINT32_MAX;
    uint32_t fallen = vcpu->floor[vcpu->floor_next];
    vcpu->floor[vcpu->floor_next] = page.v;
    vcpu->floor_next = (vcpu->floor_next + 1) % MM_VCPU_FLOOR;
    return fallen;
}

void floor_release(struct mm_vm *vm, uint32_t page)
{
    if (page == UINT32_MAX)
        return;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (on_floor(vm->vcpus[i], page))
            return;
    struct leaf leaf;
    nested_lock(vm, gfn(page), NESTED_LOOK, &leaf);
    if (entry_home(leaf.entry) == HOME_PRIVATE)
        frame_flag_clear(frame_at(entry_frame(leaf.entry)), FRAME_PROTECTED);
    nested_unlock(&leaf);
}
