/*
 * Control-register accesses that exit: MOV to CR0 or CR4 (and LMSW, CLTS) that
 * would change a bit of which the guest sees its own copy, and every MOV to or
 * from CR8. Rules: SDM volume 2, MOV to control registers; volume 3, 2.5, 4.4.1.
 */
#include "hv/control.h"
#include "hv/seam.h"
#include "hv/vmx_vcpu.h"

#define PDPTE_RESERVED 0x1e6ull /* bits 1-2, 5-8: table 4-8 */
#define LMSW_BITS      0xfull

enum outcome { DONE, FAULT, WAITING };

static uint64_t register_read(struct vcpu *vcpu, unsigned reg)
{
    return reg == REG_RSP ? vmread(VMCS_GUEST_RSP) : vcpu->regs[reg];
}

static bool pdptes_are_used(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

/* Loads the four PDPTEs that PAE paging keeps in registers. */
static enum outcome pdptes_load(struct vcpu *vcpu)
{
    uint64_t cr3 = vmread(VMCS_GUEST_CR3) & 0xffffffe0u;
    void *page;
    switch (mm_pin(vcpu->mm.vm, &vcpu->mm, gfn((uint32_t)(cr3 >> PAGE_SHIFT)), MM_READ, &page)) {
    case MM_DONE:
        break;
    case MM_WAIT:
        return WAITING;
    default:
        return FAULT;
    }
    const uint64_t *entries = (const uint64_t *)((uint8_t *)page + (cr3 & PAGE_MASK));
    uint64_t values[4];
    bool good = true;
    for (unsigned i = 0; i < 4; i++) {
        values[i] = __atomic_load_n(&entries[i], __ATOMIC_RELAXED);
        if ((values[i] & PTE_PRESENT) &&
            (values[i] & (PDPTE_RESERVED | PTE_NX | ~(PTE_ADDRESS | PAGE_MASK))))
            good = false;
    }
    mm_unpin(vcpu->mm.vm, gfn((uint32_t)(cr3 >> PAGE_SHIFT)));
    for (unsigned i = 0; good && i < 4; i++)
        vmwrite((enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2 * i), values[i]);
    return good ? DONE : FAULT;
}

static struct control_state state_now(struct vcpu *vcpu)
{
    return (struct control_state){
        .cr0 = vmx_state_get(vcpu, STATE_CR0),
        .cr3 = vmread(VMCS_GUEST_CR3),
        .cr4 = vmx_state_get(vcpu, STATE_CR4),
        .efer = vmread(VMCS_GUEST_EFER),
        .long_code = vmread(VMCS_GUEST_CS_RIGHTS) & RIGHTS_LONG,
    };
}

static enum outcome cr0_write(struct vcpu *vcpu, uint64_t value)
{
    struct control_state old = state_now(vcpu);
    value |= CR0_ET;
    if (!control_cr0_is_allowed(&old, value))
        return FAULT;
    if (pdptes_are_used(value, old.cr4, old.efer)) {
        enum outcome outcome = pdptes_load(vcpu);
        if (outcome != DONE)
            return outcome;
    }
    vmx_state_set(vcpu, STATE_CR0, value);
    vmx_flush_guest_tlb(vcpu);
    return DONE;
}

static enum outcome cr4_write(struct vcpu *vcpu, uint64_t value)
{
    struct control_state old = state_now(vcpu);
    if (!control_cr4_is_allowed(&old, value, vmx_config.cr4_owned | CR4_MCE))
        return FAULT;
    if (pdptes_are_used(old.cr0, value, old.efer)) {
        enum outcome outcome = pdptes_load(vcpu);
        if (outcome != DONE)
            return outcome;
    }
    vmx_state_set(vcpu, STATE_CR4, value);
    vmx_flush_guest_tlb(vcpu);
    return DONE;
}

static enum outcome write(struct vcpu *vcpu, uint64_t q)
{
    uint64_t cr0 = vmx_state_get(vcpu, STATE_CR0);
    switch (CR_QUALIFICATION_TYPE(q)) {
    case CR_TYPE_CLTS:
        return cr0_write(vcpu, cr0 & ~CR0_TS);
    case CR_TYPE_LMSW: /* sets PE, never clears it */
        return cr0_write(vcpu,
                         (cr0 & ~(LMSW_BITS & ~CR0_PE)) | (CR_QUALIFICATION_LMSW(q) & LMSW_BITS));
    default:
        break;
    }
    uint64_t value = register_read(vcpu, CR_QUALIFICATION_REGISTER(q));
    if (!(vmread(VMCS_GUEST_CS_RIGHTS) & RIGHTS_LONG))
        value = (uint32_t)value;
    return vcpu->exit.cr == 0 ? cr0_write(vcpu, value) : cr4_write(vcpu, value);
}

void vmx_cr_access(struct vcpu *vcpu, uint64_t q)
{
    unsigned type = CR_QUALIFICATION_TYPE(q);
    vcpu->exit.cr = type >= CR_TYPE_CLTS ? 0 : (uint8_t)CR_QUALIFICATION_CR(q);
    vcpu->exit.reg = (uint8_t)CR_QUALIFICATION_REGISTER(q);
    vcpu->exit.write = type != CR_TYPE_FROM;
    if (vcpu->exit.cr == 8)
        return;
    if (!vcpu->exit.write || (vcpu->exit.cr != 0 && vcpu->exit.cr != 4)) {
        vcpu->exit.kind = EXIT_UNKNOWN; /* not asked for by any control */
        return;
    }
    enum outcome outcome = write(vcpu, q);
    if (outcome == DONE)
        vmx_skip(vcpu);
    else if (outcome == FAULT)
        seam_exception(vcpu, VECTOR_GP, true, 0);
    vcpu->exit.length = 0;
}
