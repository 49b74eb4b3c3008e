/*
 *      arena (the largest free region below 4 GiB)
 *      start                       kept          next              end
 *      | to the memory core ........ | kept back .. | handed out .... |
 */
#include "hv/bootmem.h"
#include "lib/assert.h"
#include "lib/string.h"

/* Firmware and start-up code of other CPUs own the first MiB. */
#define LOWEST    (1 * MIB)
#define REACHABLE (4 * GIB)
/* Kept back for allocations after bootmem_regions(): bounce buffers, swap books
 * (8 bytes a page of swap), vCPUs. */
#define KEPT_BYTES (4 * MIB)
#define KEPT_SHARE 64u /* and this part of the memory handed out */

static const struct boot_info *boot;
static uint64_t arena_start, arena_end, next, kept;

static uint64_t region_start(const struct boot_region *region)
{
    uint64_t start = region->start < LOWEST ? LOWEST : region->start;
    return (start + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
}

static uint64_t region_end(const struct boot_region *region)
{
    return (region->start + region->bytes) & ~(uint64_t)PAGE_MASK;
}

void bootmem_init(const struct boot_info *info)
{
    boot = info;
    for (unsigned i = 0; i < info->region_count; i++) {
        uint64_t start = region_start(&info->regions[i]), end = region_end(&info->regions[i]);
        if (info->regions[i].kind != BOOT_REGION_FREE || start >= REACHABLE)
            continue;
        end = end > REACHABLE ? REACHABLE : end;
        if (end > start && end - start > arena_end - arena_start) {
            arena_start = start;
            arena_end = end;
        }
    }
    if (arena_end == arena_start)
        panic("the firmware reports no free memory below 4 GiB");
    next = arena_end;
    kept = arena_start;
}

void *bootmem_alloc(size_t size, hpa_t *address)
{
    size = (size + PAGE_MASK) & ~(size_t)PAGE_MASK;
    if (size == 0 || size > next - kept)
        return NULL;
    next -= size;
    void *memory = bootmem_map(hpa(next));
    memset(memory, 0, size);
    if (address)
        *address = hpa(next);
    return memory;
}

uint64_t bootmem_own_bytes(void)
{
    uint64_t held_back = kept > arena_start ? next - kept : 0;
    return boot->hypervisor_bytes + (arena_end - next) + held_back;
}

/* Splits the arena: [arena_start, kept) goes to the core. */
static void keep_back(uint64_t total)
{
    uint64_t bytes = KEPT_BYTES + total / KEPT_SHARE;
    uint64_t room = next - arena_start;
    bytes = bytes > room / 2 ? room / 2 : bytes;
    kept = (next - bytes) & ~(uint64_t)PAGE_MASK;
}

static uint64_t free_bytes(void)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < boot->region_count; i++) {
        uint64_t start = region_start(&boot->regions[i]), end = region_end(&boot->regions[i]);
        if (boot->regions[i].kind == BOOT_REGION_FREE && end > start)
            total += end - start;
    }
    return total;
}

unsigned bootmem_regions(struct frame_region *regions, unsigned region_max, uint64_t limit)
{
    uint64_t total = free_bytes();
    keep_back(limit && limit < total ? limit : total);
    uint64_t own = bootmem_own_bytes();
    uint64_t left = limit == 0 ? UINT64_MAX : limit > own ? limit - own : 0;
    unsigned count = 0;
    /* The arena first: it is the largest run, and one region is enough then. */
    for (int pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < boot->region_count && count < region_max; i++) {
            uint64_t start = region_start(&boot->regions[i]);
            uint64_t end = region_end(&boot->regions[i]);
            bool arena = start == arena_start;
            if (boot->regions[i].kind != BOOT_REGION_FREE || end <= start || arena != (pass == 0))
                continue;
            end = arena ? kept : end;
            uint64_t bytes = end - start < left ? end - start : left;
            bytes &= ~(uint64_t)PAGE_MASK;
            if (bytes == 0)
                continue;
            left -= limit ? bytes : 0;
            regions[count++] = (struct frame_region){ hpa(start), bytes };
        }
    return count;
}
