/*
 * The one seam of a VM through which it learns of time and is given events, so
 * that a recorder can sit there later. Device models take time from here only,
 * and whoever injects an interrupt or exception does it here.
 */
#ifndef HV_SEAM_H
#define HV_SEAM_H

#include "lib/types.h"

struct vm;
struct vcpu;

struct seam {
    uint64_t time_count, interrupt_count, exception_count;
};

/* Time as devices of the VM see it, ns. */
uint64_t seam_now_ns(struct vm *vm);
/* Time stamp counter as the vCPU reads it. */
uint64_t seam_tsc(struct vcpu *vcpu);
void seam_set_tsc(struct vcpu *vcpu, uint64_t value);
/* IA32_TSC_ADJUST: what software has added to the counter so far. */
void seam_set_tsc_adjust(struct vcpu *vcpu, uint64_t value);

void seam_interrupt(struct vcpu *vcpu, uint8_t vector);
/* An interrupt whose delivery the CPU began and an exception cut short: it is
 * requested again, as if the CPU had not accepted it. (Exceptions on top of an
 * interrupt are handled one after the other: SDM volume 3, table 6-5.) */
void seam_interrupt_return(struct vcpu *vcpu, uint8_t vector);
/* Only when can_nmi(). */
void seam_nmi(struct vcpu *vcpu);
void seam_exception(struct vcpu *vcpu, uint8_t vector, bool has_error, uint32_t error);
void seam_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error);

#endif
