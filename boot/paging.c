/*
 * Page tables for the hand-over (Intel SDM volume 3, 4.5, 4-level paging):
 *
 *   0                   physical memory, one to one: the loader's own code
 *   HV_DIRECT_MAP_BASE  the same tables once more
 *   HV_VIRTUAL_BASE     the hypervisor's image, in 4 KiB pages
 *
 * Memory types come from the MTRRs as the firmware left them; 2 MiB pages keep
 * devices and memory apart. All is writable and executable here: the hypervisor
 * loads tables with proper protection as one of its first steps.
 */
#include "boot/efi.h"

#define ENTRIES     512u
#define PRESENT     (1ull << 0)
#define WRITABLE    (1ull << 1)
#define LARGE       (1ull << 7)
#define LARGE_BYTES (2 * MIB)
#define CR4_LA57    (1ull << 12)

static uint64_t *table_create(void)
{
    uint64_t *table = (void *)pages_allocate(PAGE_SIZE, true);
    if (!table)
        loader_fail("loader: no memory for page tables");
    return table;
}

static unsigned index_at(uint64_t address, unsigned shift)
{
    return (unsigned)(address >> shift) & (ENTRIES - 1);
}

static uint64_t *table_below(uint64_t *table, unsigned index)
{
    if (!table[index])
        table[index] = (uint64_t)table_create() | PRESENT | WRITABLE;
    return (uint64_t *)(table[index] & ~(uint64_t)PAGE_MASK);
}

static uint64_t *build_direct(uint64_t top)
{
    uint64_t *pointers = table_create();
    for (uint64_t address = 0; address < top; address += LARGE_BYTES) {
        uint64_t *directory = table_below(pointers, index_at(address, 30));
        directory[index_at(address, 21)] = address | PRESENT | WRITABLE | LARGE;
    }
    return pointers;
}

static void map_hypervisor(uint64_t *root, const struct boot_info *info)
{
    for (uint64_t at = 0; at < info->hypervisor_bytes; at += PAGE_SIZE) {
        uint64_t address = HV_VIRTUAL_BASE + at;
        uint64_t *pointers = table_below(root, index_at(address, 39));
        uint64_t *directory = table_below(pointers, index_at(address, 30));
        uint64_t *pages = table_below(directory, index_at(address, 21));
        pages[index_at(address, 12)] = (info->hypervisor_start + at) | PRESENT | WRITABLE;
    }
}

uint64_t paging_build(const struct boot_info *info, uint64_t top)
{
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    if (cr4 & CR4_LA57)
        loader_fail("loader: the firmware runs with 5-level paging, which is not supported");
    uint64_t *root = table_create();
    uint64_t direct = (uint64_t)build_direct(top) | PRESENT | WRITABLE;
    root[0] = direct;
    root[index_at(HV_DIRECT_MAP_BASE, 39)] = direct;
    map_hypervisor(root, info);
    return (uint64_t)root;
}
