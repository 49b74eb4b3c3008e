/*
 * Proportional share of CPU time by stride scheduling (Waldspurger and Weihl,
 * 1995): each vCPU has a pass that advances with the time it ran, divided by its
 * shares; the runnable vCPU with the lowest pass runs next, for a slice. A vCPU
 * that slept starts at the pass of whoever runs, so sleeping saves up nothing.
 *
 * Every CPU has a queue. A CPU with nothing to run takes a vCPU from another
 * queue, and every few slices one from a queue with more runnable ones than its
 * own, so that with 3 vCPUs on 2 CPUs all get their turn of sharing one. Only a
 * vCPU whose state is in memory changes CPU: vcpu->on says so.
 *
 * Locks: the big lock. "This CPU" is the one that calls.
 */
#ifndef HV_SCHED_H
#define HV_SCHED_H

#include "hv/vcpu.h"

void sched_init(uint32_t slice_ms);
/* Before the first pick of a CPU other than the boot CPU. */
void sched_join(void);
/* To the CPU with the fewest vCPUs. */
void sched_add(struct vcpu *vcpu, uint32_t cpu_shares);
void sched_remove(struct vcpu *vcpu);

/* Who runs now on this CPU: the current one until its slice is over, then the
 * lowest pass. NULL: nobody can run. */
struct vcpu *sched_pick(uint64_t now);

/* Charges ns of running, or of work done on its behalf. */
void sched_charge(struct vcpu *vcpu, uint64_t ns);

bool sched_is_runnable(struct vcpu *vcpu);

/* There is something new for the vCPU (its wait is over, an interrupt): a CPU
 * that idles is woken for it, or the one that executes it made to look. */
void sched_wake(struct vcpu *vcpu);

#endif
