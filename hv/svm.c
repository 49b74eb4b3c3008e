/*
 * AMD-V: the life of a vCPU's VMCB, entering it, address-space identifiers, and
 * events.
 *
 *   loaded   the vCPU's vector registers and DR0 to DR3 are in the CPU
 *
 * A vCPU stays loaded after its exit, until another one runs. The VMCB is ordinary
 * memory: reading and changing it needs nothing to be loaded.
 *
 * ASIDs: each CPU hands out its own, one to a vCPU, until they are used up; then a
 * new generation begins, all translations are flushed, and every vCPU is given a
 * new one when it next enters. So a vCPU whose translations were revoked is flushed
 * by giving it another ASID where the CPU cannot flush one alone.
 */
#include "hv/svm.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/exception.h"
#include "hv/fpu.h"
#include "hv/guest.h"
#include "hv/mitigations.h"
#include "hv/seam.h"
#include "hv/svm_vcpu.h"
#include "hv/vm.h"
#include "lib/log.h"
#include "lib/string.h"

#define DR6_STEP (1ull << 14) /* BS */

/* The companion of a VMCB; reused. */
struct svm_block {
    struct svm svm;
    struct svm_block *next_spare;
};
static_assert(sizeof(struct svm_block) <= PAGE_SIZE, "a companion is one page");
static struct svm_block *spare_blocks;

static bool cpu_enable(void)
{
    fpu_init();
    return svm_setup();
}

/* ---- create, destroy ---------------------------------------------------------- */

static struct svm_block *block_alloc(void)
{
    struct svm_block *block = spare_blocks;
    if (block) {
        spare_blocks = block->next_spare;
        return block;
    }
    block = bootmem_alloc(PAGE_SIZE, NULL);
    if (!block)
        return NULL;
    block->svm.vmcb = bootmem_alloc(sizeof(struct vmcb), &block->svm.address);
    return block->svm.vmcb ? block : NULL;
}

static bool create(struct vcpu *vcpu)
{
    struct svm_block *block = block_alloc();
    if (!block)
        return vcpu_refuse("AMD-V: no memory for a VMCB");
    block->svm = (struct svm){ .vmcb = block->svm.vmcb, .address = block->svm.address };
    vcpu->vendor = &block->svm;
    if (!fpu_create(vcpu)) {
        block->next_spare = spare_blocks;
        spare_blocks = block;
        return vcpu_refuse("AMD-V: no memory for vector registers");
    }
    svm_state_init(vcpu);
    return true;
}

/* Its ASID is used by nobody before the next generation, which flushes all. */
static void destroy(struct vcpu *vcpu)
{
    struct svm_block *block = vcpu->vendor;
    struct cpu *cpu = cpu_this();
    if (!block)
        return;
    if (cpu->loaded == vcpu)
        cpu->loaded = NULL;
    fpu_destroy(vcpu);
    vcpu->vendor = NULL;
    block->next_spare = spare_blocks;
    spare_blocks = block;
}

/* ---- loading ------------------------------------------------------------------- */

static void registers_save(struct vcpu *vcpu)
{
    struct svm *svm = vcpu->vendor;
    svm->dr[0] = x86_read_dr0();
    svm->dr[1] = x86_read_dr1();
    svm->dr[2] = x86_read_dr2();
    svm->dr[3] = x86_read_dr3();
    fpu_save(vcpu);
}

static void registers_load(struct vcpu *vcpu)
{
    const struct svm *svm = vcpu->vendor;
    x86_write_dr0(svm->dr[0]);
    x86_write_dr1(svm->dr[1]);
    x86_write_dr2(svm->dr[2]);
    x86_write_dr3(svm->dr[3]);
    fpu_load(vcpu);
}

static void load(struct vcpu *vcpu)
{
    struct cpu *cpu = cpu_this();
    if (cpu->loaded == vcpu)
        return;
    if (cpu->loaded)
        registers_save(cpu->loaded);
    mitigations_on_switch(cpu->loaded, vcpu);
    registers_load(vcpu);
    cpu->loaded = vcpu;
}

