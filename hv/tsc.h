/*
 * Are the time stamp counters of all CPUs in step? The time of everything, deadlines
 * and guests' clocks alike, is this counter, on whatever CPU it is read.
 *
 * The boot CPU asks a new one for its counter again and again, and reads its own before
 * and after: the difference lies between two bounds, which grow narrower with every
 * answer. Where 0 does not lie between them, the new CPU's counter is set, and measured
 * again; a CPU whose counter cannot be set is not used.
 */
#ifndef HV_TSC_H
#define HV_TSC_H

#include "lib/types.h"

struct cpu;

/* On the new CPU: answers until the boot CPU has enough. False: out of step. */
bool tsc_follow(void);

/* On the boot CPU, while the new one is in tsc_follow(). */
void tsc_lead(const struct cpu *cpu);

#endif
