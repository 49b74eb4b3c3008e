/*
 * The memory core, as the hypervisor and the simulated machine see it.
 *
 * The core owns all managed host frames and every guest page. A guest page's
 * content has exactly one home (mm/home.h). Faults are answered DONE, WAIT or a
 * refusal and never wait inside; reclaim is a state machine moved on by
 * mm_step() and by block-device completions.
 *
 * Locks: callers hold none of the core's. Everything here may be called on
 * several CPUs at once, for one VM or for several, except where said otherwise
 * (mm_init, mm_swap_attach: boot; mm_audit: nothing else may run); so may
 * completions of the block device. docs/locking.md has the order, and what the
 * core expects of the machine below.
 */
#ifndef MM_MM_H
#define MM_MM_H

#include "lib/list.h"
#include "lib/types.h"
#include "mm/counters.h"
#include "mm/frame.h"
#include "mm/machine.h"

struct block_device;
struct entry_format;

/* ---- configuration ------------------------------------------------------ */

enum mm_tier { MM_TIER_SHARE, MM_TIER_BALLOON, MM_TIER_COMPRESS, MM_TIER_SWAP, MM_TIER_COUNT };
const char *mm_tier_name(enum mm_tier tier);

/* Host pressure by free memory, named as vSphere names them. */
enum mm_state { MM_HIGH, MM_CLEAR, MM_SOFT, MM_HARD, MM_LOW, MM_STATE_COUNT };
const char *mm_state_name(enum mm_state state);

#define MM_READ_AHEAD_MAX 14u

struct mm_config {
    bool tiers[MM_TIER_COUNT];
    const char *policy; /* name of a policy, "esx" by default */
    bool seeded;        /* machine_entropy() is repeatable */
    uint64_t seed;
    unsigned min_free_permille;                       /* of managed memory; 0: the default rule */
    unsigned soft_percent, hard_percent, low_percent; /* of minFree: 64, 32, 16 */
    unsigned idle_tax_percent;                        /* 75 */
    unsigned pool_percent;                            /* of managed memory the pool may take: 50 */
    unsigned share_pages;                             /* pages the sharing scan looks at per tick */
    unsigned max_physical_bits;        /* of this machine (CPUID 80000008h), for L1TF encoding */
    bool accessed_dirty;               /* the nested tables have A/D bits */
    unsigned swap_read_ahead;          /* pages read ahead at once at most; 0: none */
    bool large_pages;                  /* 2 MiB mappings where memory is plenty; not by default */
    bool large_execute;                /* guests may execute from them */
    bool discreet;                     /* faults on the pool leave nothing foreign in the L1D */
    const struct entry_format *format; /* of the nested tables (mm/entry.h); copied; NULL: EPT's */
};
void mm_config_default(struct mm_config *config);

struct mm_vm_config {
    const char *name;       /* unique; copied, at most MM_VM_NAME_MAX - 1 bytes */
    uint32_t pages;         /* configured memory, from gfn 0 */
    uint32_t reserve_pages; /* guaranteed in RAM */
    uint32_t limit_pages;   /* never more than this in RAM; >= reserve */
    uint32_t shares;
    uint16_t salt; /* sharing domain; VMs of one share_group have the same */
    bool balloon;  /* a balloon device is offered */
    unsigned vcpu_count;
};
#define MM_VM_NAME_MAX 32
/* A constant of the build: its records are static. `make lib VMS=n` for simulations. */
#ifndef MM_VM_MAX
#define MM_VM_MAX 64
#endif
_Static_assert(MM_VM_MAX > 0 && MM_VM_MAX < 0xffff, "ids have 16 bits, all ones is nobody's");

/* ---- life of the core and of VMs ---------------------------------------- */

/* Takes over host memory. False: too little; a line was logged. */
bool mm_init(const struct mm_config *config, const struct frame_region *regions,
             unsigned region_count);

/* Offers a block device range; opened as swap when it carries our signature.
 * Returns enum swap_open_result. */
int mm_swap_attach(struct block_device *device, uint64_t first_sector, uint64_t sector_count);

