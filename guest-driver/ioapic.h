/*
 * The guest's IOAPIC.
 */
#ifndef GUEST_IOAPIC_H
#define GUEST_IOAPIC_H

/* Delivers this line (0 to 23), edge triggered and active high, as `vector` to
 * the executing CPU. */
void ioapic_route(unsigned gsi, unsigned vector);

#endif
