/*
 * What the drivers need from ACPI's static tables: interrupt controllers (MADT)
 * and the power-management timer (FADT). Signatures, checksums, lengths and
 * every entry's bounds are checked; a table that fails a check is as if absent.
 * Source: ACPI 6.4, 5.2.5 (RSDP), 5.2.7 (RSDT), 5.2.8 (XSDT), 5.2.9 (FADT),
 * 5.2.12 (MADT). No table is kept after acpi_init(), only struct acpi_info.
 */
#ifndef DRIVERS_ACPI_H
#define DRIVERS_ACPI_H

#include "lib/types.h"

#define ACPI_IOAPIC_MAX 8
#define ACPI_ISA_LINES  16
#define ACPI_CPU_MAX    64

struct acpi_ioapic {
    uint64_t address;
    uint32_t gsi_base; /* number of its first input */
};

/* Where an ISA line arrives. */
struct acpi_isa_line {
    uint32_t gsi;
    bool active_low, level;
};

struct acpi_info {
    bool tables;    /* a MADT was found; else the defaults of a PC */
    uint64_t lapic; /* 0: where the CPU says it is */
    struct acpi_ioapic ioapics[ACPI_IOAPIC_MAX];
    unsigned ioapic_count;
    struct acpi_isa_line isa[ACPI_ISA_LINES];
    uint32_t cpus[ACPI_CPU_MAX]; /* local APICs of the CPUs that may be used */
    unsigned cpu_count;          /* 0: the tables do not say */
    uint16_t pm_timer_port; /* 0: none */
    bool pm_timer_32;       /* counts in 32 bits, else in 24 */
};

/* Reads the tables; rsdp 0: there are none. Always leaves a usable answer. map:
 * makes physical memory readable, NULL when it cannot. */
void acpi_init(hpa_t rsdp, void *(*map)(hpa_t address, size_t size));

/* The answer; valid after acpi_init(). */
const struct acpi_info *acpi_info(void);

#endif
