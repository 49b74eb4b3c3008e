/*
 * Giving content up; see giveup.h.
 */
#include "mm/giveup.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/touch.h"
#include "mm/vm.h"

/* What the entry named is not needed any more; translations are flushed. */
static uint32_t release(struct mm_vm *vm, gfn_t page, entry_t old)
{
    switch (entry_home(old)) {
    case HOME_FILL:
        fill_drop(&vm->fill, (unsigned)entry_payload(old));
        return 0;
    case HOME_PRIVATE:
        share_forget(entry_frame(old));
        frame_free(entry_frame(old));
        return 1;
    case HOME_SHARED:
        return share_frame_drop(entry_frame(old));
    case HOME_POOL:
        touch_pool_free(vm, page, entry_payload(old));
        return 0;
    case HOME_SWAP:
        swap_slot_free((swap_slot_t){ (uint32_t)entry_payload(old) });
        return 0;
    case HOME_COUNTED:
        counted_drop((uint32_t)entry_payload(old));
        return 0;
    default:
        return 0;
    }
}

/* A page that had left RAM by another tier: the frame that tier had freed is the
 * balloon's from now on, so that a later touch is counted against it. */
static uint32_t take_over(enum home from)
{
    if (from != HOME_POOL && from != HOME_SWAP)
        return 0;
    core_count(from == HOME_POOL ? MM_HOST_taken_compress : MM_HOST_taken_swap, 1);
    return 1;
}

uint32_t giveup_balloon(struct leaf *leaf)
{
    entry_t old = home_change(leaf, entry_away(HOME_BALLOON, 0));
    if (entry_is_present(old))
        core_flush(leaf->vm);
    return release(leaf->vm, leaf->gfn, old) + take_over(entry_home(old));
}

void giveup_end(struct leaf *leaf)
{
    entry_t old = home_change(leaf, (entry_t){ 0 });
    release(leaf->vm, leaf->gfn, old);
}
