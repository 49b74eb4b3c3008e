/*
 * Verbs by which a page's content is given up: to the balloon, and at the end
 * of a VM. They only ever free, and allocate nothing.
 *
 *   giveup_balloon  ZERO, FILL, PRIVATE, SHARED, POOL, SWAP, COUNTED => BALLOON
 *   giveup_end      everything but BUSY => NONE; the VM does not run any more
 */
#ifndef MM_GIVEUP_H
#define MM_GIVEUP_H

#include "mm/home.h"

/* The leaf is locked, not pinned, not BUSY and not BALLOON. Returns the frames
 * this freed: a shared page's only with its last sharer. */
uint32_t giveup_balloon(struct leaf *leaf);

void giveup_end(struct leaf *leaf);

#endif
