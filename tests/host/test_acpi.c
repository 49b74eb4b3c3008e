/*
 * drivers/acpi.c on tables made here: what it finds, and that damage anywhere
 * leaves the defaults of a PC or a part of the truth, and no read outside.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/acpi.h"
#include "lib/rng.h"
#include "tests/host/support.h"

/* Physical memory of the test: MEMORY_BYTES from MEMORY on, and nothing else. */
#define MEMORY       0x10000u
#define MEMORY_BYTES 4096u
#define RSDP         0u
#define XSDT         64u
#define RSDT         128u
#define MADT         256u
#define FADT         512u

static uint8_t *memory;

static void *map(hpa_t address, size_t size)
{
    if (address.v < MEMORY || size > MEMORY_BYTES || address.v - MEMORY > MEMORY_BYTES - size)
        return NULL;
    return memory + (address.v - MEMORY);
}

static void put(unsigned at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        memory[at + i] = (uint8_t)(value >> (8 * i));
}

static uint32_t length_of(unsigned table)
{
    uint32_t length;
    memcpy(&length, memory + table + 4, 4);
    return length;
}

static void seal(unsigned at, unsigned checksum, uint32_t length)
{
    uint8_t sum = 0;
    if (length > MEMORY_BYTES - at)
        return;
    memory[at + checksum] = 0;
    for (uint32_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + memory[at + i]);
    memory[at + checksum] = (uint8_t)-sum;
}

static void seal_table(unsigned at)
{
    seal(at, 9, length_of(at));
}

static void seal_rsdp(void)
{
    seal(RSDP, 8, 20);
    seal(RSDP, 32, 36);
}

static void table(unsigned at, const char *signature, uint32_t length)
{
    memcpy(memory + at, signature, 4);
    put(at + 4, length, 4);
}

static void make(void)
{
    memset(memory, 0, MEMORY_BYTES);
    memcpy(memory + RSDP, "RSD PTR ", 8);
    memory[RSDP + 15] = 2;
    put(RSDP + 16, MEMORY + RSDT, 4);
    put(RSDP + 20, 36, 4);
    put(RSDP + 24, MEMORY + XSDT, 8);
    seal_rsdp();
    table(XSDT, "XSDT", 36 + 16);
    put(XSDT + 36, MEMORY + FADT, 8);
    put(XSDT + 44, MEMORY + MADT, 8);
    seal_table(XSDT);
    table(RSDT, "RSDT", 36 + 4);
    put(RSDT + 36, MEMORY + MADT, 4);
    seal_table(RSDT);
    static const uint8_t entries[] = {
        0, 8,  0, 0,  1, 0,    0,    0,                   /* a processor */
        1, 12, 0, 0,  0, 0,    0xc0, 0xfe, 0,    0, 0, 0, /* IOAPIC, inputs from 0 */
        1, 12, 1, 0,  0, 0x10, 0xc0, 0xfe, 24,   0, 0, 0, /* IOAPIC, inputs from 24 */
        2, 10, 0, 0,  2, 0,    0,    0,    0,    0,       /* line 0 at input 2 */
        2, 10, 0, 9,  9, 0,    0,    0,    0x0f, 0,       /* line 9: level, low */
        2, 10, 0, 77, 1, 0,    0,    0,    0,    0,       /* no such line */
        5, 12, 0, 0,  0, 0,    0xe1, 0xfe, 0,    0, 0, 0, /* local APIC elsewhere */
    };
    table(MADT, "APIC", 44 + sizeof entries);
    put(MADT + 36, 0xfee00000, 4);
    memcpy(memory + MADT + 44, entries, sizeof entries);
    seal_table(MADT);
    table(FADT, "FACP", 244);
    put(FADT + 76, 0x608, 4);
    memory[FADT + 91] = 4;
    put(FADT + 112, 1u << 8, 4);
    seal_table(FADT);
}

static const struct acpi_info *look(void)
{
    acpi_init(hpa(MEMORY + RSDP), map);
    const struct acpi_info *info = acpi_info();
    assert_in_range(info->ioapic_count, 0, ACPI_IOAPIC_MAX);
    return info;
}