enum mm_admission {
    MM_ADMIT_OK,
    MM_ADMIT_TOO_MANY_VMS,
    MM_ADMIT_RESERVATION, /* reservations plus overhead do not fit in memory */
    MM_ADMIT_BACKING,     /* configured memory does not fit in memory plus swap */
    MM_ADMIT_NO_TABLES,
    MM_ADMIT_BAD_CONFIG,
    MM_ADMIT_COUNT
};
const char *mm_admission_name(enum mm_admission admission);

/* The arithmetic behind an admission, for the line that is printed. Pages. */
struct mm_admission_sum {
    uint64_t managed, overhead, reserved, configured, swap;
};

/* On success *vm is the new VM, all of its pages ZERO. */
enum mm_admission mm_vm_create(const struct mm_vm_config *config, struct mm_vm **vm,
                               struct mm_admission_sum *sum);

/* Gives back all memory of a VM that does not run any more: none of its vCPUs is
 * inside the core or will be. False while I/O of it is in flight: call again
 * later; nothing of the VM may be used in between. */
bool mm_vm_destroy(struct mm_vm *vm);

const char *mm_vm_name(const struct mm_vm *vm);
uint32_t mm_vm_pages(const struct mm_vm *vm);
/* Root of the nested table, in the format mm_init() was given. */
hpa_t mm_vm_root(const struct mm_vm *vm);
/* The machine below may keep one pointer of its own in the VM. */
void mm_vm_set_context(struct mm_vm *vm, void *context);
void *mm_vm_context(const struct mm_vm *vm);

/* ---- vCPUs and waiting --------------------------------------------------- */

enum mm_wait {
    MM_WAIT_NONE,
    MM_WAIT_PAGE_IN,  /* swap read of the page */
    MM_WAIT_PAGE_OUT, /* the page is on its way out */
    MM_WAIT_FRAME,    /* no free frame: reclaim is freeing one */
    MM_WAIT_HELD,     /* state low: the VM is above its target */
    MM_WAIT_COUNT
};
const char *mm_wait_name(enum mm_wait wait);

/* The most recent pages brought in for a vCPU, which nobody may take: one
 * instruction with its guest tables can need some 50. */
#define MM_VCPU_FLOOR  64
#define MM_FLOOR_MARKS 256u

/* Embedded by the machine in its own vCPU. */
struct mm_vcpu {
    struct mm_vm *vm;
    unsigned index;
    enum mm_wait waiting; /* read by mm_vcpu_waiting() */
    uint64_t wait_since;  /* machine_time_ns() */
    struct list_node wait_link;
    /* Answering its last fault read what is not its VM's alone: blocks beside its own in
     * the pool, the keys of the pool and of the swap area (docs/security.md, "The L1D flush"). */
    bool foreign;
    uint32_t floor[MM_VCPU_FLOOR]; /* gfns, UINT32_MAX: none */
    unsigned floor_next;
    /* How many pages of the floor have these lowest bits of their number: where none
     * has, a page need not be searched for. */
    uint8_t floor_marks[MM_FLOOR_MARKS];
};
void mm_vcpu_init(struct mm_vcpu *vcpu, struct mm_vm *vm, unsigned index);

/* Why the vCPU sleeps; NONE when it may run. A wake may come before the CPU that
 * was answered MM_WAIT has put its vCPU to sleep, so this is what to look at. */
static inline enum mm_wait mm_vcpu_waiting(const struct mm_vcpu *vcpu)
{
    return (enum mm_wait)__atomic_load_n(&vcpu->waiting, __ATOMIC_ACQUIRE);
}

/* ---- faults and pins ------------------------------------------------------ */

#define MM_READ  1u
#define MM_WRITE 2u
#define MM_EXEC  4u

enum mm_answer {
    MM_DONE,    /* mapped: execute the instruction again */
    MM_WAIT,    /* vcpu->waiting says why; machine_vcpu_wake() ends it */
    MM_NO_PAGE, /* nothing there: MMIO or hole, the caller emulates or refuses */
    MM_STOPPED  /* the VM has been stopped (machine_vm_stop was called) */
};

