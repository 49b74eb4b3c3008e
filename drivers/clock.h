/*
 * Time: the TSC, calibrated against the ACPI PM timer or PIT channel 2 (never
 * taken from CPUID: emulators count instructions while CPUID claims a fixed
 * frequency).
 */
#ifndef DRIVERS_CLOCK_H
#define DRIVERS_CLOCK_H

#include "lib/types.h"

/* Calibrates the TSC (and the local APIC timer, for irq_timer_arm). */
void clock_init(void);
uint64_t clock_tsc_hz(void);
uint64_t clock_lapic_hz(void);
uint64_t clock_now_ns(void); /* since clock_init() */

#endif
