/*
 * Source: Intel 82093AA I/O APIC data sheet, section 3 (registers).
 */
#include "guest-driver/ioapic.h"

#include "abi/machine.h"
#include "guest-driver/cpu.h"
#include "guest-driver/lapic.h"

#define IOAPIC_SELECT   0x00
#define IOAPIC_WINDOW   0x10
#define IOAPIC_REDIRECT 0x10 /* two registers a line */

static void ioapic_write(uint32_t reg, uint32_t value)
{
    mmio_write32(GUEST_IOAPIC_BASE + IOAPIC_SELECT, reg);
    mmio_write32(GUEST_IOAPIC_BASE + IOAPIC_WINDOW, value);
}

void ioapic_route(unsigned gsi, unsigned vector)
{
    ioapic_write(IOAPIC_REDIRECT + 2 * gsi + 1, lapic_id() << 24);
    ioapic_write(IOAPIC_REDIRECT + 2 * gsi, vector); /* fixed, physical, edge, unmasked */
}
