/*
 * Four-level tables (SDM volume 3, 4.5). Frames of tables come from bootmem and
 * are reached through the direct map, the loader's first, our own later: both
 * lie at the same place.
 */
#include "hv/paging.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/x86.h"
#include "lib/assert.h"
#include "lib/string.h"

#define CPUID_EXT_EDX_1GIB (1u << 26)
#define MAPPED_END         (512 * GIB) /* direct map: one PML4 entry */
#define TABLE_ENTRIES      512u

enum level { LEVEL_4K = 0, LEVEL_2M = 1, LEVEL_1G = 2, LEVEL_ROOT = 3 };

extern uint8_t hv_image_start[], hv_text_end[], hv_rodata_start[], hv_data_start[], hv_image_end[];

static uint64_t *root;
static uint64_t stack_next = HV_STACK_BASE;

static uint64_t level_bytes(enum level level)
{
    return (uint64_t)PAGE_SIZE << (9 * level);
}

/* The entry for address at `level`, with tables made on the way; NULL when out
 * of memory or when a larger page already maps it. */
static uint64_t *entry_find(uint64_t address, enum level level)
{
    uint64_t *table = root;
    for (enum level at = LEVEL_ROOT; at > level; at--) {
        uint64_t *entry = &table[(address >> (PAGE_SHIFT + 9 * at)) % TABLE_ENTRIES];
        if (*entry & PTE_LARGE)
            return NULL;
        if (!(*entry & PTE_PRESENT)) {
            hpa_t frame;
            if (!bootmem_alloc(PAGE_SIZE, &frame))
                return NULL;
            *entry = frame.v | PTE_PRESENT | PTE_WRITE;
        }
        table = bootmem_map(hpa(*entry & PTE_ADDRESS));
    }
    return &table[(address >> (PAGE_SHIFT + 9 * level)) % TABLE_ENTRIES];
}

static bool map(uint64_t address, uint64_t physical, enum level level, uint64_t bits)
{
    uint64_t *entry = entry_find(address, level);
    if (!entry)
        return false;
    *entry = physical | bits | PTE_PRESENT | (level == LEVEL_4K ? 0 : PTE_LARGE);
    return true;
}

/* Maps the 2 MiB (or, inside and aligned, 1 GiB) page at start; returns the bytes
 * covered. Regions share their rounded edges, so a page may be there already. */
static uint64_t map_direct_page(uint64_t start, uint64_t end, bool gib_pages)
{
    const uint64_t bits = PTE_WRITE | PTE_NX | PTE_GLOBAL;
    uint64_t *gib = entry_find(HV_DIRECT_MAP_BASE + start, LEVEL_1G);
    ensure(gib);
    if (*gib & PTE_LARGE)
        return level_bytes(LEVEL_2M);
    if (gib_pages && *gib == 0 && start % GIB == 0 && end - start >= GIB) {
        ensure(map(HV_DIRECT_MAP_BASE + start, start, LEVEL_1G, bits));
        return GIB;
    }
    ensure(map(HV_DIRECT_MAP_BASE + start, start, LEVEL_2M, bits));
    return level_bytes(LEVEL_2M);
}

static void map_direct(uint64_t start, uint64_t end, bool gib_pages)
{
    start &= ~(level_bytes(LEVEL_2M) - 1);
    while (start < end)
        start += map_direct_page(start, end, gib_pages);
}

static bool gib_pages_exist(void)
{
    return x86_cpuid(0x80000000u, 0).eax >= 0x80000001u &&
           (x86_cpuid(0x80000001u, 0).edx & CPUID_EXT_EDX_1GIB);
}

/* Reserved regions are mapped too (ACPI tables lie there) unless they are so far
 * up or so large that they can only be address space. Registers among them are
 * kept uncached by the MTRRs, which outrank the write-back of these entries
 * (SDM volume 3, table 11-7). */
