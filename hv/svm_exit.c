/*
 * An exit in neutral words: vcpu->exit, from the exit code and EXITINFO1 and 2 of
 * the VMCB (APM volume 2, 15.7 to 15.14, 15.25.6, appendix C).
 *
 * Also taken care of here, so that exit.c need not know: events whose delivery was
 * cut short are queued again, and #DB and #AC are handed on to the guest.
 */
#include "hv/fpu.h"
#include "hv/seam.h"
#include "hv/svm_vcpu.h"
#include "hv/vm.h"
#include "lib/log.h"
#include "lib/string.h"

#define VECTOR_BP 3u
#define VECTOR_OF 4u

const char *svm_exit_name(uint64_t code)
{
#define NAME(number, name) { number, #name },
    static const struct {
        uint32_t code;
        const char *name;
    } names[] = { SVM_EXITS(NAME) };
#undef NAME
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].code == code)
            return names[i].name;
    return (uint32_t)code == SVM_EXIT_INVALID ? "INVALID" : "?";
}

/* 15.7.2. What an instruction asked for (INT, INT3, INTO) is not queued: RIP is
 * still at it, and the guest executes it again. */
static void event_keep(struct svm *svm)
{
    uint64_t event = svm->vmcb->exit_event;
    svm->event = 0;
    if (!(event & EVENT_VALID) || EVENT_TYPE(event) == EVENT_TYPE_SOFT_INT)
        return;
    bool of_instruction = EVENT_VECTOR(event) == VECTOR_BP || EVENT_VECTOR(event) == VECTOR_OF;
    if (EVENT_TYPE(event) == EVENT_TYPE_EXCEPTION && of_instruction)
        return;
    svm->event = event;
}

/* ---- kinds of exits -------------------------------------------------------------------- */

/* 15.21.1: the interrupt is still pending in the CPU; our own handler records it. */
static void decode_interrupt(struct vcpu *vcpu)
{
    (void)vcpu;
    __asm__ volatile("sti; nop; cli" : : : "memory");
}

/* DR6 and DR7 in the VMCB are what the handler is to see (15.12.2). */
static void decode_exception(struct vcpu *vcpu)
{
    const struct vmcb *vmcb = svm_vmcb(vcpu);
    bool has_error = vmcb->exit_code == SVM_EXIT_EXCEPTION_AC;
    vcpu->exit.vector = (uint8_t)(vmcb->exit_code - SVM_EXIT_EXCEPTION_DB + VECTOR_DB);
    vcpu->exit.error_code = has_error ? (uint32_t)vmcb->exit_info1 : 0;
    seam_exception(vcpu, vcpu->exit.vector, has_error, vcpu->exit.error_code);
}

static void decode_nested_fault(struct vcpu *vcpu)
{
    const struct vmcb *vmcb = svm_vmcb(vcpu);
    uint64_t q = vmcb->exit_info1;
    vcpu->exit.gpa = gpa(vmcb->exit_info2);
    vcpu->exit.access = q & NPF_WRITE ? MM_WRITE : q & NPF_FETCH ? MM_EXEC : MM_READ;
    vcpu->exit.during_walk = q & NPF_WALK;
    if (q & NPF_RESERVED)
        vcpu->exit.kind = EXIT_NESTED_BAD;
    if (svm_config.features & SVM_FEATURE_DECODE) {
        vcpu->exit.byte_count = vmcb->byte_count & 15;
        memcpy(vcpu->exit.bytes, vmcb->bytes, sizeof(vcpu->exit.bytes));
    }
}

static void decode_io(struct vcpu *vcpu)
{
    const struct vmcb *vmcb = svm_vmcb(vcpu);
    uint32_t q = (uint32_t)vmcb->exit_info1;
    vcpu->exit.port = IOIO_PORT(q);
    vcpu->exit.size = IOIO_SIZE(q);
    vcpu->exit.write = !(q & IOIO_IN);
    vcpu->exit.string = q & IOIO_STRING;
    vcpu->exit.rep = q & IOIO_REP;
    svm_length_from(vcpu, vmcb->exit_info2);
}

static void decode_msr(struct vcpu *vcpu)
{
    bool write = svm_vmcb(vcpu)->exit_info1 & MSR_IS_WRITE;
    vcpu->exit.kind = write ? EXIT_MSR_WRITE : EXIT_MSR_READ;
    svm_length_find(vcpu, write ? DECODE_WRMSR : DECODE_RDMSR, 0);
}

/* Leaf 0Dh tells what XCR0 selects. */
static void decode_cpuid(struct vcpu *vcpu)
{
    fpu_xcr0_look(vcpu);
    svm_length_find(vcpu, DECODE_CPUID, 0);
}

static void decode_hlt(struct vcpu *vcpu)
{
    svm_length_find(vcpu, DECODE_HLT, 0);
}

static void decode_xsetbv(struct vcpu *vcpu)
{
    svm_length_find(vcpu, DECODE_XSETBV, 0);
}

static void decode_cache(struct vcpu *vcpu)
{
    svm_length_find(vcpu, DECODE_INVD, DECODE_WBINVD);
}

/* Which general register: EXITINFO1 has it only with decode assists, so the
 * instruction is always looked at. */
static void decode_cr8(struct vcpu *vcpu)
{
    struct decoded_system d;
    vcpu->exit.cr = 8;
    vcpu->exit.write = svm_vmcb(vcpu)->exit_code == SVM_EXIT_CR8_WRITE;
    if (!svm_instruction_find(vcpu, vcpu->exit.write ? DECODE_CR_WRITE : DECODE_CR_READ, 0, &d))
        return;
    vcpu->exit.reg = d.reg;
    vcpu->exit.length = d.length;
}

