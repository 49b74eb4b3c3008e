/*
 * An exit in neutral words: vcpu->exit, from the exit-information fields of the
 * VMCS (SDM volume 3, 24.9 and 27.2).
 *
 * Also taken care of here, so that exit.c need not know: events whose delivery
 * was cut short are queued again, #DB and #AC are handed on to the guest, and
 * NMI blocking that a faulting IRET had lifted is put back.
 */
#include "hv/seam.h"
#include "hv/vmx_vcpu.h"
#include "lib/log.h"

/* Of an event field, what an entry accepts again: valid, error-code bit, type,
 * vector. */
#define EVENT_REUSABLE 0x80000fffu

const char *vmx_exit_reason_name(uint32_t reason)
{
#define NAME(number, name) [number] = #name,
    static const char *const names[REASON_COUNT] = { VMX_EXIT_REASONS(NAME) };
#undef NAME
    reason &= 0xffffu;
    return reason < REASON_COUNT && names[reason] ? names[reason] : "?";
}

/* Instructions that exit often: none of them is executed while an event is being
 * delivered (27.2.4). */
#define NEVER_VECTORING                                                                            \
    (1ull << REASON_CPUID | 1ull << REASON_HLT | 1ull << REASON_IO | 1ull << REASON_RDMSR |        \
     1ull << REASON_WRMSR | 1ull << REASON_CR_ACCESS | 1ull << REASON_PAUSE)

static void event_keep(struct vmx *vmx, uint32_t reason)
{
    vmx->event = 0;
    if (reason < 64 && (NEVER_VECTORING >> reason & 1))
        return;
    uint32_t event = (uint32_t)vmread(VMCS_VECTORING_EVENT);
    if (!(event & EVENT_VALID))
        return;
    vmx->event = event & EVENT_REUSABLE;
    if (event & EVENT_ERROR_CODE)
        vmx->event_error = (uint32_t)vmread(VMCS_VECTORING_ERROR_CODE);
    if (EVENT_TYPE(event) >= EVENT_TYPE_SOFT_INT)
        vmx->event_length = (uint32_t)vmread(VMCS_EXIT_LENGTH);
    if (EVENT_TYPE(event) == EVENT_TYPE_NMI)
        vmwrite(VMCS_GUEST_BLOCKING, vmread(VMCS_GUEST_BLOCKING) & ~(uint64_t)BLOCKING_NMI);
}

/* 27.2.3: the exit came from an IRET that had unblocked NMIs. */
static void nmi_block_again(const struct vmx *vmx, bool unblocked)
{
    if (unblocked && !vmx->event)
        vmwrite(VMCS_GUEST_BLOCKING, vmread(VMCS_GUEST_BLOCKING) | BLOCKING_NMI);
}

static void debug_hand_on(void)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    x86_write_dr6(x86_read_dr6() | (qualification & DEBUG_QUALIFICATION_DR6));
    /* General detect clears itself before the handler runs. */
    vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~(1ull << 13));
    /* 26.3.1.5: with the trap flag set under a shadow, a step must be pending. */
    if ((vmread(VMCS_GUEST_RFLAGS) & RFLAGS_TF) &&
        (vmread(VMCS_GUEST_BLOCKING) & (BLOCKING_STI | BLOCKING_MOV_SS)))
        vmwrite(VMCS_GUEST_PENDING_DEBUG, vmread(VMCS_GUEST_PENDING_DEBUG) | PENDING_DEBUG_BS);
}

static void decode_exception(struct vcpu *vcpu)
{
    struct vmx *vmx = vcpu->vendor;
    uint32_t event = (uint32_t)vmread(VMCS_EXIT_EVENT);
    vcpu->exit.vector = EVENT_VECTOR(event);
    if (EVENT_TYPE(event) == EVENT_TYPE_NMI) {
        /* Our own handler counts it, and its IRET lets NMIs in again. */
        __asm__ volatile("int $2" : : : "memory");
        vcpu->exit.kind = EXIT_NMI;
        return;
    }
    if (vcpu->exit.vector == VECTOR_MC) {
        vcpu->exit.kind = EXIT_MACHINE_CHECK;
        return;
    }
    nmi_block_again(vmx, event & EVENT_NMI_UNBLOCKED);
    if (event & EVENT_ERROR_CODE)
        vcpu->exit.error_code = (uint32_t)vmread(VMCS_EXIT_ERROR_CODE);
    if (vcpu->exit.vector == VECTOR_DB)
        debug_hand_on();
    if (EVENT_TYPE(event) == EVENT_TYPE_PRIV_TRAP) { /* INT1 has a length of its own */
        vmx->event = event & EVENT_REUSABLE;
        vmx->event_length = (uint32_t)vmread(VMCS_EXIT_LENGTH);
        return;
    }
    seam_exception(vcpu, vcpu->exit.vector, event & EVENT_ERROR_CODE, vcpu->exit.error_code);
}

static void decode_nested_fault(struct vcpu *vcpu)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    vcpu->exit.gpa = gpa(vmread(VMCS_GUEST_PHYSICAL));
    vcpu->exit.access = (q & EPT_QUALIFICATION_READ ? MM_READ : 0) |
                        (q & EPT_QUALIFICATION_WRITE ? MM_WRITE : 0) |
                        (q & EPT_QUALIFICATION_FETCH ? MM_EXEC : 0);
    vcpu->exit.during_walk =
        (q & EPT_QUALIFICATION_LINEAR_VALID) && !(q & EPT_QUALIFICATION_TRANSLATED);
    vcpu->exit.length = 0;
    nmi_block_again(vcpu->vendor, q & EPT_QUALIFICATION_NMI_UNBLOCKED);
}

