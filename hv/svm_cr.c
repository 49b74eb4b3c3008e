/*
 * Control-register accesses that exit: MOV to and from CR4, because MCE stays on
 * whatever the guest says; MOV to CR0 and LMSW that change more than TS and MP,
 * because QEMU without KVM lets a guest set what no processor accepts. CR3 and the
 * rest of CR0 are the guest's own.
 */
#include "hv/control.h"
#include "hv/mmio.h"
#include "hv/svm_vcpu.h"
#include "hv/walk.h"

#define LMSW_BITS  0xfull
#define LMSW_BYTES 2u

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

static struct control_state state_now(struct vcpu *vcpu)
{
    return (struct control_state){
        .cr0 = svm_state_get(vcpu, STATE_CR0),
        .cr3 = svm_state_get(vcpu, STATE_CR3),
        .cr4 = svm_state_get(vcpu, STATE_CR4),
        .efer = svm_state_get(vcpu, STATE_EFER),
        .long_code = svm_vmcb(vcpu)->cs.attributes & SEGMENT_LONG,
    };
}

/* Whether the guest may have the value, and then it has. */
static bool cr0_write(struct vcpu *vcpu, const struct control_state *old, uint64_t value)
{
    value |= CR0_ET;
    if (!control_cr0_is_allowed(old, value))
        return false;
    svm_state_set(vcpu, STATE_CR0, value);
    return true;
}

static bool cr4_write(struct vcpu *vcpu, const struct control_state *old, uint64_t value)
{
    if (!control_cr4_is_allowed(old, value, svm_config.cr4_allowed))
        return false;
    svm_state_set(vcpu, STATE_CR4, value);
    return true;
}

bool svm_cr_operand(struct vcpu *vcpu, const struct decoded_system *d, uint64_t *value)
{
    struct walk_fault fault;
    *value = 0;
    if (!d->memory) {
        *value = register_read(vcpu, d->reg);
        return true;
    }
    uint64_t linear = mmio_operand_address(vcpu, &d->operand);
    return walk_settle(vcpu, walk_copy(vcpu, linear, value, LMSW_BYTES, MM_READ, &fault), &fault);
}

bool svm_cr_access(struct vcpu *vcpu, const struct decoded_system *d, uint64_t value)
{
    struct svm *svm = vcpu->vendor;
    struct control_state old = state_now(vcpu);
    if (d->opcode == DECODE_CR_READ) {
        register_write(vcpu, d->reg, old.cr4);
        return true;
    }
    if (!(old.efer & EFER_LMA) || !old.long_code)
        value = (uint32_t)value;
    svm->flush_needed = true;
    if (d->opcode == DECODE_LMSW) /* sets PE, never clears it */
        value = (old.cr0 & ~(LMSW_BITS & ~CR0_PE)) | (value & LMSW_BITS);
    return d->cr == 4 ? cr4_write(vcpu, &old, value) : cr0_write(vcpu, &old, value);
}
