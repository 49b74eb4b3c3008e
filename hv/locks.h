/*
 * Ranks of the hypervisor's own locks: those that are held while the memory core
 * is called lie below its ranks (mm/locks.h), those that its calls down to the
 * machine may take lie above. docs/locking.md has the whole order.
 */
#ifndef HV_LOCKS_H
#define HV_LOCKS_H

#include "lib/lock.h"
#include "mm/locks.h"

enum hv_outer_rank {
    RANK_REAP = 2,    /* vm.c: taking down VMs; others never wait for it */
    RANK_DEVICES = 8, /* vm.lock: devices of a VM, and what its guest reported */
};
_Static_assert((int)RANK_DEVICES < (int)RANK_STEP, "the memory core is called with it");

enum hv_inner_rank {
    /* LOCK_RANK_BELOW: a disk's queue (drivers/disk_queue.c) */
    RANK_RUN_QUEUE = LOCK_RANK_BELOW + 2, /* sched.c: a CPU's queue; two by address */
    RANK_END = LOCK_RANK_BELOW + 4,       /* vm.c: who ends a VM, and why */
    RANK_TIMERS = LOCK_RANK_BELOW + 6,    /* timer.c: a CPU's deadlines */
    RANK_ENTROPY = LOCK_RANK_BELOW + 8,   /* machine.c: the random generator */
    RANK_RECORD = LOCK_RANK_BELOW + 16,   /* telemetry: one record at a time */
    RANK_LOG = LOCK_RANK_BELOW + 24,      /* log.c: one line at a time */
    /* SERIAL_LOCK_RANK: a port's ring (drivers/serial.c) */
};

#endif
