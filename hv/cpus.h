/*
 * The other CPUs: started once at boot by INIT and start-up messages (SDM volume
 * 3, 8.4.4), each with a stack, struct cpu and virtualization of its own. Where
 * ACPI lists the CPUs those are called one by one; where there are no tables all
 * others are called at once, and whoever answers within a bounded time is taken.
 */
#ifndef HV_CPUS_H
#define HV_CPUS_H

#include "hv/boot_info.h"

/* Boot CPU, after interrupts and virtualization are on. Starts what there is (as
 * far as the configuration allows). */
void cpus_start(const struct boot_info *info);

/* Lets the other CPUs out of their waiting place into loop_join(). */
void cpus_release(void);

/* Ends whatever the CPU idles for. False: it does not idle. */
struct cpu;
bool cpus_wake(struct cpu *cpu);

/* All others stop for good, wherever they are: for a panic. */
void cpus_stop_others(void);

#endif
