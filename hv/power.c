/*
 * Power-off. Sources: Bochs user manual (port 0x8900), QEMU isa-debug-exit
 * (hw/misc/debugexit: exit status is value << 1 | 1), ACPI 6.4: 5.2.5.3 (RSDP),
 * 5.2.8 (XSDT), 5.2.9 (FADT), 4.8.3.2.1 (PM1 control), 7.4.2 (\_Sx).
 *
 * The DSDT is not interpreted: \_S5 is found by its name and must be followed by
 * a package of small integers, as firmware writes it.
 */
#include "hv/power.h"
#include "hv/boot_info.h"
#include "hv/x86.h"
#include "lib/string.h"

#define BOCHS_PORT     0x8900
#define QEMU_EXIT_PORT 0x501
#define PM1_SCI_ENABLE 0x0001u
#define PM1_SLEEP      0x2000u
#define TABLE_MAX      (1u << 20) /* longer ACPI tables are not believed */
#define ENABLE_TRIES   100000u

/* ACPI 6.4, table 5.9; the fields up to PM1b_CNT_BLK. */
struct fadt {
    uint8_t header[36];
    uint32_t firmware_control, dsdt;
    uint8_t reserved, profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control;
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, pm1a_control) == 64, "ACPI 6.4, table 5.9");

static struct {
    uint16_t pm1a, pm1b, smi_command;
    uint8_t acpi_enable, type_a, type_b;
} acpi;

static const uint8_t *direct(uint64_t address)
{
    return (const uint8_t *)(HV_DIRECT_MAP_BASE + address);
}

static uint32_t read32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t read64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* Length of an ACPI table, 0 when it is not to be believed. */
static uint32_t table_length(const uint8_t *table)
{
    uint32_t length = read32(table + 4);
    return length >= 36 && length <= TABLE_MAX ? length : 0;
}

static const uint8_t *fadt_find(hpa_t rsdp)
{
    const uint8_t *root = direct(rsdp.v);
    bool wide = root[15] >= 2 && read64(root + 24) != 0;
    const uint8_t *table = direct(wide ? read64(root + 24) : read32(root + 16));
    unsigned step = wide ? 8 : 4;
    for (uint32_t at = 36; at + step <= table_length(table); at += step) {
        const uint8_t *entry = direct(wide ? read64(table + at) : read32(table + at));
        if (memcmp(entry, "FACP", 4) == 0 && table_length(entry) >= sizeof(struct fadt))
            return entry;
    }
    return NULL;
}

/* A small integer of AML (20.2.3): ZeroOp, OneOp or BytePrefix. */
static const uint8_t *aml_byte(const uint8_t *at, uint8_t *value)
{
    if (*at == 0x0a) {
        *value = at[1];
        return at + 2;
    }
    *value = *at <= 1 ? *at : 0;
    return at + 1;
}

static bool sleep_type_find(const uint8_t *dsdt)
{
    uint32_t length = table_length(dsdt);
    for (uint32_t i = 36; i + 16 <= length; i++) {
        /* NameOp, "_S5_" (maybe after a root prefix), PackageOp */
        if (memcmp(dsdt + i, "_S5_\x12", 5) != 0)
            continue;
        const uint8_t *at = dsdt + i + 5;
        at += (*at >> 6) + 1; /* PkgLength, 20.2.4 */
        at++;                 /* NumElements */
        at = aml_byte(at, &acpi.type_a);
        aml_byte(at, &acpi.type_b);
        return true;
    }
    return false;
}

void power_init(hpa_t rsdp)
{
    const struct fadt *fadt = rsdp.v ? (const void *)fadt_find(rsdp) : NULL;
    if (!fadt || fadt->pm1a_control == 0 || fadt->pm1a_control > 0xffff ||
        fadt->pm1b_control > 0xffff || !sleep_type_find(direct(fadt->dsdt)))
        return;
    acpi.pm1a = (uint16_t)fadt->pm1a_control;
    acpi.pm1b = (uint16_t)fadt->pm1b_control;
    acpi.smi_command = (uint16_t)fadt->smi_command;
    acpi.acpi_enable = fadt->acpi_enable;
}

static void acpi_off(void)
{
    if (!acpi.pm1a)
        return;
    if (!(x86_in16(acpi.pm1a) & PM1_SCI_ENABLE) && acpi.smi_command && acpi.acpi_enable) {
        x86_out8(acpi.smi_command, acpi.acpi_enable);
        for (unsigned i = 0; i < ENABLE_TRIES && !(x86_in16(acpi.pm1a) & PM1_SCI_ENABLE); i++)
            __builtin_ia32_pause();
    }
    x86_out16(acpi.pm1a, (uint16_t)(acpi.type_a << 10 | PM1_SLEEP));
    if (acpi.pm1b)
        x86_out16(acpi.pm1b, (uint16_t)(acpi.type_b << 10 | PM1_SLEEP));
}

_Noreturn void power_off(unsigned status)
{
    for (const char *c = "Shutdown"; *c; c++)
        x86_out8(BOCHS_PORT, (uint8_t)*c);
    x86_out8(QEMU_EXIT_PORT, (uint8_t)status);
    acpi_off();
    for (;;)
        __asm__ volatile("cli; hlt");
}
