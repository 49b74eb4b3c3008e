#include "hv/msr.h"
#include "hv/vm.h"
#include "hv/x86.h"

#define MSR_PLATFORM_ID   0x017u
#define MSR_APIC_BASE     0x01bu
#define MSR_SMI_COUNT     0x034u
#define MSR_TSC_ADJUST    0x03bu
#define MSR_BIOS_SIGN_ID  0x08bu
#define MSR_PLATFORM_INFO 0x0ceu
#define MSR_MTRRCAP       0x0feu
#define MSR_MISC_FEATURES 0x140u
#define MSR_MCG_CAP       0x179u
#define MSR_MCG_STATUS    0x17au
#define MSR_MISC_ENABLE   0x1a0u
#define MSR_MTRR_DEFAULT  0x2ffu

#define FEATURE_CONTROL_LOCKED 1u /* and no VMX */
/* IA32_MISC_ENABLE: fast strings, no branch trace store, no PEBS. */
#define MISC_ENABLE_VALUE (1u << 0 | 1u << 11 | 1u << 12)
/* Writable in EFER: SCE, LME, NXE; LMA follows from LME and CR0.PG. */
#define EFER_WRITABLE (EFER_SCE | EFER_LME | EFER_NXE)

enum msr_rule {
    MSR_STATE,     /* in the control block, any value */
    MSR_CANONICAL, /* in the control block, a canonical address */
    MSR_CONSTANT,  /* reads as value, writes are #GP */
    MSR_IGNORED,   /* reads as value, writes have no effect */
    MSR_SPECIAL    /* own functions */
};

static bool read_tsc(struct vcpu *vcpu, uint64_t *value)
{
    *value = seam_tsc(vcpu);
    return true;
}

static bool write_tsc(struct vcpu *vcpu, uint64_t value)
{
    seam_set_tsc(vcpu, value);
    return true;
}

static bool read_tsc_adjust(struct vcpu *vcpu, uint64_t *value)
{
    *value = vcpu->tsc_adjust;
    return true;
}

static bool write_tsc_adjust(struct vcpu *vcpu, uint64_t value)
{
    seam_set_tsc_adjust(vcpu, value);
    return true;
}

static bool read_apic_base(struct vcpu *vcpu, uint64_t *value)
{
    *value = vm_lapic(vcpu)->base;
    return true;
}

static bool read_efer(struct vcpu *vcpu, uint64_t *value)
{
    *value = vcpu_ops->get(vcpu, STATE_EFER);
    return true;
}

/* Long mode may be switched on and off only while paging is off (SDM volume 3,
 * 9.8.5); LMA in the value has to be as it is. */