/* A nested-table violation of this vCPU. access: MM_READ | MM_WRITE | MM_EXEC. */
enum mm_answer mm_fault(struct mm_vcpu *vcpu, gpa_t address, unsigned access);

/*
 * The hypervisor's only way to guest memory. On DONE *page points to the frame's
 * content and the page stays where it is until mm_unpin(); with MM_WRITE the page
 * is PRIVATE and marked dirty. Answers as mm_fault(). vcpu: on whose behalf; NULL
 * outside of a vCPU (image loading: then WAIT asks the caller to call mm_step()
 * and try again). A vCPU pins at most MM_PIN_MAX pages at once.
 */
#define MM_PIN_MAX 16
enum mm_answer mm_pin(struct mm_vm *vm, struct mm_vcpu *vcpu, gfn_t gfn, unsigned access,
                      void **page);
void mm_unpin(struct mm_vm *vm, gfn_t gfn);

/* ---- balloon --------------------------------------------------------------- */

enum mm_balloon_result {
    MM_BALLOON_OK,
    MM_BALLOON_DONE_ALREADY, /* inflated twice, or deflated though not inflated: no effect */
    MM_BALLOON_OUT_OF_RANGE, /* no page of the guest */
    MM_BALLOON_PINNED,       /* in use by the device itself (its own queue) */
    MM_BALLOON_WAIT,         /* I/O in flight on the page: try again after the wake */
    MM_BALLOON_RESULT_COUNT
};

enum mm_balloon_state {
    MM_DRIVER_ABSENT,  /* no driver has said DRIVER_OK */
    MM_DRIVER_IDLE,    /* at its target */
    MM_DRIVER_WORKING, /* moving towards it */
    MM_DRIVER_STUCK,   /* missed its deadline; the next tiers take over */
    MM_DRIVER_FAILED,  /* the device needs a reset */
    MM_DRIVER_STATE_COUNT
};
const char *mm_balloon_state_name(enum mm_balloon_state state);

enum mm_balloon_result mm_balloon_inflate(struct mm_vcpu *vcpu, gfn_t gfn);
enum mm_balloon_result mm_balloon_deflate(struct mm_vcpu *vcpu, gfn_t gfn);
/* The device tells the core what its driver does. actual: as the driver wrote it,
 * advisory, shown beside the core's own count. */
void mm_balloon_driver(struct mm_vm *vm, bool ready, bool failed, uint32_t actual);
/* What the balloon should hold now, pages; the device's num_pages. */
uint32_t mm_balloon_target(const struct mm_vm *vm);

/* Guest statistics (bytes), advisory: UINT64_MAX where the guest said nothing. */
struct mm_guest_stats {
    uint64_t free, total, available, caches, swap_in, swap_out, major_faults, minor_faults;
};
void mm_balloon_statistics(struct mm_vm *vm, const struct mm_guest_stats *stats);

/* ---- the core's own work ---------------------------------------------------- */

/*
 * One bounded step of background work: pressure state and targets, sharing scan,
 * ages, reclaim, compaction, write-back, clusters to send. Called by the machine
 * again and again between runs of vCPUs and in idle. True when there is more to
 * do at once (frames are wanted), false when it can wait for the next tick. One
 * CPU at a time does the work; a second one leaves at once, and the first is
 * told to come again.
 */
bool mm_step(void);

/* A tick of the host clock, at a fixed rate (100 a second): deadlines, decay of
 * ages. Its count is the core's only clock for decisions. */
void mm_tick(void);

/* ---- what it says about itself ----------------------------------------------- */

enum mm_state mm_host_state(void);
void mm_host_counters(uint64_t values[MM_HOST_COUNTER_COUNT]);
void mm_vm_counters(const struct mm_vm *vm, uint64_t values[MM_VM_COUNTER_COUNT]);

/*
 * Checks every invariant: each page has one home, each frame one owner, what
 * points back agrees, the counters add up, no pool object and no slot without
 * its leaf. Returns the number of violations; the first few are logged, the very
 * first is copied into `first` (may be NULL). No other CPU may be in the core.
 */
unsigned mm_audit(char *first, size_t first_size);

#endif
