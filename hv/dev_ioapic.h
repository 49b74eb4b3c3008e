/*
 * A guest's I/O APIC with 24 pins: Intel 82093AA data sheet (order number
 * 290566). Edges that arrive while a pin is masked are kept and delivered when
 * it is unmasked.
 */
#ifndef HV_DEV_IOAPIC_H
#define HV_DEV_IOAPIC_H

#include "lib/types.h"

struct vm;

#define IOAPIC_PIN_COUNT 24u

struct ioapic {
    uint32_t select, id;
    uint64_t redirection[IOAPIC_PIN_COUNT];
    uint32_t asserted; /* bit per pin: the line is active */
    uint32_t edges;    /* bit per pin: an edge not yet delivered */
};

void dev_ioapic_init(struct ioapic *ioapic);
uint32_t dev_ioapic_read(struct vm *vm, unsigned offset);
void dev_ioapic_write(struct vm *vm, unsigned offset, uint32_t value);
/* The line of a pin becomes active (each call is an edge too), or inactive. */
void dev_ioapic_raise(struct vm *vm, unsigned pin);
void dev_ioapic_lower(struct vm *vm, unsigned pin);
/* End of interrupt broadcast by the local APIC. */
void dev_ioapic_eoi(struct vm *vm, uint8_t vector);

#endif
