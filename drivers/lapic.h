/*
 * The executing CPU's local APIC (Intel SDM volume 3, chapter 11), in the mode
 * the firmware left it in: registers in memory (xAPIC) or as MSRs (x2APIC).
 */
#ifndef DRIVERS_LAPIC_H
#define DRIVERS_LAPIC_H

#include "lib/types.h"

/* Enables it, masks all local sources but NMI, and acknowledges what is still in
 * service. False: the CPU has none. address: 0, take the CPU's word. */
bool lapic_init(uint64_t address, uint8_t spurious_vector,
                void *(*map)(hpa_t address, size_t size));
/* The same for a further CPU, in the mode of the first one. */
bool lapic_join(uint8_t spurious_vector);
uint32_t lapic_id(void);
void lapic_acknowledge(void);

/* The timer, one shot, counting its input clock down undivided. vector 0: no
 * interrupt. A count of 0 stops it. */
void lapic_timer_start(uint32_t count, uint8_t vector);
uint32_t lapic_timer_left(void);

/* Messages to another CPU (11.6), by its APIC's number, or to all but this one.
 * Each waits, bounded, for the one before to be on its way. */
#define LAPIC_ALL_OTHERS UINT32_MAX
void lapic_send_interrupt(uint32_t id, uint8_t vector);
void lapic_send_nmi(uint32_t id);
void lapic_send_init(uint32_t id);
/* The CPU begins in real mode at page << 12. */
void lapic_send_startup(uint32_t id, uint8_t page);

#endif
