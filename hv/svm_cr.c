/*
 * MOV to and from CR4, which exit because MCE stays on whatever the guest says.
 * CR0 and CR3 are the guest's own. Rules: APM volume 2, 3.1.3; volume 3, MOV CRn.
 */
#include "hv/svm_vcpu.h"

static uint64_t register_read(struct vcpu *vcpu, unsigned reg)
{
    return reg == REG_RSP ? svm_vmcb(vcpu)->rsp : vcpu->regs[reg];
}

static void register_write(struct vcpu *vcpu, unsigned reg, uint64_t value)
{
    if (reg == REG_RSP)
        svm_vmcb(vcpu)->rsp = value;
    else
        vcpu->regs[reg] = value;
}

bool svm_cr4_access(struct vcpu *vcpu, unsigned reg, bool write)
{
    struct svm *svm = vcpu->vendor;
    bool long_mode = svm->vmcb->efer & EFER_LMA;
    bool long_code = long_mode && (svm->vmcb->cs.attributes & SEGMENT_LONG);
    if (!write) {
        register_write(vcpu, reg, svm_state_get(vcpu, STATE_CR4));
        return true;
    }
    uint64_t value = register_read(vcpu, reg);
    if (!long_code)
        value = (uint32_t)value;
    if (value & ~svm_config.cr4_allowed)
        return false;
    if (long_mode && !(value & CR4_PAE))
        return false;
    svm_state_set(vcpu, STATE_CR4, value);
    svm->flush_needed = true;
    return true;
}
