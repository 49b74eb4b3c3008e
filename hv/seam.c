#include "hv/seam.h"
#include "drivers/clock.h"
#include "hv/vm.h"
#include "hv/x86.h"

uint64_t seam_now_ns(struct vm *vm)
{
    __atomic_fetch_add(&vm->seam.time_count, 1, __ATOMIC_RELAXED);
    return clock_now_ns();
}

uint64_t seam_tsc(struct vcpu *vcpu)
{
    __atomic_fetch_add(&vcpu->vm->seam.time_count, 1, __ATOMIC_RELAXED);
    return x86_rdtsc() + vcpu_ops->get(vcpu, STATE_TSC_OFFSET);
}

void seam_set_tsc(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = vcpu_ops->get(vcpu, STATE_TSC_OFFSET), offset = value - x86_rdtsc();
    vcpu->tsc_adjust += offset - old; /* SDM volume 3, 18.17.3 */
    vcpu_ops->set(vcpu, STATE_TSC_OFFSET, offset);
}

void seam_set_tsc_adjust(struct vcpu *vcpu, uint64_t value)
{
    uint64_t by = value - vcpu->tsc_adjust;
    if (!by)
        return;
    vcpu->tsc_adjust = value;
    vcpu_ops->set(vcpu, STATE_TSC_OFFSET, vcpu_ops->get(vcpu, STATE_TSC_OFFSET) + by);
}

void seam_interrupt(struct vcpu *vcpu, uint8_t vector)
{
    __atomic_fetch_add(&vcpu->vm->seam.interrupt_count, 1, __ATOMIC_RELAXED);
    vcpu_ops->inject(vcpu, vector, false, false, 0);
}

void seam_interrupt_return(struct vcpu *vcpu, uint8_t vector)
{
    __atomic_fetch_sub(&vcpu->vm->seam.interrupt_count, 1, __ATOMIC_RELAXED);
    dev_lapic_return(vm_lapic(vcpu), vector);
}

void seam_nmi(struct vcpu *vcpu)
{
    __atomic_fetch_add(&vcpu->vm->seam.interrupt_count, 1, __ATOMIC_RELAXED);
    vcpu_ops->inject(vcpu, VECTOR_NMI, true, false, 0);
}

void seam_exception(struct vcpu *vcpu, uint8_t vector, bool has_error, uint32_t error)
{
    __atomic_fetch_add(&vcpu->vm->seam.exception_count, 1, __ATOMIC_RELAXED);
    vcpu_ops->inject(vcpu, vector, true, has_error, error);
}

void seam_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error)
{
    vcpu->cr2 = address;
    seam_exception(vcpu, VECTOR_PF, true, error);
}
