/*
 * A guest's local APIC in xAPIC mode: Intel SDM volume 3, chapter 11 ("Advanced
 * Programmable Interrupt Controller"). One page of 32-bit registers, 16 bytes
 * apart. Its timer runs at GUEST_LAPIC_HZ divided by the divide configuration.
 *
 * Invariants: isr and irr hold vectors 16-255 only; the timer's deadline is armed
 * only while a count is running.
 *
 * Locks: registers and the timer, the VM's lock. Requests come from any CPU without
 * it: irr, tmr and esr change by atomic exchanges, and isr and tpr are the vCPU's own,
 * so that delivering an interrupt takes no lock.
 */
#ifndef HV_DEV_LAPIC_H
#define HV_DEV_LAPIC_H

#include "hv/timer.h"
#include "lib/types.h"

struct vcpu;

#define GUEST_LAPIC_HZ 25000000u /* told to the guest in CPUID leaf 0x15 */
/* A periodic timer fires at most this often, however short its period is. */
#define LAPIC_PERIOD_MIN_NS 50000u

#define LAPIC_ESR_SEND_ILLEGAL     (1u << 5)
#define LAPIC_ESR_RECEIVED_ILLEGAL (1u << 6)

enum lapic_lvt {
    LAPIC_LVT_TIMER,
    LAPIC_LVT_THERMAL,
    LAPIC_LVT_PERFORMANCE,
    LAPIC_LVT_LINT0,
    LAPIC_LVT_LINT1,
    LAPIC_LVT_ERROR,
    LAPIC_LVT_COUNT
};

struct lapic {
    uint64_t base; /* IA32_APIC_BASE */
    uint32_t id, tpr, ldr, dfr, svr, esr, icr_low, icr_high, divide;
    uint32_t lvt[LAPIC_LVT_COUNT];
    uint32_t irr[8] __attribute__((aligned(8))), isr[8], tmr[8];
    uint32_t initial_count;
    uint64_t started_at; /* seam_now_ns() when the count began */
    uint64_t expires;    /* when it ends; TIMER_NEVER: no count is running */
    struct timer timer;
    uint64_t interrupt_count;
};

void dev_lapic_init(struct vcpu *vcpu);
void dev_lapic_destroy(struct vcpu *vcpu);

/* IA32_APIC_BASE. False: the value is refused (#GP). */
bool dev_lapic_set_base(struct vcpu *vcpu, uint64_t value);
bool dev_lapic_is_enabled(const struct lapic *lapic);

uint32_t dev_lapic_read(struct vcpu *vcpu, unsigned offset);
void dev_lapic_write(struct vcpu *vcpu, unsigned offset, uint32_t value);

/* Requests an interrupt; vectors below 16 are an error the guest can read. */
void dev_lapic_request(struct vcpu *vcpu, uint8_t vector, bool level);
/* Does a message for this destination reach it? */
bool dev_lapic_accepts(const struct lapic *lapic, uint8_t destination, bool logical);

/* The vector to be delivered now by priority, or -1. */
int dev_lapic_pending(const struct lapic *lapic);
/* It has been injected: from requested to in service. */
void dev_lapic_accept(struct lapic *lapic, uint8_t vector);
/* Its delivery was cut short: from in service back to requested. */
void dev_lapic_return(struct lapic *lapic, uint8_t vector);

/* CR8 is the task priority, bits 7:4. */
uint8_t dev_lapic_cr8(const struct lapic *lapic);
void dev_lapic_set_cr8(struct lapic *lapic, uint8_t value);

/*
 * Messages between vCPUs (hv/dev_lapic_message.c): what the interrupt command
 * register holds is sent. INIT, start-up and NMI are left in vcpu->messages, for the
 * CPU that has the vCPU to carry out before its next entry.
 */
void dev_lapic_send(struct vcpu *vcpu);
/* That CPU's part: vcpu->rest and vcpu->nmi_pending as the messages want it, and
 * whatever a start-up message begins. */
void dev_lapic_take_messages(struct vcpu *vcpu);

#endif
