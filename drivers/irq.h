/*
 * Interrupts of the host: local APIC (Intel SDM volume 3, chapter 11), IOAPIC
 * (82093AA data sheet), MADT (ACPI 6.4, 5.2.12). The 8259s are masked.
 *
 * All devices interrupt the boot CPU, which alone calls irq_take(); other CPUs
 * have their timer and IRQ_VECTOR_WAKE, and the hypervisor keeps those apart.
 * Handlers only record a vector. The main loop runs with interrupts off and
 * takes what was recorded from irq_take(); VM exits for external interrupts call
 * irq_record() with the vector the exit reported.
 */
#ifndef DRIVERS_IRQ_H
#define DRIVERS_IRQ_H

#include "lib/types.h"

#define IRQ_VECTOR_FIRST    0x30 /* device vectors: FIRST + line number drawn */
#define IRQ_VECTOR_TIMER    0xe0
#define IRQ_VECTOR_WAKE     0xe1 /* from another CPU: look again */
#define IRQ_VECTOR_SPURIOUS 0xff

/* acpi: physical address of the RSDP. map: makes device registers reachable
 * (uncached), given by the hypervisor. False with a logged reason. */
bool irq_init(hpa_t rsdp, void *(*map)(hpa_t address, size_t size));

/* Routes an ISA interrupt line (0-15, overrides of the MADT applied) or a PCI
 * line (same numbering, level, low) to a vector of its own; returns the vector,
 * or 0 when there is none left. */
uint8_t irq_route_isa(unsigned line);
uint8_t irq_route_pci(unsigned line);

/* A vector for a device that interrupts by message: what it has to write, and
 * where (SDM volume 3, 11.11), to reach this CPU. 0: none left. */
uint8_t irq_route_message(uint64_t *address, uint32_t *data);

/* Masks the line of that vector for good (a message is masked at its device). */
void irq_mask(uint8_t vector);

void irq_record(uint8_t vector); /* called from the interrupt stub: acknowledges, records */
bool irq_take(uint8_t *vector);  /* the next recorded vector, false: none */

/* Local APIC timer, one shot: an IRQ_VECTOR_TIMER interrupt after ns (clamped to
 * what the counter holds). 0 stops it. */
void irq_timer_arm(uint64_t ns);

#endif
