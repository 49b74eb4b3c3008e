/*
 * The guest's local APIC: end of interrupt and the periodic tick.
 */
#ifndef GUEST_LAPIC_H
#define GUEST_LAPIC_H

#include <stdint.h>

#define TICKS_PER_SECOND 100

/* Enables the APIC and starts the tick (VECTOR_TIMER); interrupts stay off. */
void lapic_init(void);
void lapic_end_of_interrupt(void);
uint32_t lapic_id(void);
/* Ticks since lapic_init(). A tick is 10 ms as far as the guest can know the
 * timer's frequency; nothing but waiting depends on it. */
uint64_t lapic_ticks(void);

#endif
