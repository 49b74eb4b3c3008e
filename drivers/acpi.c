/* Static ACPI tables, see acpi.h. Firmware is not trusted to be right. */
#include "drivers/acpi.h"

#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"

#define TABLE_BYTES_MAX (1 * MIB)
#define ROOT_ENTRY_MAX  256

/* Defaults of a PC without tables (82093AA data sheet; MP specification 1.4,
 * default configurations: the timer arrives at input 2). */
#define DEFAULT_IOAPIC    0xfec00000u
#define DEFAULT_TIMER_GSI 2

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct rsdp) == 36, "ACPI 6.4, table 5.3");
#define RSDP_FIRST_BYTES 20 /* what revision 0 has */

struct table {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    uint8_t oem[26];
} __attribute__((packed));
static_assert(sizeof(struct table) == 36, "ACPI 6.4, table 5.4");

/* Offsets in the FADT (table 5.9). */
#define FADT_PM_TIMER        76
#define FADT_PM_TIMER_LENGTH 91
#define FADT_FLAGS           112
#define FADT_FLAG_TIMER_32   (1u << 8)
#define FADT_X_PM_TIMER      208 /* generic address, 12 bytes */
#define ADDRESS_SPACE_IO     1

/* MADT (5.2.12). */
#define MADT_LAPIC          36
#define MADT_ENTRIES        44
#define MADT_CPU            0
#define MADT_IOAPIC         1
#define MADT_OVERRIDE       2
#define MADT_LAPIC_OVERRIDE 5
#define MADT_CPU_X2APIC     9
#define CPU_ENABLED         1u

static struct acpi_info info;
static void *(*map_memory)(hpa_t address, size_t size);

