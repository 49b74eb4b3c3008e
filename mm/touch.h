/*
 * Verbs by which a touched page gets a frame. Each takes a locked leaf, checks,
 * reserves what it needs (a frame, an in-flight record) and commits.
 *
 *   touch_fresh    ZERO, FILL, BALLOON => PRIVATE; a frame filled with the content
 *   touch_write    SHARED => PRIVATE; a copy, or the frame itself for its last sharer
 *   touch_pool     POOL => PRIVATE; decompressed, the object is given back
 *   touch_swap     SWAP => BUSY_IN => PRIVATE; read in, the slot is given back
 *   touch_counted  COUNTED => SHARED, PRIVATE, or BUSY_IN => PRIVATE; one reference less
 *
 * DONE: the leaf has a new present entry (look again). WAIT, STOPPED: as
 * mm_fault(); vcpu NULL: WAIT without being woken.
 */
#ifndef MM_TOUCH_H
#define MM_TOUCH_H

#include "mm/home.h"

enum mm_answer touch_fresh(struct leaf *leaf, struct mm_vcpu *vcpu);
enum mm_answer touch_write(struct leaf *leaf, struct mm_vcpu *vcpu);
enum mm_answer touch_pool(struct leaf *leaf, struct mm_vcpu *vcpu);
enum mm_answer touch_swap(struct leaf *leaf, struct mm_vcpu *vcpu);
enum mm_answer touch_counted(struct leaf *leaf, struct mm_vcpu *vcpu);

/* The object of a VM's own page is not needed any more. */
void touch_pool_free(struct mm_vm *vm, gfn_t page, uint64_t location);

#endif
