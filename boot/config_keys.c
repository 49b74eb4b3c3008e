/* The table of configuration keys and their defaults; see config_keys.h. */
#include "boot/config_keys.h"

#include "abi/machine.h"
#include "lib/string.h"

/* A frame number has 32 bits, which is 16 TiB. */
#define HOST_MEMORY_MAX (1ull << 44)
#define DAY_S           86400u

/* clang-format off */
const struct config_key config_keys[KEY_COUNT] = {
#define HOST_KEY(index, name, type, field, min, max) \
    [index] = { CONFIG_SECTION_HOST, name, type, offsetof(struct config_host, field), min, max }
#define VM_KEY(index, name, type, field, min, max) \
    [index] = { CONFIG_SECTION_VM, name, type, offsetof(struct config_vm, field), min, max }
    HOST_KEY(KEY_HOST_MEMORY, "memory",            CONFIG_SIZE,         memory,            4 * MIB, HOST_MEMORY_MAX),
    HOST_KEY(KEY_POLICY,      "policy",            CONFIG_WORD,         policy,            1, CONFIG_NAME_MAX),
    HOST_KEY(KEY_SWAP,        "swap",              CONFIG_SWAP,         swap,              0, 0),
    HOST_KEY(KEY_SEED,        "seed",              CONFIG_SEED,         seed,              0, UINT64_MAX),
    HOST_KEY(KEY_DURATION,    "duration",          CONFIG_SECONDS,      duration_s,        0, 7 * DAY_S),
    HOST_KEY(KEY_TIERS,       "tiers",             CONFIG_TIERS,        tiers,             0, 0),
    HOST_KEY(KEY_CPUS,        "cpus",              CONFIG_NUMBER,       cpus,              1, CONFIG_CPU_MAX),
    HOST_KEY(KEY_SLICE,       "slice",             CONFIG_MILLISECONDS, slice_ms,          1, 1000),
    HOST_KEY(KEY_SAMPLE,      "sample",            CONFIG_MILLISECONDS, sample_ms,         10, 3600 * 1000),
    HOST_KEY(KEY_MIN_FREE,    "min_free_permille", CONFIG_NUMBER,       min_free_permille, 1, 500),
    HOST_KEY(KEY_SOFT,        "soft_percent",      CONFIG_NUMBER,       soft_percent,      1, 100),
    HOST_KEY(KEY_HARD,        "hard_percent",      CONFIG_NUMBER,       hard_percent,      1, 100),
    HOST_KEY(KEY_LOW,         "low_percent",       CONFIG_NUMBER,       low_percent,       1, 100),
    HOST_KEY(KEY_IDLE_TAX,    "idle_tax_percent",  CONFIG_NUMBER,       idle_tax_percent,  0, 99),
    HOST_KEY(KEY_POOL,        "pool_percent",      CONFIG_NUMBER,       pool_percent,      1, 90),
    HOST_KEY(KEY_SHARE_PAGES, "share_pages",       CONFIG_NUMBER,       share_pages,       1, 65536),
    HOST_KEY(KEY_DISK_FAULT,  "disk_fault",        CONFIG_FAULT,        disk_faults,       1, UINT32_MAX),
    HOST_KEY(KEY_MITIGATIONS, "mitigations",       CONFIG_AUTO,         mitigations,       0, 0),
    HOST_KEY(KEY_LARGE_PAGES, "large_pages",       CONFIG_SWITCH,       large_pages,       0, 0),
    HOST_KEY(KEY_READ_AHEAD,  "swap_read_ahead",   CONFIG_OR_OFF,       swap_read_ahead,   1, MM_READ_AHEAD_MAX),
    VM_KEY(KEY_VM_MEMORY,     "memory",            CONFIG_SIZE,         memory,            1 * MIB, GUEST_HOLE_START),
    VM_KEY(KEY_RESERVE,       "reserve",           CONFIG_SIZE,         reserve,           0, GUEST_HOLE_START),
    VM_KEY(KEY_LIMIT,         "limit",             CONFIG_SIZE,         limit,             1 * MIB, GUEST_HOLE_START),
    VM_KEY(KEY_SHARES,        "shares",            CONFIG_NUMBER,       shares,            1, 1000000),
    VM_KEY(KEY_CPU_SHARES,    "cpu_shares",        CONFIG_NUMBER,       cpu_shares,        1, 1000000),
    VM_KEY(KEY_VCPUS,         "vcpus",             CONFIG_NUMBER,       vcpus,             1, CONFIG_VCPU_MAX),
    VM_KEY(KEY_SHARE_GROUP,   "share_group",       CONFIG_WORD,         share_group,       1, CONFIG_NAME_MAX),
    VM_KEY(KEY_BALLOON,       "balloon",           CONFIG_SWITCH,       balloon,           0, 0),
    VM_KEY(KEY_IMAGE,         "image",             CONFIG_TEXT,         image,             1, CONFIG_PATH_MAX),
    VM_KEY(KEY_CMDLINE,       "cmdline",           CONFIG_TEXT,         cmdline,           1, CONFIG_CMDLINE_MAX),
};
/* clang-format on */

void config_host_default(struct config_host *host)
{
    *host = (struct config_host){
        .policy = "esx",
        .swap = true,
        .mitigations = true,
        .tiers = { [MM_TIER_SHARE] = true,
                   [MM_TIER_BALLOON] = true,
                   [MM_TIER_COMPRESS] = true,
                   [MM_TIER_SWAP] = true },
        .slice_ms = 10,
        .sample_ms = 1000,
        .soft_percent = 64,
        .hard_percent = 32,
        .low_percent = 16,
        .idle_tax_percent = 75,
        .pool_percent = 50,
        .share_pages = 64,
        .swap_read_ahead = 8,
        .large_pages = true,
    };
}

void config_vm_default(struct config_vm *vm)
{
    *vm = (struct config_vm){ .shares = 1000, .cpu_shares = 1000, .vcpus = 1, .balloon = true };
}
