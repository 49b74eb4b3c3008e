/*
 * What the memory core asks of the machine below it. The hypervisor implements
 * this on bare metal, tests/host on a simulated machine.
 *
 * None of these functions may block or call back into the core, except where
 * said otherwise.
 */
#ifndef MM_MACHINE_H
#define MM_MACHINE_H

#include "lib/types.h"

struct mm_vm;
struct mm_vcpu;

/* Content of a managed frame, valid as long as the frame is. */
void *machine_frame_map(pfn_t frame);

/*
 * Revoke, flush, acknowledge, reuse (P3). After the core narrowed or removed
 * translations of vm, this returns only when no CPU can use an old one: every
 * CPU inside that VM's guest mode has been kicked out and acknowledged, every
 * other CPU will flush before it next enters the VM. Accessed and dirty bits
 * that were cached are in the tables afterwards.
 */
void machine_flush_vm(struct mm_vm *vm);

/* Monotonic time in nanoseconds; for stall times and statistics only, never
 * for a decision (budgets are counted in pages). */
uint64_t machine_time_ns(void);

/* Random bytes: derived from the seed where one is configured. */
void machine_entropy(void *bytes, size_t size);

/* Index of the executing CPU, below MACHINE_CPU_MAX. */
unsigned machine_cpu(void);
#define MACHINE_CPU_MAX 64

/* The vCPU's wait is over: it may execute its instruction again. */
void machine_vcpu_wake(struct mm_vcpu *vcpu);

/*
 * The VM must not run again: its memory can no longer be given back intact, or
 * it was chosen as the victim. The machine destroys it (mm_vm_destroy) later,
 * from its own loop, not inside this call.
 */
enum mm_stop_reason {
    MM_STOP_SWAP_READ,     /* a page could not be read back */
    MM_STOP_SWAP_TAMPERED, /* a page came back, but was not what was written */
    MM_STOP_POOL_DAMAGED,  /* a compressed block failed its check */
    MM_STOP_OUT_OF_MEMORY, /* no tier had room, furthest above its target */
    MM_STOP_REASON_COUNT
};
void machine_vm_stop(struct mm_vm *vm, enum mm_stop_reason reason);
const char *mm_stop_reason_name(enum mm_stop_reason reason); /* implemented by the core */

/* Contiguous memory that devices can reach (below 4 GiB), for bounce buffers.
 * Boot time only, never freed; NULL when there is none. size: bytes, a multiple
 * of PAGE_SIZE. Counted by the core as metadata of its kind. */
void *machine_dma_alloc(size_t size, hpa_t *address);

/* Something happened that a reader of the telemetry wants to know about. */
enum mm_event_kind {
    MM_EVENT_STATE,      /* host pressure state: a = old, b = new (enum mm_state) */
    MM_EVENT_TARGET,     /* vm's target: a = old, b = new, pages */
    MM_EVENT_BALLOON,    /* vm's driver state: a = old, b = new (enum mm_balloon_state) */
    MM_EVENT_VICTIM,     /* vm chosen to be stopped: a = pages above its target */
    MM_EVENT_SWAP_ERROR, /* a = slot, b = enum swap_status; vm NULL: whole area */
    MM_EVENT_TIER_OFF,   /* a tier went out of service: a = enum mm_tier */
    MM_EVENT_KIND_COUNT
};
void machine_event(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b);

#endif