static void map_memory(const struct boot_info *info)
{
    bool gib_pages = gib_pages_exist();
    for (unsigned i = 0; i < info->region_count; i++) {
        const struct boot_region *region = &info->regions[i];
        uint64_t end = region->start + region->bytes;
        if (end < region->start || end > MAPPED_END)
            continue;
        if (region->kind == BOOT_REGION_RESERVED && end > 4 * GIB)
            continue;
        map_direct(region->start, end, gib_pages);
    }
}

static bool is_guard(uint64_t address)
{
    uint8_t *guard;
    for (unsigned i = 0; (guard = cpu_stack_guard(i)) != NULL; i++)
        if (address == (uint64_t)guard)
            return true;
    return false;
}

static void map_image(const struct boot_info *info)
{
    uint64_t start = (uint64_t)hv_image_start, end = (uint64_t)hv_image_end;
    for (uint64_t at = start; at < end; at += PAGE_SIZE) {
        uint64_t bits = PTE_GLOBAL | PTE_NX;
        if (at < (uint64_t)hv_text_end)
            bits = PTE_GLOBAL;
        else if (at >= (uint64_t)hv_data_start)
            bits |= PTE_WRITE;
        if (!is_guard(at))
            ensure(map(at, info->hypervisor_start + (at - start), LEVEL_4K, bits));
    }
}

void paging_init(const struct boot_info *info)
{
    hpa_t frame;
    root = bootmem_alloc(PAGE_SIZE, &frame);
    ensure(root);
    map_memory(info);
    map_image(info);
    x86_write_cr3(frame.v);
    /* Global entries of the loader, if it had any, go with a change of PGE. */
    x86_write_cr4(x86_read_cr4() & ~CR4_PGE);
    x86_write_cr4(x86_read_cr4() | CR4_PGE);
}

void *paging_map_device(hpa_t address, size_t size)
{
    const uint64_t bits = PTE_WRITE | PTE_NX | PTE_PCD | PTE_PWT | PTE_GLOBAL;
    uint64_t end = address.v + size;
    if (size == 0 || size > GIB || end < address.v || end > 64 * 1024 * GIB)
        return NULL;
    for (uint64_t at = address.v & ~(uint64_t)PAGE_MASK; at < end; at += PAGE_SIZE) {
        if (!map(HV_DEVICE_BASE + at, at, LEVEL_4K, bits))
            return NULL;
        x86_invlpg(HV_DEVICE_BASE + at);
    }
    return (void *)(HV_DEVICE_BASE + address.v);
}

uint8_t *paging_create_stack(size_t bytes)
{
    uint64_t start = stack_next + PAGE_SIZE; /* above the guard */
    for (size_t at = 0; at < bytes; at += PAGE_SIZE) {
        hpa_t frame;
        if (!bootmem_alloc(PAGE_SIZE, &frame) ||
            !map(start + at, frame.v, LEVEL_4K, PTE_WRITE | PTE_NX | PTE_GLOBAL))
            return NULL;
    }
    stack_next = start + bytes;
    return (uint8_t *)start;
}

bool paging_is_stack(uint64_t address)
{
    return address >= HV_STACK_BASE && address < stack_next;
}

uint64_t paging_root(void)
{
    return bootmem_address(root).v;
}

uint64_t paging_create_startup_root(void)
{
    hpa_t top, pointers, directory;
    uint64_t *tables[3] = { bootmem_alloc(PAGE_SIZE, &top), bootmem_alloc(PAGE_SIZE, &pointers),
                            bootmem_alloc(PAGE_SIZE, &directory) };
    if (!tables[0] || !tables[1] || !tables[2])
        return 0;
    /* So that stacks made later are in both. */
    if (!entry_find(HV_STACK_BASE, LEVEL_1G))
        return 0;
    memcpy(tables[0], root, PAGE_SIZE);
    tables[0][0] = pointers.v | PTE_PRESENT | PTE_WRITE;
    tables[1][0] = directory.v | PTE_PRESENT | PTE_WRITE;
    tables[2][0] = PTE_PRESENT | PTE_WRITE | PTE_LARGE;
    return top.v;
}
