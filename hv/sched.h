/*
 * Proportional share of CPU time by stride scheduling (Waldspurger and Weihl,
 * 1995): each vCPU has a pass that advances with the time it ran, divided by its
 * shares; the runnable vCPU with the lowest pass runs next, for a slice. A vCPU
 * that slept starts at the pass of whoever runs, so sleeping saves up nothing.
 *
 * Locks: none; one run list a CPU.
 */
#ifndef HV_SCHED_H
#define HV_SCHED_H

#include "hv/vcpu.h"

void sched_init(uint32_t slice_ms);
void sched_add(struct vcpu *vcpu, uint32_t cpu_shares);
void sched_remove(struct vcpu *vcpu);

/* Not halted (or an interrupt is there for it), not waiting, its VM runs. */
bool sched_is_runnable(struct vcpu *vcpu);
/* Who runs now: the one of last time while its slice lasts. NULL: nobody can. */
struct vcpu *sched_pick(uint64_t now);
/* vcpu used ns of CPU time, for itself or for its devices. */
void sched_charge(struct vcpu *vcpu, uint64_t ns);

#endif
