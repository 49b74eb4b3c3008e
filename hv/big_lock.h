/*
 * The one lock of the hypervisor, the outermost in the lock order
 * (docs/locking.md). A CPU holds it all the time but for
 *   - execution of a guest (guest_enter() to guest_leave(), hv/guest.h),
 *   - idling,
 * so guests run in parallel and their exits one after the other. What it guards
 * is everything in hv/ that is not a CPU's own: VMs, vCPUs, run queues, timers,
 * devices, log and telemetry, disks.
 *
 * Interrupts are off whenever it is waited for or held. A CPU that waits for it
 * is in root mode: nobody waits for that CPU.
 */
#ifndef HV_BIG_LOCK_H
#define HV_BIG_LOCK_H

#include "lib/types.h"

/* Below all of mm/locks.h. */
#define BIG_LOCK_RANK 8u

void big_lock_take(void);
void big_lock_release(void);
bool big_lock_is_mine(void);

#endif