static void unload(struct vcpu *vcpu)
{
    struct cpu *cpu = cpu_this();
    if (cpu->loaded != vcpu)
        return;
    registers_save(vcpu);
    cpu->loaded = NULL;
}

static void reset_real(struct vcpu *vcpu, uint8_t page)
{
    struct svm *svm = vcpu->vendor;
    svm->event = 0;
    svm->cr4_mce = 0;
    svm->triple_fault = false;
    svm->nmi = NMI_NONE;
    svm->generation = 0; /* its ASID went with the old control block */
    memset(vcpu->regs, 0, sizeof(vcpu->regs));
    vcpu->regs[REG_RDX] = x86_cpuid(1, 0).eax;
    svm_state_reset_real(vcpu, page);
}

/* ---- running -------------------------------------------------------------------- */

static void asid_take(struct svm *svm, struct svm_cpu *cpu)
{
    if (cpu->asid_next >= svm_config.asid_count) {
        cpu->generation++;
        cpu->asid_next = 1;
        svm->vmcb->tlb_control = TLB_FLUSH_ALL;
    }
    svm->vmcb->asid = cpu->asid_next++;
    svm->generation = cpu->generation;
    svm->cpu = cpu_this()->index;
}

/* Between guest_enter() and the entry: P3, hv/guest.h. Translations are tagged by
 * vCPU here, so that each vCPU remembers for itself; on another CPU it gets another
 * ASID. */
static void flush_if_revoked(struct vcpu *vcpu)
{
    struct svm *svm = vcpu->vendor;
    struct svm_cpu *cpu = svm_cpu_this();
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t generation = __atomic_load_n(&vcpu->vm->flush_generation, __ATOMIC_ACQUIRE);
    bool flush = svm->flush_needed || svm->flush_seen != generation;
    bool owned = svm->generation == cpu->generation && svm->cpu == cpu_this()->index;
    svm->vmcb->tlb_control = TLB_KEEP;
    if (!owned || (flush && !(svm_config.features & SVM_FEATURE_FLUSH)))
        asid_take(svm, cpu);
    else if (flush)
        svm->vmcb->tlb_control = TLB_FLUSH_ASID;
    svm->flush_needed = false;
    svm->flush_seen = generation;
}

/* A virtual interrupt that is pending but intercepted: its exit says that the
 * guest could take one (15.21.4). */
static void window_ask(struct vmcb *vmcb, bool on)
{
    const uint64_t bits = VIRQ_PENDING | VIRQ_PRIORITY_HIGH | VIRQ_IGNORE_TPR;
    vmcb->intercept3 &= ~INTERCEPT_VINTR;
    vmcb->virtual_interrupt &= ~bits;
    if (on) {
        vmcb->intercept3 |= INTERCEPT_VINTR;
        vmcb->virtual_interrupt |= bits;
    }
}

static void run(struct vcpu *vcpu)
{
    struct svm *svm = vcpu->vendor;
    struct vmcb *vmcb = svm->vmcb;
    vcpu->exit = (struct vcpu_exit){ .kind = EXIT_TRIPLE_FAULT };
    if (svm->triple_fault)
        return;
    load(vcpu);
    vmcb->event = svm->event;
    svm->event = 0;
    vmcb->rax = vcpu->regs[REG_RAX];
    vmcb->cr2 = vcpu->cr2;
    guest_enter(vcpu);
    flush_if_revoked(vcpu);
    mitigations_before_entry();
    svm_enter(vcpu->regs, svm->address.v, svm_cpu_this()->host_vmcb.v);
    guest_leave();
    vcpu->regs[REG_RAX] = vmcb->rax;
    vcpu->cr2 = vmcb->cr2;
    svm_exit_decode(vcpu);
    if (vcpu->exit.kind == EXIT_WINDOW)
        window_ask(vmcb, false);
}

/* ---- events --------------------------------------------------------------------- */

/* Moves past the instruction. A trap flag that was set before it raises its debug
 * exception afterwards. */