static void decode_io(struct vcpu *vcpu)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    vcpu->exit.port = IO_QUALIFICATION_PORT(q);
    vcpu->exit.size = (uint8_t)IO_QUALIFICATION_SIZE(q);
    vcpu->exit.write = !(q & IO_QUALIFICATION_IN);
    vcpu->exit.string = q & IO_QUALIFICATION_STRING;
    vcpu->exit.rep = q & IO_QUALIFICATION_REP;
}

static void decode_interrupt(struct vcpu *vcpu)
{
    vcpu->exit.vector = EVENT_VECTOR((uint32_t)vmread(VMCS_EXIT_EVENT));
}

static void decode_cr(struct vcpu *vcpu)
{
    vmx_cr_access(vcpu, vmread(VMCS_EXIT_QUALIFICATION));
}

static void decode_nested_bad(struct vcpu *vcpu)
{
    vcpu->exit.gpa = gpa(vmread(VMCS_GUEST_PHYSICAL));
    vcpu->exit.length = 0;
}

/* Guests have no performance counters. */
static void decode_rdpmc(struct vcpu *vcpu)
{
    vcpu->exit.vector = VECTOR_GP;
    seam_exception(vcpu, VECTOR_GP, true, 0);
}

static const struct {
    bool known;
    enum exit_kind kind;
    void (*decode)(struct vcpu *vcpu);
} reasons[REASON_COUNT] = {
    [REASON_EXCEPTION_NMI] = { true, EXIT_EXCEPTION, decode_exception },
    [REASON_EXTERNAL_INTERRUPT] = { true, EXIT_INTERRUPT, decode_interrupt },
    [REASON_TRIPLE_FAULT] = { true, EXIT_TRIPLE_FAULT, NULL },
    [REASON_INTERRUPT_WINDOW] = { true, EXIT_WINDOW, NULL },
    [REASON_NMI_WINDOW] = { true, EXIT_WINDOW, NULL },
    [REASON_TASK_SWITCH] = { true, EXIT_TASK_SWITCH, NULL },
    [REASON_CPUID] = { true, EXIT_CPUID, NULL },
    [REASON_GETSEC] = { true, EXIT_UNDEFINED, NULL },
    [REASON_HLT] = { true, EXIT_HLT, NULL },
    [REASON_INVD] = { true, EXIT_CACHE, NULL },
    [REASON_RDPMC] = { true, EXIT_EXCEPTION, decode_rdpmc },
    [REASON_VMCALL] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMCLEAR] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMLAUNCH] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMPTRLD] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMPTRST] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMREAD] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMRESUME] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMWRITE] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMXOFF] = { true, EXIT_UNDEFINED, NULL },
    [REASON_VMXON] = { true, EXIT_UNDEFINED, NULL },
    [REASON_CR_ACCESS] = { true, EXIT_CR_ACCESS, decode_cr },
    [REASON_IO] = { true, EXIT_IO, decode_io },
    [REASON_RDMSR] = { true, EXIT_MSR_READ, NULL },
    [REASON_WRMSR] = { true, EXIT_MSR_WRITE, NULL },
    [REASON_MWAIT] = { true, EXIT_UNDEFINED, NULL },
    [REASON_MONITOR] = { true, EXIT_UNDEFINED, NULL },
    [REASON_PAUSE] = { true, EXIT_PAUSE, NULL },
    [REASON_EPT_VIOLATION] = { true, EXIT_NESTED_FAULT, decode_nested_fault },
    [REASON_EPT_MISCONFIGURATION] = { true, EXIT_NESTED_BAD, decode_nested_bad },
    [REASON_INVEPT] = { true, EXIT_UNDEFINED, NULL },
    [REASON_PREEMPTION_TIMER] = { true, EXIT_TIMER, NULL },
    [REASON_INVVPID] = { true, EXIT_UNDEFINED, NULL },
    [REASON_WBINVD] = { true, EXIT_CACHE, NULL },
    [REASON_XSETBV] = { true, EXIT_XSETBV, NULL },
    [REASON_VMFUNC] = { true, EXIT_UNDEFINED, NULL },
};

/* An entry that failed at the guest's state or while loading MSRs (26.7): the
 * guest did not run. */
static void decode_failed_entry(struct vcpu *vcpu, uint32_t reason)
{
    const char *rule = vmx_check_entry();
    if ((reason & 0xffff) == REASON_ENTRY_MACHINE_CHECK) {
        vcpu->exit.kind = EXIT_MACHINE_CHECK;
        return;
    }
    vcpu->exit.kind = EXIT_ENTRY_FAILED;
    log_warn("VT-x: entry failed: %s: %s", vmx_exit_reason_name(reason),
             rule ? rule : "no broken rule found");
}

void vmx_exit_decode(struct vcpu *vcpu)
{
    uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
    uint32_t basic = reason & 0xffff;
    vcpu->exit.raw = reason;
    if (reason & EXIT_REASON_ENTRY_FAILED) {
        decode_failed_entry(vcpu, reason);
        return;
    }
    event_keep(vcpu->vendor, basic);
    vcpu->exit.kind = EXIT_UNKNOWN;
    if (basic >= REASON_COUNT || !reasons[basic].known)
        return;
    vcpu->exit.kind = reasons[basic].kind;
    vcpu->exit.length = (uint8_t)vmread(VMCS_EXIT_LENGTH);
    if (reasons[basic].decode)
        reasons[basic].decode(vcpu);
}
