/*
 * Ranks of the memory core's locks: outer ones first (lib/lock.h checks the
 * order, docs/locking.md explains it).
 */
#ifndef MM_LOCKS_H
#define MM_LOCKS_H

#include "lib/lock.h"

enum mm_lock_rank {
    RANK_STEP = 16, /* core.step_lock: background work, create, destroy, audit */
    RANK_RANGE,     /* mm_vm.ranges[]: leaf entries of 512 pages; by address: VM, then stripe */
    RANK_VM,        /* mm_vm.lock: upper tables, list of vCPUs */
    RANK_BALLOON,   /* mm_vm.balloon_lock: what is known of the driver */
    RANK_FILL,      /* fill_table.lock */
    RANK_PIN,       /* mm_vm.pin_lock */
    RANK_SHARE,     /* share index, sharer counts */
    RANK_COUNTED,   /* counted objects, and which frame names which */
    RANK_POOL,      /* pool.lock */
    RANK_SWAP,      /* swap.lock; the block device's own locks come below it */
    RANK_FRAME,     /* free lists */
    RANK_INFLIGHT,  /* in-flight records' use */
    RANK_WAIT,      /* lists of waiting vCPUs; the machine's run queues come below it */
};
_Static_assert(RANK_WAIT < LOCK_RANK_BELOW, "the machine's locks are inner");

#endif