void svm_skip(struct vcpu *vcpu)
{
    struct svm *svm = vcpu->vendor;
    struct vmcb *vmcb = svm->vmcb;
    vmcb->rip += vcpu->exit.length;
    if (!(vmcb->cs.attributes & SEGMENT_LONG) || !(vmcb->efer & EFER_LMA))
        vmcb->rip = (uint32_t)vmcb->rip;
    vmcb->shadow &= ~SHADOW_ACTIVE;
    if ((vmcb->rflags & RFLAGS_TF) && !svm->event) {
        vmcb->dr6 |= DR6_STEP;
        svm->event = EVENT_VALID | EVENT_TYPE_EXCEPTION << 8 | VECTOR_DB;
    }
}

static void inject(struct vcpu *vcpu, uint8_t vector, bool exception, bool has_error,
                   uint32_t error)
{
    struct svm *svm = vcpu->vendor;
    unsigned type = !exception             ? EVENT_TYPE_INTERRUPT
                    : vector == VECTOR_NMI ? EVENT_TYPE_NMI
                                           : EVENT_TYPE_EXCEPTION;
    if (exception && svm->event && EVENT_TYPE(svm->event) == EVENT_TYPE_INTERRUPT)
        seam_interrupt_return(vcpu, EVENT_VECTOR(svm->event));
    if (exception && svm->event && EVENT_TYPE(svm->event) == EVENT_TYPE_EXCEPTION) {
        enum exception_outcome outcome = exception_meets(EVENT_VECTOR(svm->event), vector);
        if (outcome == EXCEPTION_TRIPLE_FAULT)
            svm->triple_fault = true;
        if (outcome == EXCEPTION_DOUBLE_FAULT) {
            vector = VECTOR_DF;
            has_error = true;
            error = 0;
        }
    }
    /* In real mode exceptions push no error code. */
    if (has_error && !(svm->vmcb->cr0 & CR0_PE))
        has_error = false;
    if (type == EVENT_TYPE_NMI) {
        svm->nmi = NMI_HANDLED;
        svm->vmcb->intercept3 |= INTERCEPT_IRET;
    }
    svm->event = EVENT_VALID | type << 8 | vector;
    if (has_error)
        svm->event |= EVENT_ERROR_CODE | (uint64_t)error << EVENT_ERROR_SHIFT;
}

static bool can_interrupt(struct vcpu *vcpu)
{
    const struct svm *svm = vcpu->vendor;
    struct vmcb *vmcb = svm->vmcb;
    bool able = !svm->event && (vmcb->rflags & RFLAGS_IF) && !(vmcb->shadow & SHADOW_ACTIVE);
    window_ask(vmcb, !able);
    return able;
}

/* The exit comes before the IRET. The next one after it is good for an NMI; where the
 * handler has interrupts off, as the gate leaves them, the window of interrupts makes
 * one at once, when the IRET lets them in. */
static bool can_nmi(struct vcpu *vcpu)
{
    struct svm *svm = vcpu->vendor;
    struct vmcb *vmcb = svm->vmcb;
    if (svm->nmi == NMI_IRET && vmcb->rip != svm->iret_rip)
        svm->nmi = NMI_NONE;
    bool able = !svm->event && svm->nmi == NMI_NONE && !(vmcb->shadow & SHADOW_ACTIVE);
    if (!able && svm->nmi != NMI_HANDLED && !(vmcb->rflags & RFLAGS_IF))
        window_ask(vmcb, true);
    return able;
}

void svm_nmi_iret(struct vcpu *vcpu)
{
    struct svm *svm = vcpu->vendor;
    svm->vmcb->intercept3 &= ~INTERCEPT_IRET;
    svm->nmi = NMI_IRET;
    svm->iret_rip = svm->vmcb->rip;
}

const struct vcpu_ops svm_ops = {
    .name = "AMD-V",
    .cpu_enable = cpu_enable,
    .cpu_join = cpu_enable,
    .reset_real = reset_real,
    .unload = unload,
    .create = create,
    .destroy = destroy,
    .run = run,
    .get = svm_state_get,
    .set = svm_state_set,
    .skip = svm_skip,
    .inject = inject,
    .can_interrupt = can_interrupt,
    .can_nmi = can_nmi,
    .dump = svm_dump,
};
