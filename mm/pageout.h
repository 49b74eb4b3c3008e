/*
 * Page-outs. Each is check and reserve (pageout_add), a flush for the whole
 * batch, and a commit per page (pageout_run), since only after the flush the
 * content is final. Writes to swap commit later, when the I/O is done.
 *
 *   private     PRIVATE => BUSY_OUT => ZERO, FILL, POOL, SWAP; failed: PRIVATE
 *   shared      SHARED => COUNTED, or => BUSY_OUT => COUNTED; failed: SHARED
 *   write back  POOL => BUSY_OUT => SWAP, or a counted object from pool to swap
 */
#ifndef MM_PAGEOUT_H
#define MM_PAGEOUT_H

#include "mm/home.h"
#include "mm/inflight.h"

#define PAGEOUT_BATCH 16u

struct pageout {
    struct mm_vm *vm;
    unsigned count;
    bool past_pool; /* straight to swap: the VM pays for its pool objects as well */
    struct inflight *records[PAGEOUT_BATCH];
    /* What pageout_run() did: */
    uint32_t freed;   /* frames free now */
    uint32_t started; /* frames that will be free when I/O is done */
    bool pool_full;
};

/* True when this private page may leave its frame: not pinned, not protected, and
 * some tier may take it. */
bool pageout_may(const struct leaf *leaf);
/* The locked leaf joins the batch, which is not full; false: no record. */
bool pageout_add(struct pageout *batch, struct leaf *leaf);
/* No leaf is locked. */
void pageout_run(struct pageout *batch);

/* A locked leaf with home SHARED leaves its merged frame. Adds to freed and
 * started; false: not now. */
bool pageout_shared(struct leaf *leaf, struct pageout *batch);

/* Starts to move up to `count` of the pool's oldest objects to swap; returns
 * how many. */
uint32_t pageout_write_back(uint32_t count);

#endif
