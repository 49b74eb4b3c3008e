/*
 * A virtual machine: its memory, vCPUs, devices, and how it ended.
 *
 *   UNUSED -> RUNNING -> ENDING -> ENDED
 *          \> REFUSED
 *
 * REFUSED: it did not start (bad image, no room). ENDING: it does not run any
 * more, its memory is being given back (mm_vm_destroy waits for I/O). Only
 * vm_reap() moves it on to ENDED.
 *
 * A VM ends once, with the first reason given; everything about it that the
 * telemetry shows afterwards was copied when it ended.
 *
 * Locks: vm->lock for its devices. RUNNING -> ENDING happens under a lock of its own,
 * so that the core may end a VM with its locks held; what follows is done by one CPU
 * at a time, when no CPU has one of its vCPUs any more.
 */
#ifndef HV_VM_H
#define HV_VM_H

#include "hv/boot_info.h"
#include "hv/dev_balloon.h"
#include "hv/dev_ioapic.h"
#include "hv/dev_lapic.h"
#include "hv/dev_legacy.h"
#include "hv/dev_uart.h"
#include "hv/dev_virtio.h"
#include "hv/locks.h"
#include "hv/seam.h"
#include "hv/vcpu.h"

#define VM_VCPU_MAX   CONFIG_VCPU_MAX
#define VM_REASON_MAX 160u

enum vm_state { VM_UNUSED, VM_REFUSED, VM_RUNNING, VM_ENDING, VM_ENDED };

enum vm_end {
    VM_END_NONE,
    VM_END_STATUS, /* by itself, through the exit port */
    VM_END_TRIPLE_FAULT,
    VM_END_MEMORY,       /* the core stopped it */
    VM_END_HALTED,       /* halted with interrupts off */
    VM_END_INSTRUCTION,  /* an access that cannot be emulated */
    VM_END_EXIT,         /* an exit nobody knows, or a refused entry */
    VM_END_GUEST_ERRORS, /* too many errors of one kind */
    VM_END_DURATION      /* it still ran when the run's time was over */
};

struct vm {
    unsigned index; /* in the configuration */
    const struct config_vm *config;
    struct mm_vm *mm;    /* NULL unless RUNNING or ENDING */
    enum vm_state state; /* vm_is_running() */
    enum vm_end end;
    uint8_t status;             /* VM_END_STATUS: what the guest wrote */
    char reason[VM_REASON_MAX]; /* why it was refused or how it ended, for people */
    bool closed;                /* its last counters are taken, its vCPUs are gone */

    struct vcpu vcpus[VM_VCPU_MAX];
    struct lapic lapics[VM_VCPU_MAX]; /* by vCPU index */
    unsigned vcpu_count;
    /* Grows when translations were revoked: hv/guest.h. */
    uint64_t flush_generation;

    struct spinlock lock; /* RANK_DEVICES: what follows, and timers of lapics */
    struct seam seam;
    struct uart uart;
    struct ioapic ioapic;
    struct legacy legacy;
    struct virtio virtio;
    struct balloon balloon;

    uint64_t checked, mismatched; /* pages, as its workload reports them */
    uint64_t unknown_msr_count, unknown_port_count, unknown_mmio_count, refused_smi_count;
    uint64_t last_counters[MM_VM_COUNTER_COUNT]; /* as it ended */
};

static inline void vm_lock(struct vm *vm)
{
    spin_lock(&vm->lock);
}

static inline void vm_unlock(struct vm *vm)
{
    spin_unlock(&vm->lock);
}

/* Nobody has ended it so far. */
static inline bool vm_is_running(const struct vm *vm)
{
    return __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE) == VM_RUNNING;
}

/* It has run, or runs. */
static inline bool vm_has_started(const struct vm *vm)
{
    return vm->state == VM_RUNNING || vm->state == VM_ENDED ||
           (vm->state == VM_ENDING && vm->end != VM_END_NONE);
}

extern struct vm vm_table[CONFIG_VM_MAX];
extern unsigned vm_table_count; /* VMs configured */

/* Creates every configured VM, in order; what cannot start is REFUSED with a
 * line on the console. */
void vm_create_all(const struct boot_info *boot);

/* The VM must not run again. Only the first call has an effect; its memory is
 * given back later, by vm_reap(). Any CPU, under any lock. */
void vm_end(struct vm *vm, enum vm_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Gives back the memory of VMs that ended, as far as that is possible now: not
 * while another CPU holds state of one of their vCPUs. */
void vm_reap(void);

/* No VM runs or is being taken down. */
bool vm_all_ended(void);

/* None of its vCPUs will run again by itself or for another one. */
bool vm_is_parked(const struct vm *vm);

/* Ended by itself with status 0 and no page differed. */
bool vm_is_good(const struct vm *vm);

const char *vm_name(const struct vm *vm);
struct lapic *vm_lapic(const struct vcpu *vcpu);

/* The core's counters of the VM: now, or as they were when it ended. */
void vm_counters(struct vm *vm, uint64_t values[MM_VM_COUNTER_COUNT]);

#endif
