/*
 * What the loader (boot/) hands to the hypervisor. All pointers are
 * host-physical addresses of memory that stays as it is; the hypervisor reaches
 * it through its direct map.
 */
#ifndef HV_BOOT_INFO_H
#define HV_BOOT_INFO_H

#include "hv/config.h"
#include "lib/types.h"

#define BOOT_INFO_MAGIC 0x42414c4c41535431ull /* "BALLAST1" */
#define BOOT_REGION_MAX 128

/* The hypervisor is linked at HV_VIRTUAL_BASE (linker.ld); all physical memory
 * below HV_DIRECT_MAP_SIZE is mapped at HV_DIRECT_MAP_BASE. The loader's tables
 * map both, and the loader's own code one to one, until the hypervisor loads its
 * own. */
#define HV_VIRTUAL_BASE    0xffffffff80000000ull
#define HV_DIRECT_MAP_BASE 0xffff800000000000ull

enum boot_region_kind {
    BOOT_REGION_FREE,     /* usable memory nobody holds */
    BOOT_REGION_LOADER,   /* hypervisor, files, tables: in use by us */
    BOOT_REGION_RESERVED, /* firmware, devices, ACPI */
};

struct boot_region {
    uint64_t start, bytes;
    uint32_t kind;
    uint32_t pad;
};

struct boot_file {
    uint64_t address; /* 0: could not be read; the loader printed why */
    uint64_t bytes;
};

struct boot_info {
    uint64_t magic;
    uint64_t rsdp;                               /* ACPI 2.0 root pointer, 0: none */
    uint64_t startup_page; /* below 1 MiB, for the start of other CPUs; 0: none */
    struct boot_file hypervisor;                 /* the whole ELF file, for its symbols */
    uint64_t hypervisor_start, hypervisor_bytes; /* where its segments lie, physical */
    struct boot_region regions[BOOT_REGION_MAX]; /* sorted, disjoint */
    uint32_t region_count;
    /* UEFI graphics output, 32 bits a pixel, as the firmware said: unchecked. */
    uint32_t framebuffer_width, framebuffer_height; /* pixels */
    uint32_t framebuffer_pitch;                     /* bytes from one line to the next */
    uint32_t framebuffer_ink;                       /* value of a white pixel */
    uint64_t framebuffer_bytes;
    uint64_t framebuffer;                   /* 0: none */
    struct boot_file images[CONFIG_VM_MAX]; /* by VM; the same file is read once */
    char image_problem[CONFIG_VM_MAX][160]; /* "" or "FILE:LINE: reason" */
    struct config config;
};

/* Entry of the hypervisor: RDI = physical address of struct boot_info in the
 * direct map, interrupts off, on a stack of the loader's. */

#endif
