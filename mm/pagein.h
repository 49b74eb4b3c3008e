/*
 * Page-in from swap: SWAP => BUSY_IN => PRIVATE, COUNTED => BUSY_IN => PRIVATE.
 * The frame was reserved before; a read that fails puts the page back where it
 * was and stops its VM.
 */
#ifndef MM_PAGEIN_H
#define MM_PAGEIN_H

#include "mm/home.h"
#include "mm/inflight.h"

/* Starts reading `slot` into `frame` for a locked leaf of home SWAP or COUNTED.
 * Gives the frame back unless it answers WAIT with the read under way. */
enum mm_answer pagein_start(struct leaf *leaf, struct mm_vcpu *vcpu, enum inflight_kind kind,
                            swap_slot_t slot, pfn_t frame);

/* Inside the done() of a read that is OK: its content into the frame; false when the
 * block is damaged. */
bool pagein_unpack(const struct swap_io *io, pfn_t frame);

#endif
