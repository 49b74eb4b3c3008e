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
 * vcpu->on is the CPU that has the vCPU: only that one runs it, touches its state or
 * works on its behalf. It is taken and looked at under the lock of its queue, and given
 * back without. "This CPU" is the one that calls.
 */
#ifndef HV_SCHED_H
#define HV_SCHED_H

#include "hv/vcpu.h"

void sched_init(uint32_t slice_ms);
/* Before the first pick of a CPU other than the boot CPU. */
void sched_join(void);
/* To the CPU with the fewest vCPUs. */
void sched_add(struct vcpu *vcpu, uint32_t cpu_shares);
/* This CPU has it, or nobody. */
void sched_remove(struct vcpu *vcpu);

/* Who runs now on this CPU: the current one until its slice is over, then the
 * lowest pass. This CPU has it then. NULL: nobody can run. */
struct vcpu *sched_pick(uint64_t now);

/* Charges ns of running, or of work done on its behalf. */
void sched_charge(struct vcpu *vcpu, uint64_t ns);

/* Takes the vCPU for work on its behalf, without running it. */
enum sched_claim {
    SCHED_TAKEN,   /* no: another CPU has it, or its VM has ended */
    SCHED_OURS,    /* this CPU had it already */
    SCHED_CLAIMED, /* yes, until sched_give_back() */
};
enum sched_claim sched_claim(struct vcpu *vcpu);
/* It is in memory now, free to be taken. */
void sched_give_back(struct vcpu *vcpu);

/* Another CPU has it. For a VM that has ended: "no" stays true. */
bool sched_is_elsewhere(struct vcpu *vcpu);

/* There is something new for the vCPU (its wait is over, an interrupt, a message):
 * whoever has it looks before the next entry, or a CPU that idles is woken for it.
 * Any CPU, under any lock. */
void sched_wake(struct vcpu *vcpu);

#endif
