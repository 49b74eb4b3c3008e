/*
 * The guest's state in the VMCS: what a new vCPU starts with (Xen's PVH entry:
 * 32-bit protected mode, paging off, flat segments), and reading and changing
 * single registers.
 */
#include "drivers/clock.h"
#include "hv/cpu.h"
#include "hv/vmx_vcpu.h"

#define LINK_NONE   UINT64_MAX
#define DR7_RESET   0x400u
#define SELECTOR_CS 0x08u
#define SELECTOR_DS 0x10u

/* The longest stay in a guest. Interrupts of the host end it sooner, except where
 * they are not seen: Bochs keeps them masked for a guest that is entered with IF
 * clear, so that a loop with interrupts off would never be left. */
#define STAY_PER_SECOND 100u

static void controls_init(const struct vmx *vmx)
{
    vmwrite(VMCS_PIN_CONTROLS, vmx_config.pin);
    vmwrite(VMCS_PROC_CONTROLS, vmx->proc);
    vmwrite(VMCS_PROC2_CONTROLS, vmx_config.proc2);
    vmwrite(VMCS_EXIT_CONTROLS, vmx_config.exit);
    vmwrite(VMCS_ENTRY_CONTROLS, vmx_config.entry);
    /* #DB and #AC are intercepted because a guest can make their delivery raise
     * them again without end; they are handed on one at a time. */
    vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC);
    vmwrite(VMCS_PF_MASK, 0);
    vmwrite(VMCS_PF_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_EVENT, 0);
    vmwrite(VMCS_MSR_BITMAP, vmx_config.msr_bitmap.v);
    vmwrite(VMCS_EPTP, vmx->eptp);
    vmwrite(VMCS_TSC_OFFSET, 0);
    vmwrite(VMCS_LINK_POINTER, LINK_NONE);
    vmwrite(VMCS_CR0_MASK, VMX_CR0_MASK);
    vmwrite(VMCS_CR4_MASK, ~vmx_config.cr4_owned);
    if (vmx->vpid)
        vmwrite(VMCS_VPID, vmx->vpid);
}

/* The CPU takes the value anew at every entry and counts it down at the TSC's rate
 * shifted down (SDM volume 3, 25.5.1; A.6). */
static void stay_init(void)
{
    if (!(vmx_config.pin & PIN_TIMER))
        return;
    uint64_t shift = VMX_MISC_TIMER_SHIFT(x86_rdmsr(MSR_VMX_MISC));
    uint64_t count = (clock_tsc_hz() / STAY_PER_SECOND) >> shift;
    vmwrite(VMCS_GUEST_TIMER, count < UINT32_MAX ? count + 1 : UINT32_MAX);
}

void vmx_state_host_cpu(void)
{
    struct cpu *cpu = cpu_this();
    vmwrite(VMCS_HOST_GS_BASE, (uint64_t)cpu);
    vmwrite(VMCS_HOST_TR_BASE, (uint64_t)&cpu->tss);
    vmwrite(VMCS_HOST_GDTR_BASE, (uint64_t)cpu->gdt);
}

static void host_init(void)
{
    vmx_state_host_cpu();
    vmwrite(VMCS_HOST_CR0, x86_read_cr0());
    vmwrite(VMCS_HOST_CR3, x86_read_cr3());
    vmwrite(VMCS_HOST_CR4, x86_read_cr4());
    vmwrite(VMCS_HOST_CS_SELECTOR, CPU_CODE_SELECTOR);
    vmwrite(VMCS_HOST_SS_SELECTOR, CPU_DATA_SELECTOR);
    vmwrite(VMCS_HOST_DS_SELECTOR, CPU_DATA_SELECTOR);
    vmwrite(VMCS_HOST_ES_SELECTOR, CPU_DATA_SELECTOR);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, CPU_TSS_SELECTOR);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_IDTR_BASE, cpu_idt_base());
    vmwrite(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
    vmwrite(VMCS_HOST_EFER, x86_rdmsr(MSR_EFER));
    vmwrite(VMCS_HOST_PAT, CPU_PAT_DEFAULT);
    vmwrite(VMCS_HOST_RSP, 0);
    vmwrite(VMCS_HOST_RIP, (uint64_t)vmx_exit_point);
}

