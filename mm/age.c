/*
 * Ages by accessed bits; see age.h. Cleared bits are flushed once per batch: a
 * translation that is still cached would not set its bit again.
 */
#include "mm/age.h"
#include "mm/core.h"
#include "mm/large.h"
#include "mm/nested.h"
#include "mm/vm.h"

bool age_look(struct leaf *leaf, bool *cleared)
{
    struct frame *frame = frame_at(entry_frame(leaf->entry));
    bool private = entry_home(leaf->entry) == HOME_PRIVATE;
    if (entry_is_accessed(leaf->entry)) {
        home_adjust(leaf, 0, ENTRY_ACCESSED);
        *cleared = true;
        if (private) {
            frame_flag_clear(frame, FRAME_COLD);
            frame_flag_set(frame, FRAME_ACTIVE);
        }
        return false;
    }
    if (!private)
        return true;
    bool cold = frame_has(frame, FRAME_COLD);
    frame_flag_set(frame, FRAME_COLD);
    return cold;
}

/* Was the page accessed since the estimate looked last? Reclaim's hand clears
 * accessed bits too, and leaves FRAME_ACTIVE behind. */
static bool is_active(struct leaf *leaf, bool *cleared)
{
    if (!core.config.accessed_dirty)
        return true;
    bool accessed = entry_is_accessed(leaf->entry);
    age_look(leaf, cleared);
    if (entry_home(leaf->entry) != HOME_PRIVATE)
        return accessed;
    struct frame *frame = frame_at(entry_frame(leaf->entry));
    bool active = frame_has(frame, FRAME_ACTIVE);
    frame_flag_clear(frame, FRAME_ACTIVE);
    return active;
}

/* Looks at one page and moves the VM's hand on. */
static void look(struct mm_vm *vm, bool *cleared)
{
    struct leaf leaf;
    gfn_t page = gfn(vm->age_hand);
    nested_lock(vm, page, NESTED_LOOK, &leaf);
    bool large = large_holds(&leaf);
    uint32_t next = nested_next(&leaf, large);
    /* One bit for all of them: all were used, or none. */
    if (large && large_was_accessed(&leaf, cleared))
        vm->age_seen += next - page.v;
    else if (!large && entry_is_present(leaf.entry))
        vm->age_seen += is_active(&leaf, cleared);
    vm->age_hand = next;
    nested_unlock(&leaf);
}

/* A round is over: the estimate is what it saw. */
static void round_end(struct mm_vm *vm)
{
    atomic_set(vm->active, vm->age_seen);
    vm->active_known = core.config.accessed_dirty;
    vm->age_hand = vm->age_seen = 0;
    vm->age_next = core.ticks + AGE_PERIOD;
}

void age_step(uint32_t budget)
{
    unsigned running = 0, count = vm_live_count(), scan = count < VM_SCAN ? count : VM_SCAN;
    unsigned start = vm_scan_start(&core.age_hand, VM_SCAN);
    for (unsigned i = 0; i < scan; i++)
        running += !vm_is_stopped(vm_live((start + i) % count));
    for (unsigned i = 0; i < scan; i++) {
        struct mm_vm *vm = vm_live((start + i) % count);
        bool cleared = false;
        if (vm_is_stopped(vm) || core.ticks < vm->age_next)
            continue;
        for (uint32_t n = 0; n < budget / running + 1 && vm->age_hand < vm->config.pages; n++)
            look(vm, &cleared);
        if (vm->age_hand >= vm->config.pages)
            round_end(vm);
        if (cleared)
            core_flush(vm);
    }
}
