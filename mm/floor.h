/*
 * The floor of a vCPU: the pages most recently brought in for it, which nobody
 * may take, so that an instruction that needs many pages can complete however
 * little memory there is. A frame on a floor has the flag FRAME_PROTECTED.
 *
 * Lock: a page comes onto a floor, and loses the flag, under its range's lock.
 * The places of a floor change hands by atomic exchanges, so that each page
 * that falls off is seen once, whichever CPU brings the next one in.
 */
#ifndef MM_FLOOR_H
#define MM_FLOOR_H

#include "mm/mm.h"

/* The page is PRIVATE in this frame now. Flags the frame; returns the page that
 * fell off and is to be handed to floor_release() once no leaf lock is held;
 * UINT32_MAX: none. */
uint32_t floor_protect(struct mm_vcpu *vcpu, gfn_t page, struct frame *frame);
void floor_release(struct mm_vm *vm, uint32_t page);

struct leaf;
/* The same while that leaf is locked, when the page is one of its table, as is mostly
 * the case: returns UINT32_MAX then, and else the page. */
uint32_t floor_release_beside(const struct leaf *leaf, uint32_t page);

#endif