static void segment_init(enum vcpu_segment segment, uint16_t selector, uint32_t limit,
                         uint32_t rights)
{
    vmwrite(VMCS_SELECTOR(segment), selector);
    vmwrite(VMCS_BASE(segment), 0);
    vmwrite(VMCS_LIMIT(segment), limit);
    vmwrite(VMCS_RIGHTS(segment), rights);
}

static void segments_init(void)
{
    segment_init(SEG_CS, SELECTOR_CS, UINT32_MAX, RIGHTS_CODE_32);
    for (enum vcpu_segment segment = SEG_ES; segment <= SEG_GS; segment++)
        if (segment != SEG_CS)
            segment_init(segment, SELECTOR_DS, UINT32_MAX, RIGHTS_DATA_32);
    segment_init(SEG_LDTR, 0, 0, RIGHTS_UNUSABLE | RIGHTS_LDT);
    segment_init(SEG_TR, 0, 0x67, RIGHTS_TSS_BUSY);
    vmwrite(VMCS_GUEST_GDTR_BASE, 0);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, 0);
    vmwrite(VMCS_GUEST_IDTR_BASE, 0);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, 0);
}

static void registers_init(void)
{
    vmwrite(VMCS_GUEST_CR0, CR0_PE | CR0_ET | CR0_NE);
    vmwrite(VMCS_CR0_SHADOW, CR0_PE | CR0_ET);
    vmwrite(VMCS_GUEST_CR3, 0);
    vmwrite(VMCS_GUEST_CR4, CR4_VMXE | CR4_MCE);
    vmwrite(VMCS_CR4_SHADOW, 0);
    vmwrite(VMCS_GUEST_EFER, 0);
    vmwrite(VMCS_GUEST_PAT, CPU_PAT_DEFAULT);
    vmwrite(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_RSP, 0);
    vmwrite(VMCS_GUEST_RIP, 0);
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
    vmwrite(VMCS_GUEST_BLOCKING, 0);
    vmwrite(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite(VMCS_GUEST_SYSENTER_CS, 0);
    vmwrite(VMCS_GUEST_SYSENTER_ESP, 0);
    vmwrite(VMCS_GUEST_SYSENTER_EIP, 0);
    for (unsigned i = 0; i < 4; i++)
        vmwrite((enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2 * i), 0);
}

void vmx_state_init(struct vcpu *vcpu)
{
    controls_init(vcpu->vendor);
    stay_init();
    host_init();
    segments_init();
    registers_init();
}

/* SDM volume 3, table 9-1, and 8.4.4.1 for CS. CD and NW stay off: they would be
 * no use to anybody. */
void vmx_state_reset_real(struct vcpu *vcpu, uint8_t page)
{
    registers_init();
    segments_init();
    segment_init(SEG_CS, (uint16_t)(page << 8), 0xffff, RIGHTS_CODE_REAL);
    vmwrite(VMCS_BASE(SEG_CS), (uint64_t)page << 12);
    for (enum vcpu_segment segment = SEG_ES; segment <= SEG_GS; segment++)
        if (segment != SEG_CS)
            segment_init(segment, 0, 0xffff, RIGHTS_DATA_REAL);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, 0xffff);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, 0xffff);
    vmx_state_set(vcpu, STATE_CR0, CR0_ET);
    vmx_state_set(vcpu, STATE_CR4, 0);
}

/* States that are one VMCS field. */
static const uint16_t state_fields[STATE_COUNT] = {
    [STATE_RIP] = VMCS_GUEST_RIP,
    [STATE_RSP] = VMCS_GUEST_RSP,
    [STATE_RFLAGS] = VMCS_GUEST_RFLAGS,
    [STATE_CR3] = VMCS_GUEST_CR3,
    [STATE_CS_BASE] = VMCS_GUEST_CS_BASE,
    [STATE_CS_ATTR] = VMCS_GUEST_CS_RIGHTS,
    [STATE_SS_BASE] = VMCS_BASE(SEG_SS),
    [STATE_DS_BASE] = VMCS_BASE(SEG_DS),
    [STATE_ES_BASE] = VMCS_BASE(SEG_ES),
    [STATE_FS_BASE] = VMCS_BASE(SEG_FS),
    [STATE_GS_BASE] = VMCS_BASE(SEG_GS),
    [STATE_SYSENTER_CS] = VMCS_GUEST_SYSENTER_CS,
    [STATE_SYSENTER_ESP] = VMCS_GUEST_SYSENTER_ESP,
    [STATE_SYSENTER_EIP] = VMCS_GUEST_SYSENTER_EIP,
    [STATE_PAT] = VMCS_GUEST_PAT,
    [STATE_GDTR_BASE] = VMCS_GUEST_GDTR_BASE,
    [STATE_IDTR_BASE] = VMCS_GUEST_IDTR_BASE,
    [STATE_TSC_OFFSET] = VMCS_TSC_OFFSET,
};

