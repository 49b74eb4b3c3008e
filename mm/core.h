/*
 * What the files of the core share: configuration, clock, counters of the host.
 * Internal to mm.
 *
 * config is written once at boot. ticks, state, hold and min_free change under
 * step_lock and are read anywhere; counters are atomic.
 */
#ifndef MM_CORE_H
#define MM_CORE_H

#include "lib/atomic.h"
#include "mm/locks.h"
#include "mm/mm.h"

struct core {
    struct mm_config config;
    uint64_t ticks;
    enum mm_state state;
    bool hold;                                /* state low: VMs above their target are held */
    uint32_t min_free;                        /* frames */
    uint64_t counters[MM_HOST_COUNTER_COUNT]; /* those of kind C, and peaks */
    uint32_t shared_leaves;                   /* leaf entries with home SHARED, all VMs */
    uint32_t large;                           /* large mappings, all VMs */
    uint64_t configured_pages;                /* of all VMs */
    uint32_t limit_waiters;                   /* VMs with a vCPU that waits for its limit */
    uint32_t age_hand;                        /* vm_scan_start() of the ages */
    bool swap_worked;                         /* at the last step */
    bool step_again;                          /* a CPU found the step lock taken */
    struct spinlock step_lock; /* mm_step(), mm_tick(), create, destroy, audit: outermost */
};
extern struct core core;

static inline void core_count(enum mm_host_counter counter, uint64_t by)
{
    if (by > 0)
        atomic_add(core.counters[counter], by);
}

/* Ticks of the host clock so far. */
static inline uint64_t core_ticks(void)
{
    return atomic_get(core.ticks);
}

/* Is the tier configured and in service? */
bool core_tier_works(enum mm_tier tier);

/* Flushes the VM's translations (P3) and counts that. */
void core_flush(struct mm_vm *vm);

/* The net figures now, 0 where negative, by tier (docs: mm/counters.h). */
uint64_t core_net(enum mm_tier tier);
/* Keeps the peaks of the net figures; once a step. */
void core_net_peaks(void);

#endif
