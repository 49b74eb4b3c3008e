/*
 * A VM's memory, as the core sees it. Internal to mm.
 *
 * Locks: `ranges` guard the leaf entries, each those of every VM_RANGE_LOCKS-th
 * range of 512 pages, and whether such a range has a leaf table; `lock` guards
 * the making of upper tables and the vCPU list; `balloon_lock` and `pin_lock`
 * what is beside them. Counters are atomic. The rest belongs to mm_step()
 * (core.step_lock); what others read of it is written atomically.
 */
#ifndef MM_VM_H
#define MM_VM_H

#include "lib/atomic.h"
#include "mm/entry.h"
#include "mm/fill.h"
#include "mm/locks.h"
#include "mm/mm.h"

#define VM_VCPU_MAX    8u
#define VM_RANGE_LOCKS 64u
#define VM_PIN_MAX     (VM_VCPU_MAX * MM_PIN_MAX)

/* A page the hypervisor holds a pointer to. */
struct vm_pin {
    uint32_t gfn;
    uint16_t count; /* 0: the record is free */
    pfn_t shared;   /* a merged frame kept alive for the pin, or none */
};

struct mm_vm {
    bool in_use, stopped; /* vm_at(), vm_is_stopped() */
    uint16_t id;
    char name[MM_VM_NAME_MAX];
    struct mm_vm_config config;
    void *context;

    struct spinlock ranges[VM_RANGE_LOCKS];
    struct spinlock lock;
    pfn_t root;
    uint64_t last_walk; /* number of a GiB of the VM, frame of its table of level 2 */
    uint32_t tables;    /* frames of the nested table */
    struct mm_vcpu *vcpus[VM_VCPU_MAX];
    unsigned vcpu_count;

    uint32_t homes[HOME_COUNT]; /* pages by home */
    uint32_t held_frames; /* private frames of BUSY pages, and of large mappings in the making */
    uint32_t large;       /* large mappings */
    uint64_t pool_bytes;  /* its own blocks in the pool */
    uint64_t counters[MM_VM_COUNTER_COUNT]; /* those of kind C */
    uint64_t stall_ns[MM_WAIT_COUNT];

    struct fill_table fill;
    struct spinlock pin_lock;
    struct vm_pin pins[VM_PIN_MAX];
    unsigned pins_used; /* records in use, for a quick "none" */

    /* Reading ahead from swap (mm/read_ahead.c); atomic. */
    struct {
        uint32_t window;       /* pages at once */
        uint32_t hits, wasted; /* judged since the window last changed */
        uint32_t unjudged;     /* read ahead, not known yet whether for use */
        uint32_t under_way;
        uint32_t chances; /* times that it could have been tried and was not */
    } ahead;

    /* Policy and reclaim (core.step_lock). */
    uint32_t target;
    uint32_t hand;      /* reclaim's clock hand, gfn */
    uint64_t dry_pages; /* looked at since a page was last taken or brought in */
    bool limit_waiter;  /* a vCPU waits for its VM to come below its limit; counted in core */

    /* Ages: reclaim and estimates. */
    uint32_t age_hand, age_seen; /* gfn; pages found accessed in this round */
    uint64_t age_next;           /* tick at which the next round may begin */
    uint32_t active;             /* in the last complete round */
    bool active_known;

    /* Sharing scan. */
    uint32_t share_hand;

    /* Balloon: balloon_lock, but for the counts. */
    struct spinlock balloon_lock;
    enum mm_balloon_state balloon_state;
    uint32_t balloon_target, balloon_actual;
    uint64_t balloon_moves, balloon_moves_seen; /* inflates and deflates */
    uint64_t balloon_deadline;                  /* tick */
    uint32_t balloon_credit;                    /* frames inflating freed and nobody took back */
    struct mm_guest_stats stats;
} __attribute__((aligned(64))); /* faults of two VMs share no cache line */

/* The VM in this slot (its id), or NULL. It stays while core.step_lock is held. */
struct mm_vm *vm_at(unsigned id);

/* The VMs there are, by id, for scans under core.step_lock. What a step does looks
 * at VM_SCAN of them at most, from a hand that goes round, so that its cost does
 * not grow with their number. */
#define VM_SCAN 4u
unsigned vm_live_count(void);
struct mm_vm *vm_live(unsigned index);
/* The next one by id, the first after the last; NULL: there is none. */
struct mm_vm *vm_live_after(uint16_t id);
/* Where a scan of so many begins: at 0 when VM_SCAN are all, else at the hand, which moves on. */
unsigned vm_scan_start(uint32_t *hand, unsigned scan);

static inline void vm_count(struct mm_vm *vm, enum mm_vm_counter counter, uint64_t by)
{
    __atomic_fetch_add(&vm->counters[counter], by, __ATOMIC_RELAXED);
}

static inline bool vm_is_stopped(const struct mm_vm *vm)
{
    return __atomic_load_n(&vm->stopped, __ATOMIC_ACQUIRE);
}

/* Pages with this home now. */
static inline uint32_t vm_pages_in(const struct mm_vm *vm, enum home home)
{
    return atomic_get(vm->homes[home]);
}

/* A page was taken from the VM or brought in: its clock hand is not at the end. */
static inline void vm_not_dry(struct mm_vm *vm)
{
    if (atomic_get(vm->dry_pages) != 0)
        atomic_set(vm->dry_pages, 0);
}

/* A page that the balloon's credit covers is taken back; false: there is none. */
bool vm_take_credit(struct mm_vm *vm);

/* Pages of host memory charged to it: private and busy frames, its part of the
 * merged frames, its blocks in the pool. Its nested table is counted apart. */
uint32_t vm_resident(const struct mm_vm *vm);

/* Has it as many pages as its limit allows? Never without a limit of its own: what is
 * charged for merged and compressed pages is rounded up, and nothing more is to be had. */
bool vm_is_at_limit(const struct mm_vm *vm);

/* Pages nobody may take: the floors of its vCPUs. */
uint32_t vm_floor(const struct mm_vm_config *config);

/* Stops a VM, once; its waiting vCPUs stay asleep until it is destroyed. */
void vm_stop(struct mm_vm *vm, enum mm_stop_reason reason);

void vm_init(void);
/* Bytes of VM records, for metadata_other. */
uint64_t vm_metadata_bytes(void);

#endif
