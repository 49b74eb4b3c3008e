/*
 * Clean slots: a private page that was read in and not written since keeps its
 * slot in the swap area, and leaves RAM again without a write.
 *
 * The frame carries FRAME_CLEAN and its descriptor's link is the slot, so it is
 * on no chain of the share index, which needs the same word. The slot is no second
 * home of the page: it is given up at the first sign of a write.
 *
 * Invariant: the content of a frame with a clean slot is the slot's, unless the
 * leaf's dirty bit is set. Whoever clears that bit forgets the slot first. Without
 * dirty bits such a page is mapped read-only, and a write is a fault
 * (clean_forget_leaf()).
 *
 * Slots are kept while the area has room; clean_drop() gives them back when it has
 * little. Lock: that of the leaf which maps the frame.
 */
#ifndef MM_CLEAN_H
#define MM_CLEAN_H

#include "mm/frame.h"
#include "mm/home.h"
#include "mm/swap.h"

void clean_init(void);

/* Pages with a clean slot. */
uint32_t clean_count(void);

/* The frame, PRIVATE and not mapped yet, was filled from the slot. False: the slot is not
 * kept, the caller gives it back. */
bool clean_keep(pfn_t number, swap_slot_t slot);

/* The slot a frame keeps; SWAP_SLOT_NONE. */
swap_slot_t clean_slot(const struct frame *frame);

/* Gives the frame's slot back, if it keeps one: its content or owner changes. */
void clean_forget(pfn_t number);
/* The same for a page that stays where it is, and may be written from now on. */
void clean_forget_leaf(struct leaf *leaf);

/* The page left the frame, and `old` is what its leaf entry was. Takes the slot
 * off the frame when it still has the page's content and the area answers;
 * SWAP_SLOT_NONE: write the page. */
swap_slot_t clean_take(pfn_t number, entry_t old);

/* Looks at so many guest pages for clean slots to give back; returns how many did.
 * Under core.step_lock. */
uint32_t clean_drop(uint32_t budget);

#endif