static bool write_efer(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = vcpu_ops->get(vcpu, STATE_EFER);
    if (value & ~(EFER_WRITABLE | EFER_LMA))
        return false;
    if (((value ^ old) & EFER_LME) && (vcpu_ops->get(vcpu, STATE_CR0) & CR0_PG))
        return false;
    vcpu_ops->set(vcpu, STATE_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
    return true;
}

static bool read_pat(struct vcpu *vcpu, uint64_t *value)
{
    *value = vcpu_ops->get(vcpu, STATE_PAT);
    return true;
}

/* Memory types 0, 1, 4, 5, 6 and 7 exist (SDM volume 3, 12.12.2). */
static bool write_pat(struct vcpu *vcpu, uint64_t value)
{
    for (unsigned i = 0; i < 64; i += 8) {
        uint8_t type = (uint8_t)(value >> i);
        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    vcpu_ops->set(vcpu, STATE_PAT, value);
    return true;
}

static const struct msr {
    uint32_t number;
    uint8_t rule, state; /* enum msr_rule, enum vcpu_state */
    uint64_t value;
    bool (*read)(struct vcpu *vcpu, uint64_t *value);
    bool (*write)(struct vcpu *vcpu, uint64_t value);
} msrs[] = {
    { .number = MSR_TSC, .rule = MSR_SPECIAL, .read = read_tsc, .write = write_tsc },
    { .number = MSR_TSC_ADJUST,
      .rule = MSR_SPECIAL,
      .read = read_tsc_adjust,
      .write = write_tsc_adjust },
    { .number = MSR_PLATFORM_ID, .rule = MSR_CONSTANT },
    { .number = MSR_APIC_BASE,
      .rule = MSR_SPECIAL,
      .read = read_apic_base,
      .write = dev_lapic_set_base },
    { .number = MSR_SMI_COUNT, .rule = MSR_CONSTANT },
    { .number = MSR_FEATURE_CONTROL, .rule = MSR_CONSTANT, .value = FEATURE_CONTROL_LOCKED },
    { .number = MSR_BIOS_SIGN_ID, .rule = MSR_IGNORED },
    { .number = MSR_PLATFORM_INFO, .rule = MSR_CONSTANT },
    { .number = MSR_MTRRCAP, .rule = MSR_CONSTANT },
    { .number = MSR_MISC_FEATURES, .rule = MSR_IGNORED },
    { .number = MSR_SYSENTER_CS, .rule = MSR_STATE, .state = STATE_SYSENTER_CS },
    { .number = MSR_SYSENTER_ESP, .rule = MSR_CANONICAL, .state = STATE_SYSENTER_ESP },
    { .number = MSR_SYSENTER_EIP, .rule = MSR_CANONICAL, .state = STATE_SYSENTER_EIP },
    { .number = MSR_MCG_CAP, .rule = MSR_CONSTANT },
    { .number = MSR_MCG_STATUS, .rule = MSR_IGNORED },
    { .number = MSR_MISC_ENABLE, .rule = MSR_IGNORED, .value = MISC_ENABLE_VALUE },
    { .number = MSR_DEBUGCTL, .rule = MSR_IGNORED },
    { .number = MSR_PAT, .rule = MSR_SPECIAL, .read = read_pat, .write = write_pat },
    { .number = MSR_MTRR_DEFAULT, .rule = MSR_IGNORED },
    { .number = MSR_EFER, .rule = MSR_SPECIAL, .read = read_efer, .write = write_efer },
    { .number = MSR_STAR, .rule = MSR_STATE, .state = STATE_STAR },
    { .number = MSR_LSTAR, .rule = MSR_CANONICAL, .state = STATE_LSTAR },
    { .number = MSR_CSTAR, .rule = MSR_CANONICAL, .state = STATE_CSTAR },
    { .number = MSR_SFMASK, .rule = MSR_STATE, .state = STATE_SFMASK },
    { .number = MSR_FS_BASE, .rule = MSR_CANONICAL, .state = STATE_FS_BASE },
    { .number = MSR_GS_BASE, .rule = MSR_CANONICAL, .state = STATE_GS_BASE },
    { .number = MSR_KERNEL_GS_BASE, .rule = MSR_CANONICAL, .state = STATE_KERNEL_GS_BASE },
};

static const struct msr *msr_find(uint32_t number)
{
    for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
        if (msrs[i].number == number)
            return &msrs[i];
    return NULL;
}

static bool is_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static bool msr_read(struct vcpu *vcpu, const struct msr *msr, uint64_t *value)
{
    switch (msr->rule) {
    case MSR_STATE:
    case MSR_CANONICAL:
        *value = vcpu_ops->get(vcpu, (enum vcpu_state)msr->state);
        return true;
    case MSR_SPECIAL:
        return msr->read(vcpu, value);
    }
    *value = msr->value;
    return true;
}

static bool msr_write(struct vcpu *vcpu, const struct msr *msr, uint64_t value)
{
    switch (msr->rule) {
    case MSR_CONSTANT:
        return false;
    case MSR_IGNORED:
        return true;
    case MSR_SPECIAL:
        return msr->write(vcpu, value);
    case MSR_CANONICAL:
        if (!is_canonical(value))
            return false;
    }
    vcpu_ops->set(vcpu, (enum vcpu_state)msr->state, value);
    return true;
}

/* Unknown, or the value is refused. */
static void msr_refuse(struct vcpu *vcpu, const struct msr *msr)
{
    if (!msr)
        __atomic_fetch_add(&vcpu->vm->unknown_msr_count, 1, __ATOMIC_RELAXED);
    seam_exception(vcpu, VECTOR_GP, true, 0);
}

void msr_handle_read(struct vcpu *vcpu)
{
    const struct msr *msr = msr_find((uint32_t)vcpu->regs[REG_RCX]);
    uint64_t value;
    if (!msr || !msr_read(vcpu, msr, &value)) {
        msr_refuse(vcpu, msr);
        return;
    }
    vcpu->regs[REG_RAX] = (uint32_t)value;
    vcpu->regs[REG_RDX] = value >> 32;
    vcpu_ops->skip(vcpu);
}

void msr_handle_write(struct vcpu *vcpu)
{
    const struct msr *msr = msr_find((uint32_t)vcpu->regs[REG_RCX]);
    uint64_t value = vcpu->regs[REG_RDX] << 32 | (uint32_t)vcpu->regs[REG_RAX];
    if (!msr || !msr_write(vcpu, msr, value))
        msr_refuse(vcpu, msr);
    else
        vcpu_ops->skip(vcpu);
}
