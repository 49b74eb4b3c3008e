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

/* Builds the tables from bootmem and loads them. */
void paging_init(const struct boot_info *info);

/* Makes device registers reachable, uncached. The same address always gives the
 * same pointer. size: bytes, at most 1 GiB. NULL: out of memory or absurd. */
void *paging_map_device(hpa_t address, size_t size);

#endif