/* States that are MSRs switched with the vCPU. */
static const struct {
    enum vcpu_state state;
    enum vmx_msr msr;
    uint32_t number;
} state_msrs[] = {
    { STATE_STAR, VMX_STAR, MSR_STAR },
    { STATE_LSTAR, VMX_LSTAR, MSR_LSTAR },
    { STATE_CSTAR, VMX_CSTAR, MSR_CSTAR },
    { STATE_SFMASK, VMX_SFMASK, MSR_SFMASK },
    { STATE_KERNEL_GS_BASE, VMX_KERNEL_GS, MSR_KERNEL_GS_BASE },
};

static int msr_find(enum vcpu_state what)
{
    for (unsigned i = 0; i < sizeof(state_msrs) / sizeof(state_msrs[0]); i++)
        if (state_msrs[i].state == what)
            return (int)i;
    return -1;
}

/* A control register as its owner sees it: its own copy of the masked bits. */
static uint64_t masked(enum vmcs_field field, enum vmcs_field shadow, uint64_t mask)
{
    return (vmread(field) & ~mask) | (vmread(shadow) & mask);
}

uint64_t vmx_state_get(struct vcpu *vcpu, enum vcpu_state what)
{
    if (state_fields[what])
        return vmread((enum vmcs_field)state_fields[what]);
    if (what == STATE_CR0)
        return masked(VMCS_GUEST_CR0, VMCS_CR0_SHADOW, VMX_CR0_MASK);
    if (what == STATE_CR4)
        return masked(VMCS_GUEST_CR4, VMCS_CR4_SHADOW, ~vmx_config.cr4_owned);
    if (what == STATE_EFER)
        return vmread(VMCS_GUEST_EFER);
    if (what == STATE_CPL)
        return vmread(VMCS_GUEST_SS_RIGHTS) >> 5 & 3;
    int msr = msr_find(what);
    ensure(msr >= 0);
    const struct vmx *vmx = vcpu->vendor;
    return vmx_is_loaded(vcpu) ? x86_rdmsr(state_msrs[msr].number) : vmx->msrs[state_msrs[msr].msr];
}

/* LMA follows from LME and CR0.PG; the entry control must agree (26.3.1.1). */
static void efer_set(uint64_t value, uint64_t cr0)
{
    uint32_t entry = (uint32_t)vmread(VMCS_ENTRY_CONTROLS) & ~ENTRY_CTL_IA32E;
    value &= ~EFER_LMA;
    if ((value & EFER_LME) && (cr0 & CR0_PG)) {
        value |= EFER_LMA;
        entry |= ENTRY_CTL_IA32E;
    }
    vmwrite(VMCS_GUEST_EFER, value);
    vmwrite(VMCS_ENTRY_CONTROLS, entry);
}

static void cr0_set(uint64_t value)
{
    vmwrite(VMCS_CR0_SHADOW, value);
    vmwrite(VMCS_GUEST_CR0, (value & ~(CR0_NW | CR0_CD)) | CR0_NE | CR0_ET);
    efer_set(vmread(VMCS_GUEST_EFER), value);
}

static void cr4_set(uint64_t value)
{
    vmwrite(VMCS_CR4_SHADOW, value);
    vmwrite(VMCS_GUEST_CR4, (value & vmx_config.cr4_owned) | CR4_VMXE | CR4_MCE);
}

void vmx_state_set(struct vcpu *vcpu, enum vcpu_state what, uint64_t value)
{
    struct vmx *vmx = vcpu->vendor;
    if (state_fields[what]) {
        vmwrite((enum vmcs_field)state_fields[what], value);
    } else if (what == STATE_CR0) {
        cr0_set(value);
    } else if (what == STATE_CR4) {
        cr4_set(value);
    } else if (what == STATE_EFER) {
        efer_set(value, vmread(VMCS_GUEST_CR0));
    } else {
        int msr = msr_find(what);
        ensure(msr >= 0);
        vmx->msrs[state_msrs[msr].msr] = value;
        if (vmx_is_loaded(vcpu))
            x86_wrmsr(state_msrs[msr].number, value);
    }
}
