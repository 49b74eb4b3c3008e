/*
 * The keys of a configuration file as data: section, name, type, range, and the
 * field of struct config each one fills. config.c walks this table and knows no
 * key by name but those it checks against each other. Described for people in
 * docs/configuration.md; a test compares the two.
 */
#ifndef BOOT_CONFIG_KEYS_H
#define BOOT_CONFIG_KEYS_H

#include "hv/config.h"

enum config_section { CONFIG_SECTION_NONE, CONFIG_SECTION_HOST, CONFIG_SECTION_VM };

/* How a value is written, and the type of its field. */
enum config_type {
    CONFIG_SIZE,         /* 64M; uint64_t bytes, a multiple of PAGE_SIZE */
    CONFIG_NUMBER,       /* 1000; uint32_t */
    CONFIG_SEED,         /* 1; uint64_t, marks the configuration as seeded */
    CONFIG_SECONDS,      /* 60s, 5m; uint32_t */
    CONFIG_MILLISECONDS, /* 10ms, 1s; uint32_t */
    CONFIG_SWITCH,       /* on, off; bool */
    CONFIG_WORD,         /* letters, digits, '_', '-', '.'; char[max] */
    CONFIG_TEXT,         /* the rest of the line; char[max] */
    CONFIG_TIERS,        /* share balloon compress swap, or none; bool[] */
    CONFIG_SWAP,         /* auto, none; bool */
    CONFIG_AUTO,         /* auto, off; bool */
    CONFIG_OR_OFF,       /* 8, off; uint32_t, 0 when off */
    CONFIG_FAULT,        /* read FIRST COUNT; struct config_disk_fault, repeats */
};

struct config_key {
    enum config_section section;
    const char *name;
    enum config_type type;
    size_t offset;     /* in struct config_host or struct config_vm */
    uint64_t min, max; /* of the value; for text, max is the size of the field */
};

/* Places in config_keys[] that config.c refers to. */
enum config_key_index {
    KEY_HOST_MEMORY,
    KEY_POLICY,
    KEY_SWAP,
    KEY_SEED,
    KEY_DURATION,
    KEY_TIERS,
    KEY_CPUS,
    KEY_SLICE,
    KEY_SAMPLE,
    KEY_MIN_FREE,
    KEY_SOFT,
    KEY_HARD,
    KEY_LOW,
    KEY_IDLE_TAX,
    KEY_POOL,
    KEY_SHARE_PAGES,
    KEY_DISK_FAULT,
    KEY_MITIGATIONS,
    KEY_LARGE_PAGES,
    KEY_READ_AHEAD,
    KEY_VM_MEMORY,
    KEY_RESERVE,
    KEY_LIMIT,
    KEY_SHARES,
    KEY_CPU_SHARES,
    KEY_VCPUS,
    KEY_SHARE_GROUP,
    KEY_BALLOON,
    KEY_IMAGE,
    KEY_CMDLINE,
    KEY_COUNT
};
extern const struct config_key config_keys[KEY_COUNT];

/* All keys at the values they have when a file does not mention them. */
void config_host_default(struct config_host *host);
void config_vm_default(struct config_vm *vm);

#endif
