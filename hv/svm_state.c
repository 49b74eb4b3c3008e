/*
 * The guest's state in the VMCB: what a new vCPU starts with (Xen's PVH entry:
 * 32-bit protected mode, paging off, flat segments), and reading and changing
 * single registers.
 */
#include "hv/cpu.h"
#include "hv/svm_vcpu.h"
#include "lib/string.h"

#define DR6_RESET   0xffff0ff0u
#define DR7_RESET   0x400u
#define SELECTOR_CS 0x08u
#define SELECTOR_DS 0x10u

static void controls_init(struct vmcb *vmcb, hpa_t root)
{
    /* CR4 because MCE stays on; CR8 because the local APIC is emulated. */
    vmcb->intercept_cr =
        INTERCEPT_CR_READ(4) | INTERCEPT_CR_WRITE(4) | INTERCEPT_CR_READ(8) | INTERCEPT_CR_WRITE(8);
    /* #DB and #AC because a guest can make their delivery raise them again without
     * end; they are handed on one at a time. */
    vmcb->intercept_exceptions = 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC;
    vmcb->intercept3 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_CR0_SEL | INTERCEPT_RDPMC |
                       INTERCEPT_CPUID | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA |
                       INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_TASK | INTERCEPT_FERR |
                       INTERCEPT_SHUTDOWN;
    vmcb->intercept4 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
                       INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_RDTSCP |
                       INTERCEPT_WBINVD | INTERCEPT_MONITOR | INTERCEPT_MWAIT |
                       INTERCEPT_MWAIT_COND | INTERCEPT_XSETBV;
    vmcb->iopm = svm_config.iopm.v;
    vmcb->msrpm = svm_config.msrpm.v;
    vmcb->virtual_interrupt = VIRQ_MASKING;
    vmcb->np_enable = NP_ENABLE;
    vmcb->nested_cr3 = root.v;
}

static struct vmcb_segment segment(uint16_t selector, uint16_t attributes, uint32_t limit)
{
    return (struct vmcb_segment){ .selector = selector, .attributes = attributes, .limit = limit };
}

static void segments_init(struct vmcb *vmcb)
{
    vmcb->cs = segment(SELECTOR_CS, SEGMENT_CODE_32, UINT32_MAX);
    vmcb->es = vmcb->ss = vmcb->ds = vmcb->fs = vmcb->gs =
        segment(SELECTOR_DS, SEGMENT_DATA_32, UINT32_MAX);
    vmcb->ldtr = segment(0, SEGMENT_LDT, 0);
    vmcb->tr = segment(0, SEGMENT_TSS_BUSY, 0x67);
}

void svm_state_init(struct vcpu *vcpu)
{
    struct vmcb *vmcb = svm_vmcb(vcpu);
    memset(vmcb, 0, sizeof(*vmcb));
    controls_init(vmcb, mm_vm_root(vcpu->mm.vm));
    segments_init(vmcb);
    vmcb->cr0 = CR0_PE | CR0_ET;
    vmcb->cr4 = CR4_MCE;
    vmcb->efer = EFER_SVME;
    vmcb->pat = CPU_PAT_DEFAULT;
    vmcb->dr6 = DR6_RESET;
    vmcb->dr7 = DR7_RESET;
    vmcb->rflags = RFLAGS_FIXED;
}

/* APM volume 2, table 14-1, and 15.27.8 for CS. CD and NW stay off: they would be
 * no use to anybody. */
void svm_state_reset_real(struct vcpu *vcpu, uint8_t page)
{
    struct vmcb *vmcb = svm_vmcb(vcpu);
    svm_state_init(vcpu);
    vmcb->cs = segment((uint16_t)(page << 8), SEGMENT_CODE_REAL, 0xffff);
    vmcb->cs.base = (uint64_t)page << 12;
    vmcb->es = vmcb->ss = vmcb->ds = vmcb->fs = vmcb->gs = segment(0, SEGMENT_DATA_REAL, 0xffff);
    vmcb->gdtr.limit = vmcb->idtr.limit = 0xffff;
    vmcb->cr0 = CR0_ET;
}

/* States that are one 64-bit field of the VMCB. */
#define FIELD(name) offsetof(struct vmcb, name)
static const uint16_t fields[STATE_COUNT] = {
    [STATE_RIP] = FIELD(rip),
    [STATE_RSP] = FIELD(rsp),
    [STATE_RFLAGS] = FIELD(rflags),
    [STATE_CR0] = FIELD(cr0),
    [STATE_CR3] = FIELD(cr3),
    [STATE_CS_BASE] = FIELD(cs.base),
    [STATE_SS_BASE] = FIELD(ss.base),
    [STATE_DS_BASE] = FIELD(ds.base),
    [STATE_ES_BASE] = FIELD(es.base),
    [STATE_FS_BASE] = FIELD(fs.base),
    [STATE_GS_BASE] = FIELD(gs.base),
    [STATE_KERNEL_GS_BASE] = FIELD(kernel_gs_base),
    [STATE_STAR] = FIELD(star),
    [STATE_LSTAR] = FIELD(lstar),
    [STATE_CSTAR] = FIELD(cstar),
    [STATE_SFMASK] = FIELD(sfmask),
    [STATE_SYSENTER_CS] = FIELD(sysenter_cs),
    [STATE_SYSENTER_ESP] = FIELD(sysenter_esp),
    [STATE_SYSENTER_EIP] = FIELD(sysenter_eip),
    [STATE_PAT] = FIELD(pat),
    [STATE_GDTR_BASE] = FIELD(gdtr.base),
    [STATE_IDTR_BASE] = FIELD(idtr.base),
    [STATE_TSC_OFFSET] = FIELD(tsc_offset),
};

static uint64_t *field(struct vmcb *vmcb, enum vcpu_state what)
{
    return (uint64_t *)((uint8_t *)vmcb + fields[what]);
}

uint64_t svm_state_get(struct vcpu *vcpu, enum vcpu_state what)
{
    const struct svm *svm = vcpu->vendor;
    struct vmcb *vmcb = svm->vmcb;
    switch (what) {
    case STATE_CS_ATTR:
        return (vmcb->cs.attributes & 0xffu) | (vmcb->cs.attributes & 0xf00u) << 4;
    case STATE_CR4:
        return (vmcb->cr4 & ~CR4_MCE) | svm->cr4_mce;
    case STATE_EFER:
        return vmcb->efer & ~EFER_SVME;
    case STATE_CPL:
        return vmcb->cpl;
    default:
        ensure(fields[what]);
        return *field(vmcb, what);
    }
}

static void efer_set(struct vmcb *vmcb, uint64_t value)
{
    value &= ~EFER_LMA;
    if ((value & EFER_LME) && (vmcb->cr0 & CR0_PG))
        value |= EFER_LMA;
    vmcb->efer = value | EFER_SVME;
}

void svm_state_set(struct vcpu *vcpu, enum vcpu_state what, uint64_t value)
{
    struct svm *svm = vcpu->vendor;
    struct vmcb *vmcb = svm->vmcb;
    switch (what) {
    case STATE_CR4:
        svm->cr4_mce = value & CR4_MCE;
        vmcb->cr4 = value | CR4_MCE;
        break;
    case STATE_EFER:
        efer_set(vmcb, value);
        break;
    case STATE_CR0:
        vmcb->cr0 = value;
        efer_set(vmcb, vmcb->efer);
        break;
    default:
        ensure(fields[what]);
        *field(vmcb, what) = value;
    }
}
