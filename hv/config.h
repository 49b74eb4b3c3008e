/*
 * The configuration, parsed. boot/config.c fills it from ballast.conf; every key
 * is described in docs/configuration.md. All memory sizes are bytes, multiples
 * of PAGE_SIZE.
 */
#ifndef HV_CONFIG_H
#define HV_CONFIG_H

#include "lib/types.h"
#include "mm/mm.h"

#define CONFIG_NAME_MAX    32
#define CONFIG_PATH_MAX    128
#define CONFIG_CMDLINE_MAX 256
#define CONFIG_VM_MAX      32
#define CONFIG_FAULT_MAX   4
#define CONFIG_CPU_MAX     16
#define CONFIG_VCPU_MAX    4

/* `disk_fault = read FIRST COUNT`: the disk's reads (or writes) number FIRST to
 * FIRST + COUNT - 1, counted from 1 over swap data requests, fail. */
struct config_disk_fault {
    bool write;
    uint32_t first, count;
};

struct config_host {
    uint64_t memory;            /* 0: all there is */
    char policy[CONFIG_NAME_MAX];
    bool swap;                  /* auto: true, none: false */
    bool seeded;
    uint64_t seed;
    uint32_t duration_s;        /* the run fails when VMs still run then; 0: no limit */
    bool tiers[MM_TIER_COUNT];
    uint32_t cpus;              /* how many CPUs are used at most; 0: all there are */
    uint32_t slice_ms;          /* time slice of a vCPU */
    uint32_t sample_ms;         /* telemetry interval */
    uint32_t min_free_permille; /* of memory; 0: default rule */
    uint32_t soft_percent, hard_percent, low_percent;
    uint32_t idle_tax_percent;
    uint32_t pool_percent;
    uint32_t share_pages;
    struct config_disk_fault disk_faults[CONFIG_FAULT_MAX];
    unsigned disk_fault_count;
    bool mitigations;           /* auto: true, off: false */
    uint32_t swap_read_ahead;   /* pages; off: 0 */
    bool large_pages;           /* 2 MiB mappings of guest memory */
};

struct config_vm {
    char name[CONFIG_NAME_MAX];
    unsigned line;              /* of its section, for messages */
    unsigned image_line;        /* of its image key */
    uint64_t memory, reserve, limit;
    uint32_t shares;            /* memory shares */
    uint32_t cpu_shares;
    uint32_t vcpus;
    char share_group[CONFIG_NAME_MAX]; /* "": only within the VM */
    bool balloon;
    char image[CONFIG_PATH_MAX];
    char cmdline[CONFIG_CMDLINE_MAX];
};

struct config {
    struct config_host host;
    struct config_vm vms[CONFIG_VM_MAX];
    unsigned vm_count;
    uint64_t hash; /* of the file's bytes, FNV-1a 64, for the start record */
};

/*
 * Parses text (size bytes, hostile until checked). False on the first error:
 * message is then "FILE:LINE: reason", one line. `file` is the name to show.
 */
bool config_parse(struct config *config, const char *file, const char *text, size_t size,
                  char *message, size_t message_size);

#endif
