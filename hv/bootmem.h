/*
 * Memory of the hypervisor itself: page tables, vCPU structures, DMA buffers.
 *
 * Taken page-wise from the top of the largest free region below 4 GiB that the
 * loader reported, so everything here can be reached by any device. What is
 * never taken goes to the memory core as regions; a small part stays back for
 * what is asked for later (bounce buffers, vCPUs). Memory is never given back.
 * Boot CPU only, no lock.
 */
#ifndef HV_BOOTMEM_H
#define HV_BOOTMEM_H

#include "hv/boot_info.h"
#include "lib/types.h"
#include "mm/frame.h"

/* Reads the regions of info. Panics when there is no free memory at all. */
void bootmem_init(const struct boot_info *info);

/* size bytes, zeroed, page aligned, through the direct map. NULL: none left. */
void *bootmem_alloc(size_t size, hpa_t *address);

/*
 * What is left, for mm_init(): at most region_max regions whose bytes add up to
 * at most limit (0: no limit) less what the hypervisor's image, earlier
 * allocations and the part kept back take. Call once.
 */
unsigned bootmem_regions(struct frame_region *regions, unsigned region_max, uint64_t limit);

/* Bytes of the hypervisor's own: image, allocations, the part kept back. */
uint64_t bootmem_own_bytes(void);

static inline void *bootmem_map(hpa_t address)
{
    return (void *)(HV_DIRECT_MAP_BASE + address.v);
}
static inline hpa_t bootmem_address(const void *pointer)
{
    return hpa((uint64_t)pointer - HV_DIRECT_MAP_BASE);
}

#endif