static uint64_t read_le(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static bool sums_to_zero(const void *bytes, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    return sum == 0;
}

/* A whole, checked table at address, NULL when there is none. */
static const struct table *table_map(uint64_t address)
{
    const struct table *header = address ? map_memory(hpa(address), sizeof(*header)) : NULL;
    if (!header || header->length < sizeof(*header) || header->length > TABLE_BYTES_MAX)
        return NULL;
    uint32_t length = header->length;
    const struct table *table = map_memory(hpa(address), length);
    return table && table->length == length && sums_to_zero(table, length) ? table : NULL;
}

/* The root table: *entry_bytes is 8 for the XSDT, 4 for the RSDT. */
static const struct table *root_map(hpa_t address, unsigned *entry_bytes)
{
    const struct rsdp *rsdp = map_memory(address, RSDP_FIRST_BYTES);
    if (!rsdp || memcmp(rsdp->signature, "RSD PTR ", 8) != 0 ||
        !sums_to_zero(rsdp, RSDP_FIRST_BYTES))
        return NULL;
    const struct table *root;
    if (rsdp->revision >= 2) {
        rsdp = map_memory(address, sizeof(*rsdp));
        if (rsdp && sums_to_zero(rsdp, sizeof(*rsdp)) && (root = table_map(rsdp->xsdt)) != NULL &&
            memcmp(root->signature, "XSDT", 4) == 0) {
            *entry_bytes = 8;
            return root;
        }
        if (!rsdp)
            return NULL;
    }
    *entry_bytes = 4;
    root = table_map(rsdp->rsdt);
    return root && memcmp(root->signature, "RSDT", 4) == 0 ? root : NULL;
}

static void read_fadt(const struct table *table)
{
    const uint8_t *bytes = (const uint8_t *)table;
    if (table->length < FADT_FLAGS + 4)
        return;
    uint64_t port = bytes[FADT_PM_TIMER_LENGTH] == 4 ? read_le(bytes + FADT_PM_TIMER, 4) : 0;
    if (table->length >= FADT_X_PM_TIMER + 12 && bytes[FADT_X_PM_TIMER] == ADDRESS_SPACE_IO &&
        read_le(bytes + FADT_X_PM_TIMER + 4, 8))
        port = read_le(bytes + FADT_X_PM_TIMER + 4, 8);
    if (port > 0xffff - 4)
        return;
    info.pm_timer_port = (uint16_t)port;
    info.pm_timer_32 = (read_le(bytes + FADT_FLAGS, 4) & FADT_FLAG_TIMER_32) != 0;
}

/* Flags of an override (table 5.26): 1 active high, 3 active low; 1 edge, 3
 * level; 0 as the bus has it, which for ISA is edge and active high. */
static void read_override(const uint8_t *entry)
{
    unsigned line = entry[3];
    uint64_t flags = read_le(entry + 8, 2);
    if (entry[2] != 0 || line >= ACPI_ISA_LINES)
        return;
    info.isa[line] = (struct acpi_isa_line){
        .gsi = (uint32_t)read_le(entry + 4, 4),
        .active_low = (flags & 3) == 3,
        .level = (flags >> 2 & 3) == 3,
    };
}

/* Firmware may list a CPU in both forms (5.2.12.12). */
static void cpu_add(uint32_t id, uint32_t flags)
{
    if (!(flags & CPU_ENABLED) || info.cpu_count == ACPI_CPU_MAX)
        return;
    for (unsigned i = 0; i < info.cpu_count; i++)
        if (info.cpus[i] == id)
            return;
    info.cpus[info.cpu_count++] = id;
}

static void read_madt_entry(const uint8_t *entry, unsigned length)
{
    if (entry[0] == MADT_IOAPIC && length >= 12 && info.ioapic_count < ACPI_IOAPIC_MAX)
        info.ioapics[info.ioapic_count++] = (struct acpi_ioapic){
            .address = read_le(entry + 4, 4),
            .gsi_base = (uint32_t)read_le(entry + 8, 4),
        };
    else if (entry[0] == MADT_CPU && length >= 8)
        cpu_add(entry[3], (uint32_t)read_le(entry + 4, 4));
    else if (entry[0] == MADT_CPU_X2APIC && length >= 16)
        cpu_add((uint32_t)read_le(entry + 4, 4), (uint32_t)read_le(entry + 8, 4));
    else if (entry[0] == MADT_OVERRIDE && length >= 10)
        read_override(entry);
    else if (entry[0] == MADT_LAPIC_OVERRIDE && length >= 12)
        info.lapic = read_le(entry + 4, 8);
}

static void isa_default(uint32_t timer_gsi)
{
    for (unsigned i = 0; i < ACPI_ISA_LINES; i++)
        info.isa[i] = (struct acpi_isa_line){ .gsi = i };
    info.isa[0].gsi = timer_gsi;
}

static void read_madt(const struct table *table)
{
    const uint8_t *bytes = (const uint8_t *)table;
    if (table->length < MADT_ENTRIES || info.tables)
        return;
    info.tables = true;
    info.lapic = read_le(bytes + MADT_LAPIC, 4);
    info.ioapic_count = 0;
    isa_default(0);
    for (uint32_t at = MADT_ENTRIES; table->length - at >= 2;) {
        unsigned length = bytes[at + 1];
        if (length < 2 || length > table->length - at) {
            log_warn("acpi: MADT entry at offset %u has a wrong length", at);
            return;
        }
        read_madt_entry(bytes + at, length);
        at += length;
    }
}

static void read_root(const struct table *root, unsigned entry_bytes)
{
    uint32_t entries = (root->length - sizeof(*root)) / entry_bytes;
    const uint8_t *at = (const uint8_t *)(root + 1);
    for (uint32_t i = 0; i < entries && i < ROOT_ENTRY_MAX; i++, at += entry_bytes) {
        const struct table *table = table_map(read_le(at, entry_bytes));
        if (!table)
            continue;
        if (memcmp(table->signature, "FACP", 4) == 0)
            read_fadt(table);
        else if (memcmp(table->signature, "APIC", 4) == 0)
            read_madt(table);
    }
}

void acpi_init(hpa_t rsdp, void *(*map)(hpa_t address, size_t size))
{
    unsigned entry_bytes;
    memset(&info, 0, sizeof(info));
    map_memory = map;
    const struct table *root = rsdp.v ? root_map(rsdp, &entry_bytes) : NULL;
    if (root)
        read_root(root, entry_bytes);
    if (info.tables)
        return;
    info.ioapics[0] = (struct acpi_ioapic){ .address = DEFAULT_IOAPIC };
    info.ioapic_count = 1;
    isa_default(DEFAULT_TIMER_GSI);
}

const struct acpi_info *acpi_info(void)
{
    return &info;
}
