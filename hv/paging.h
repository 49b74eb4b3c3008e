/*
 * The hypervisor's own address space (docs/memory-layout.md):
 *
 *   HV_DIRECT_MAP_BASE  all memory of the firmware's map, RW, never executed
 *   HV_DEVICE_BASE      device registers, uncached, mapped on demand
 *   HV_VIRTUAL_BASE     the image: text RX, rodata R, data RW; a hole below each
 *                       stack
 *
 * Set up once at boot; devices are added later, by the boot CPU only. Nothing is
 * ever unmapped.
 */
#ifndef HV_PAGING_H
#define HV_PAGING_H

#include "hv/boot_info.h"
#include "lib/types.h"

#define HV_DEVICE_BASE 0xffffc00000000000ull
#define HV_STACK_BASE  0xffffd00000000000ull

/* Builds the tables from bootmem and loads them. */
void paging_init(const struct boot_info *info);

/* Makes device registers reachable, uncached. The same address always gives the
 * same pointer. size: bytes, at most 1 GiB. NULL: out of memory or absurd. */
void *paging_map_device(hpa_t address, size_t size);

/* A stack of `bytes` (a multiple of PAGE_SIZE), with an unmapped page below;
 * returns its lowest byte, NULL when out of memory. */
uint8_t *paging_create_stack(size_t bytes);
/* An address within the stacks made so far, their guard pages included. */
bool paging_is_stack(uint64_t address);

/* The tables every CPU uses, as CR3 has them. */
uint64_t paging_root(void);
/* The same with the first 2 MiB one to one besides, below 4 GiB: for a CPU that
 * turns paging on. 0: out of memory. */
uint64_t paging_create_startup_root(void);

#endif
