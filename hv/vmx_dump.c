/*
 * The VMCS of a vCPU in readable lines, for a VM that is stopped because of
 * something nobody knows how to handle.
 */
#include "hv/vmx_vcpu.h"
#include "lib/log.h"

#define HEX(v) ((unsigned long long)(v))

static void dump_exit(const struct vcpu *vcpu)
{
    uint32_t reason = (uint32_t)vmread(VMCS_EXIT_REASON);
    log_info("  exit: %s, reason %s (0x%x), qualification %llx, length %u",
             exit_kind_name(vcpu->exit.kind), vmx_exit_reason_name(reason), reason,
             HEX(vmread(VMCS_EXIT_QUALIFICATION)), (unsigned)vmread(VMCS_EXIT_LENGTH));
    log_info("  event %08x, vectoring %08x, guest-physical %llx, linear %llx",
             (unsigned)vmread(VMCS_EXIT_EVENT), (unsigned)vmread(VMCS_VECTORING_EVENT),
             HEX(vmread(VMCS_GUEST_PHYSICAL)), HEX(vmread(VMCS_GUEST_LINEAR)));
}

static void dump_general(const struct vcpu *vcpu)
{
    static const char *const names[REG_COUNT] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                  "rsi", "rdi", "r8 ", "r9 ", "r10", "r11",
                                                  "r12", "r13", "r14", "r15" };
    uint64_t values[REG_COUNT];
    for (unsigned i = 0; i < REG_COUNT; i++)
        values[i] = i == REG_RSP ? vmread(VMCS_GUEST_RSP) : vcpu->regs[i];
    for (unsigned i = 0; i < REG_COUNT; i += 4)
        log_info("  %s %016llx  %s %016llx  %s %016llx  %s %016llx", names[i], HEX(values[i]),
                 names[i + 1], HEX(values[i + 1]), names[i + 2], HEX(values[i + 2]), names[i + 3],
                 HEX(values[i + 3]));
}

static void dump_segments(void)
{
    static const char *const names[SEG_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs", "ldt", "tr" };
    for (enum vcpu_segment i = SEG_ES; i < SEG_COUNT; i++)
        log_info("  %-3s %04x base %016llx limit %08x rights %05x", names[i],
                 (unsigned)vmread(VMCS_SELECTOR(i)), HEX(vmread(VMCS_BASE(i))),
                 (unsigned)vmread(VMCS_LIMIT(i)), (unsigned)vmread(VMCS_RIGHTS(i)));
}

void vmx_dump(struct vcpu *vcpu)
{
    dump_exit(vcpu);
    log_info("  rip %016llx  rflags %llx  blocking %x  activity %x", HEX(vmread(VMCS_GUEST_RIP)),
             HEX(vmread(VMCS_GUEST_RFLAGS)), (unsigned)vmread(VMCS_GUEST_BLOCKING),
             (unsigned)vmread(VMCS_GUEST_ACTIVITY));
    dump_general(vcpu);
    log_info("  cr0 %llx (shadow %llx)  cr2 %llx  cr3 %llx  cr4 %llx (shadow %llx)",
             HEX(vmread(VMCS_GUEST_CR0)), HEX(vmread(VMCS_CR0_SHADOW)), HEX(vcpu->cr2),
             HEX(vmread(VMCS_GUEST_CR3)), HEX(vmread(VMCS_GUEST_CR4)),
             HEX(vmread(VMCS_CR4_SHADOW)));
    log_info("  efer %llx  entry controls %x  eptp %llx", HEX(vmread(VMCS_GUEST_EFER)),
             (unsigned)vmread(VMCS_ENTRY_CONTROLS), HEX(vmread(VMCS_EPTP)));
    log_info("  gdt %llx/%x  idt %llx/%x", HEX(vmread(VMCS_GUEST_GDTR_BASE)),
             (unsigned)vmread(VMCS_GUEST_GDTR_LIMIT), HEX(vmread(VMCS_GUEST_IDTR_BASE)),
             (unsigned)vmread(VMCS_GUEST_IDTR_LIMIT));
    dump_segments();
}
