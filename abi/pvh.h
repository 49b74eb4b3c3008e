/*
 * PVH direct boot: structures handed to a guest in EBX, and the ELF note that
 * names its 32-bit entry. Source: Xen, "x86/HVM direct boot ABI"
 * (docs/misc/pvh.pandoc) and xen/include/public/arch-x86/hvm/start_info.h.
 */
#ifndef ABI_PVH_H
#define ABI_PVH_H

#include <stdint.h>

#define PVH_MAGIC          0x336ec578u
#define PVH_VERSION        1u
#define PVH_NOTE_NAME      "Xen"
#define PVH_NOTE_TYPE      18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define PVH_MEMMAP_RAM     1u
#define PVH_MEMMAP_RESERVED 2u

struct pvh_start_info {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modlist_paddr;
    uint64_t cmdline_paddr;
    uint64_t rsdp_paddr;
    uint64_t memmap_paddr;
    uint32_t memmap_entries;
    uint32_t reserved;
};

struct pvh_memmap_entry {
    uint64_t addr;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "start_info is 56 bytes");
_Static_assert(sizeof(struct pvh_memmap_entry) == 24, "memmap entry is 24 bytes");

#endif
