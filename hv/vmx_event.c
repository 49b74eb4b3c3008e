/*
 * VT-x: events on their way into a guest (SDM volume 3, 26.6), and moving past an
 * instruction that was carried out for it. The VMCS is made current where it may not
 * be.
 */
#include "hv/cpu.h"
#include "hv/exception.h"
#include "hv/seam.h"
#include "hv/vmx_vcpu.h"

void vmx_event_deliver(struct vmx *vmx)
{
    if (!vmx->event)
        return;
    vmwrite(VMCS_ENTRY_EVENT, vmx->event);
    if (vmx->event & EVENT_ERROR_CODE)
        vmwrite(VMCS_ENTRY_ERROR_CODE, vmx->event_error);
    if (EVENT_TYPE(vmx->event) >= EVENT_TYPE_SOFT_INT)
        vmwrite(VMCS_ENTRY_LENGTH, vmx->event_length);
    vmx->event = 0;
}

void vmx_proc_set(struct vmx *vmx, uint32_t proc)
{
    if (vmx->proc == proc)
        return;
    vmx->proc = proc;
    vmwrite(VMCS_PROC_CONTROLS, proc);
}

/* Moves past the instruction. A trap flag that was set before it has its debug
 * exception pending afterwards (SDM volume 3, 24.4.2). */
void vmx_skip(struct vcpu *vcpu)
{
    assert(cpu_this()->current == vcpu); /* it has just exited */
    uint64_t old = vmread(VMCS_GUEST_RIP), rip = old + vcpu->exit.length;
    /* 32-bit code wraps at 4 GiB, where 64-bit code has nothing to go wrong. */
    if ((rip ^ old) >> 32 && !(vmread(VMCS_GUEST_CS_RIGHTS) & RIGHTS_LONG))
        rip = (uint32_t)rip;
    vmwrite(VMCS_GUEST_RIP, rip);
    uint64_t blocking = vmread(VMCS_GUEST_BLOCKING);
    if (blocking & (BLOCKING_STI | BLOCKING_MOV_SS))
        vmwrite(VMCS_GUEST_BLOCKING, blocking & ~(uint64_t)(BLOCKING_STI | BLOCKING_MOV_SS));
    if (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_TF)
        vmwrite(VMCS_GUEST_PENDING_DEBUG, vmread(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

void vmx_inject(struct vcpu *vcpu, uint8_t vector, bool exception, bool has_error, uint32_t error)
{
    struct vmx *vmx = vcpu->vendor;
    vmx_make_current(vcpu);
    uint32_t type = !exception             ? EVENT_TYPE_INTERRUPT
                    : vector == VECTOR_NMI ? EVENT_TYPE_NMI
                                           : EVENT_TYPE_EXCEPTION;
    if (exception && vmx->event && EVENT_TYPE(vmx->event) == EVENT_TYPE_INTERRUPT)
        seam_interrupt_return(vcpu, EVENT_VECTOR(vmx->event));
    if (exception && vmx->event && EVENT_TYPE(vmx->event) == EVENT_TYPE_EXCEPTION) {
        enum exception_outcome outcome = exception_meets(EVENT_VECTOR(vmx->event), vector);
        if (outcome == EXCEPTION_TRIPLE_FAULT)
            vmx->triple_fault = true;
        if (outcome == EXCEPTION_DOUBLE_FAULT) {
            vector = VECTOR_DF;
            has_error = true;
            error = 0;
        }
    }
    /* In real mode exceptions push no error code (26.2.1.3). */
    if (has_error && !(vmread(VMCS_GUEST_CR0) & CR0_PE))
        has_error = false;
    vmx->event = EVENT_VALID | type << 8 | vector | (has_error ? EVENT_ERROR_CODE : 0);
    vmx->event_error = error;
}

bool vmx_can_interrupt(struct vcpu *vcpu)
{
    struct vmx *vmx = vcpu->vendor;
    vmx_make_current(vcpu);
    bool able = !vmx->event && (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) &&
                !(vmread(VMCS_GUEST_BLOCKING) & (BLOCKING_STI | BLOCKING_MOV_SS));
    vmx_proc_set(vmx,
                 able ? vmx->proc & ~PROC_INTERRUPT_WINDOW : vmx->proc | PROC_INTERRUPT_WINDOW);
    return able;
}

/* 26.3.1.5; some processors do not inject under STI's shadow either. */
bool vmx_can_nmi(struct vcpu *vcpu)
{
    struct vmx *vmx = vcpu->vendor;
    vmx_make_current(vcpu);
    bool able = !vmx->event &&
                !(vmread(VMCS_GUEST_BLOCKING) & (BLOCKING_STI | BLOCKING_MOV_SS | BLOCKING_NMI));
    vmx_proc_set(vmx, able ? vmx->proc & ~PROC_NMI_WINDOW : vmx->proc | PROC_NMI_WINDOW);
    return able;
}
