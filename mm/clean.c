/*
 * Clean slots; see clean.h.
 */
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/nested.h"
#include "mm/vm.h"

static struct {
    uint32_t count;
    uint32_t vm, page; /* where clean_drop() looks next: core.step_lock */
} clean;

void clean_init(void)
{
    clean.count = clean.vm = clean.page = 0;
}

uint32_t clean_count(void)
{
    return atomic_get(clean.count);
}

bool clean_keep(pfn_t number, swap_slot_t slot)
{
    struct frame *frame = frame_at(number);
    ensure(frame->kind == FRAME_PRIVATE && !frame_has(frame, FRAME_INDEXED | FRAME_CLEAN));
    if (!swap_is_roomy())
        return false;
    frame->private.link = slot.v;
    frame_flag_set(frame, FRAME_CLEAN);
    atomic_add(clean.count, 1);
    return true;
}

swap_slot_t clean_slot(const struct frame *frame)
{
    bool kept = frame->kind == FRAME_PRIVATE && frame_has(frame, FRAME_CLEAN);
    return kept ? (swap_slot_t){ frame->private.link } : SWAP_SLOT_NONE;
}

/* The frame keeps it no longer. */
static swap_slot_t take(struct frame *frame)
{
    swap_slot_t slot = clean_slot(frame);
    if (slot.v != SWAP_SLOT_NONE.v) {
        frame_flag_clear(frame, FRAME_CLEAN);
        atomic_sub(clean.count, 1);
    }
    return slot;
}

void clean_forget(pfn_t number)
{
    swap_slot_t slot = take(frame_at(number));
    if (slot.v != SWAP_SLOT_NONE.v)
        swap_slot_free(slot);
}

void clean_forget_leaf(struct leaf *leaf)
{
    clean_forget(entry_frame(leaf->entry));
    if (!entry_is_writable(leaf->entry))
        home_adjust(leaf, ENTRY_WRITE, 0);
}

swap_slot_t clean_take(pfn_t number, entry_t old)
{
    bool written = core.config.accessed_dirty ? entry_is_dirty(old) : entry_is_writable(old);
    if (!written && core_tier_works(MM_TIER_SWAP))
        return take(frame_at(number));
    clean_forget(number);
    return SWAP_SLOT_NONE;
}

/* The VM that the hand is in, by id; the next one there is when that one has gone, or
 * was seen to its end. NULL: there is none. */
static struct mm_vm *vm_under_hand(void)
{
    struct mm_vm *vm = vm_at(clean.vm);
    if (vm && clean.page < vm->config.pages)
        return vm;
    clean.page = 0;
    vm = vm_live_after((uint16_t)clean.vm);
    clean.vm = vm ? vm->id : 0;
    return vm;
}

/* The page under the hand, which moves on, past ranges with no page in memory at once;
 * true when it gave a slot back. */
static bool drop_next(void)
{
    struct mm_vm *vm = vm_under_hand();
    struct leaf leaf;
    if (!vm)
        return false;
    nested_lock(vm, gfn(clean.page), NESTED_LOOK, &leaf);
    clean.page = nested_next(&leaf, leaf.slot && leaf.table->table.present == 0);
    bool kept = entry_home(leaf.entry) == HOME_PRIVATE &&
                clean_slot(frame_at(entry_frame(leaf.entry))).v != SWAP_SLOT_NONE.v;
    if (kept)
        clean_forget_leaf(&leaf);
    nested_unlock(&leaf);
    return kept;
}

uint32_t clean_drop(uint32_t budget)
{
    uint32_t dropped = 0;
    for (; budget > 0 && clean_count() > 0; budget--)
        dropped += drop_next();
    return dropped;
}