static void decode_cr(struct vcpu *vcpu)
{
    struct decoded_system d;
    uint64_t code = svm_vmcb(vcpu)->exit_code, value;
    vcpu->exit.write = code != SVM_EXIT_CR4_READ;
    vcpu->exit.cr = code == SVM_EXIT_CR0_SEL_WRITE ? 0 : 4;
    if (!svm_instruction_find(vcpu, vcpu->exit.write ? DECODE_CR_WRITE : DECODE_CR_READ,
                              code == SVM_EXIT_CR0_SEL_WRITE ? DECODE_LMSW : 0, &d))
        return;
    if (!svm_cr_operand(vcpu, &d, &value)) {
        vcpu->exit.kind = EXIT_AGAIN;
        return;
    }
    vcpu->exit.length = d.length;
    if (svm_cr_access(vcpu, &d, value))
        svm_skip(vcpu);
    else
        seam_exception(vcpu, VECTOR_GP, true, 0);
    vcpu->exit.length = 0;
}

/* Guests have no performance counters. */
static void decode_rdpmc(struct vcpu *vcpu)
{
    vcpu->exit.vector = VECTOR_GP;
    seam_exception(vcpu, VECTOR_GP, true, 0);
}

static void decode_failed_entry(struct vcpu *vcpu)
{
    const char *rule = svm_check_entry(vcpu);
    log_warn("AMD-V: entry refused: %s", rule ? rule : "no broken rule found");
}

struct reason {
    bool known;
    enum exit_kind kind;
    void (*decode)(struct vcpu *vcpu);
};

static const struct reason reasons[SVM_EXIT_LISTED] = {
    [SVM_EXIT_CR4_READ] = { true, EXIT_CR_ACCESS, decode_cr },
    [SVM_EXIT_CR8_READ] = { true, EXIT_CR_ACCESS, decode_cr8 },
    [SVM_EXIT_CR4_WRITE] = { true, EXIT_CR_ACCESS, decode_cr },
    [SVM_EXIT_CR8_WRITE] = { true, EXIT_CR_ACCESS, decode_cr8 },
    [SVM_EXIT_CR0_SEL_WRITE] = { true, EXIT_CR_ACCESS, decode_cr },
    [SVM_EXIT_EXCEPTION_DB] = { true, EXIT_EXCEPTION, decode_exception },
    [SVM_EXIT_EXCEPTION_AC] = { true, EXIT_EXCEPTION, decode_exception },
    [SVM_EXIT_EXCEPTION_MC] = { true, EXIT_MACHINE_CHECK, NULL },
    [SVM_EXIT_INTR] = { true, EXIT_INTERRUPT, decode_interrupt },
    [SVM_EXIT_NMI] = { true, EXIT_NMI, NULL }, /* taken at STGI */
    [SVM_EXIT_VINTR] = { true, EXIT_WINDOW, NULL },
    [SVM_EXIT_RDPMC] = { true, EXIT_EXCEPTION, decode_rdpmc },
    [SVM_EXIT_CPUID] = { true, EXIT_CPUID, decode_cpuid },
    [SVM_EXIT_IRET] = { true, EXIT_AGAIN, svm_nmi_iret },
    [SVM_EXIT_INVD] = { true, EXIT_CACHE, decode_cache },
    [SVM_EXIT_HLT] = { true, EXIT_HLT, decode_hlt },
    [SVM_EXIT_INVLPGA] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_IOIO] = { true, EXIT_IO, decode_io },
    [SVM_EXIT_MSR] = { true, EXIT_MSR_READ, decode_msr },
    [SVM_EXIT_TASK_SWITCH] = { true, EXIT_TASK_SWITCH, NULL },
    [SVM_EXIT_SHUTDOWN] = { true, EXIT_TRIPLE_FAULT, NULL },
    [SVM_EXIT_VMRUN] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_VMMCALL] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_VMLOAD] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_VMSAVE] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_STGI] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_CLGI] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_SKINIT] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_RDTSCP] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_WBINVD] = { true, EXIT_CACHE, decode_cache },
    [SVM_EXIT_MONITOR] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_MWAIT] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_MWAIT_CONDITIONAL] = { true, EXIT_UNDEFINED, NULL },
    [SVM_EXIT_XSETBV] = { true, EXIT_XSETBV, decode_xsetbv },
};

static struct reason reason_of(uint64_t code)
{
    if (code < SVM_EXIT_LISTED && reasons[code].known)
        return reasons[code];
    if (code == SVM_EXIT_NPF)
        return (struct reason){ true, EXIT_NESTED_FAULT, decode_nested_fault };
    if ((uint32_t)code == SVM_EXIT_INVALID)
        return (struct reason){ true, EXIT_ENTRY_FAILED, decode_failed_entry };
    return (struct reason){ true, EXIT_UNKNOWN, NULL };
}

void svm_exit_decode(struct vcpu *vcpu)
{
    const struct vmcb *vmcb = svm_vmcb(vcpu);
    struct reason reason = reason_of(vmcb->exit_code);
    vcpu->exit.raw = vmcb->exit_code;
    vcpu->exit.kind = reason.kind;
    event_keep(vcpu->vendor);
    if (reason.decode)
        reason.decode(vcpu);
}
