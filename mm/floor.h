/*
 * The floor of a vCPU: the pages most recently brought in for it, which nobody
 * may take, so that an instruction that needs many pages can complete however
 * little memory there is. The frame of a page that came onto a floor has the flag
 * FRAME_PROTECTED, until somebody who wants it finds that it has fallen off: most pages
 * do so long before anyone asks, and the fault that makes them fall has no work with it.
 *
 * Lock: a page comes onto a floor, and loses the flag, under its range's lock.
 * The places of a floor change hands by atomic exchanges.
 */
#ifndef MM_FLOOR_H
#define MM_FLOOR_H

#include "mm/frame.h"
#include "mm/mm.h"

/* The page is PRIVATE in this frame now, and its range is locked. vcpu NULL: nothing. */
void floor_protect(struct mm_vcpu *vcpu, gfn_t page, struct frame *frame);

/* Is the PRIVATE page in this frame on a floor? Its range is locked. */
bool floor_holds(struct mm_vm *vm, gfn_t page, struct frame *frame);

#endif
