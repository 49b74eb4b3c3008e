/*
 * libFuzzer: ACPI tables with any change, their sums made right again: no read
 * outside of memory that can be mapped, and counts within bounds (P16).
 */
#include "tests/fuzz/fuzz.h"

#define main tests_of_acpi
#include "tests/host/test_acpi.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_at = data;
    fuzz_left = size;
    if (!memory)
        memory = malloc(MEMORY_BYTES);
    make();
    unsigned seals = (unsigned)fuzz_bytes(1);
    while (fuzz_left >= 2) {
        unsigned at = (unsigned)fuzz_below(760);
        memory[at] = (uint8_t)fuzz_bytes(1);
    }
    static const unsigned tables[] = { XSDT, RSDT, MADT, FADT };
    for (unsigned i = 0; i < 4; i++)
        if (!(seals & 1u << i))
            seal_table(tables[i]);
    if (!(seals & 16))
        seal_rsdp();
    const struct acpi_info *info = look();
    fuzz_require(info->ioapic_count <= ACPI_IOAPIC_MAX && info->cpu_count <= ACPI_CPU_MAX);
    return 0;
}