static void assert_defaults(const struct acpi_info *info)
{
    assert_false(info->tables);
    assert_int_equal(info->ioapic_count, 1);
    assert_int_equal(info->ioapics[0].address, 0xfec00000u);
    assert_int_equal(info->isa[0].gsi, 2);
    assert_int_equal(info->isa[14].gsi, 14);
}

static void finds(void **state)
{
    (void)state;
    make();
    const struct acpi_info *info = look();
    assert_true(info->tables);
    assert_int_equal(info->lapic, 0xfee10000u);
    assert_int_equal(info->ioapic_count, 2);
    assert_int_equal(info->ioapics[1].address, 0xfec01000u);
    assert_int_equal(info->ioapics[1].gsi_base, 24);
    assert_int_equal(info->isa[0].gsi, 2);
    assert_true(info->isa[9].level && info->isa[9].active_low);
    assert_false(info->isa[14].level || info->isa[14].active_low);
    assert_int_equal(info->pm_timer_port, 0x608);
    assert_true(info->pm_timer_32);
}

static void extended_timer(void **state)
{
    (void)state;
    make();
    memory[FADT + 208] = 1; /* in I/O space */
    put(FADT + 212, 0xb008, 8);
    seal_table(FADT);
    assert_int_equal(look()->pm_timer_port, 0xb008);
    put(FADT + 212, 0x1b008, 8); /* no port */
    seal_table(FADT);
    assert_int_equal(look()->pm_timer_port, 0);
}

static void falls_back_to_rsdt(void **state)
{
    (void)state;
    make();
    memory[XSDT + 9] ^= 1;
    const struct acpi_info *info = look();
    assert_true(info->tables);
    assert_int_equal(info->pm_timer_port, 0); /* the RSDT made here has no FADT */
    make();
    memory[RSDP + 15] = 0;
    seal_rsdp();
    assert_true(look()->tables);
}

static void damaged(void **state)
{
    (void)state;
    acpi_init(hpa(0), map);
    assert_defaults(acpi_info());
    acpi_init(hpa(MEMORY + MEMORY_BYTES - 10), map);
    assert_defaults(acpi_info());
#define DEFAULTS_AFTER(change)                                                                     \
    do {                                                                                           \
        make();                                                                                    \
        change;                                                                                    \
        assert_defaults(look());                                                                   \
    } while (0)
    DEFAULTS_AFTER(memory[RSDP] = 'X'; seal_rsdp());
    DEFAULTS_AFTER(memory[RSDP + 9] ^= 1);
    DEFAULTS_AFTER(memory[MADT + 40] ^= 1);
    DEFAULTS_AFTER(put(MADT + 4, 43, 4); seal_table(MADT));
    DEFAULTS_AFTER(put(MADT + 4, 8, 4));
    DEFAULTS_AFTER(put(MADT + 4, MEMORY_BYTES, 4));
    DEFAULTS_AFTER(put(MADT + 4, UINT32_MAX, 4));
    make();
    memory[MADT + 45] = 0; /* an entry of length 0 would never end */
    seal_table(MADT);
    assert_int_equal(look()->ioapic_count, 0);
    make();
    memory[MADT + 45] = 255;
    seal_table(MADT);
    assert_int_equal(look()->ioapic_count, 0);
}

static void mutations(void **state)
{
    (void)state;
    uint64_t rounds = support_number("BALLAST_STEPS", 50000), found = 0;
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    for (uint64_t i = 0; i < rounds; i++) {
        make();
        for (uint64_t n = 1 + rng_below(&rng, 4); n; n--)
            memory[rng_below(&rng, 760)] = (uint8_t)rng_next(&rng);
        seal_rsdp();
        static const unsigned tables[] = { XSDT, RSDT, MADT, FADT };
        for (unsigned t = 0; t < 4; t++)
            if (rng_below(&rng, 8))
                seal_table(tables[t]);
        found += look()->tables;
    }
    printf("figure: %llu damaged sets of ACPI tables, %llu with a MADT left\n",
           (unsigned long long)rounds, (unsigned long long)found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(extended_timer),
        cmocka_unit_test(falls_back_to_rsdt),
        cmocka_unit_test(damaged),
        cmocka_unit_test(mutations),
    };
    memory = malloc(MEMORY_BYTES);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(memory);
    return failed;
}
