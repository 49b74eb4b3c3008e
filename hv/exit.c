#include "hv/exit.h"
#include "hv/cpuid.h"
#include "hv/fpu.h"
#include "hv/io.h"
#include "hv/mitigations.h"
#include "hv/loop.h"
#include "hv/mmio.h"
#include "hv/msr.h"
#include "hv/vm.h"
#include "hv/x86.h"
#include "lib/log.h"

typedef void exit_handler(struct vcpu *vcpu);

static void on_nothing(struct vcpu *vcpu)
{
    (void)vcpu;
}

static void on_interrupt(struct vcpu *vcpu)
{
    loop_interrupt(vcpu->exit.vector);
}

/* No page of the guest there: a device, a hole, or nonsense. */
static void on_no_page(struct vcpu *vcpu)
{
    unsigned long long address = vcpu->exit.gpa.v;
    if (vcpu->exit.during_walk)
        vm_end(vcpu->vm, VM_END_INSTRUCTION, "page tables outside of memory, at 0x%llx", address);
    else if (vcpu->exit.access & MM_EXEC)
        vm_end(vcpu->vm, VM_END_INSTRUCTION, "executed outside of memory, at 0x%llx", address);
    else
        mmio_emulate(vcpu);
}

static void on_nested_fault(struct vcpu *vcpu)
{
    enum mm_answer answer = mm_fault(&vcpu->mm, vcpu->exit.gpa, vcpu->exit.access);
    if (vcpu->mm.foreign || answer == MM_NO_PAGE)
        mitigations_taint();
    if (answer != MM_DONE)
        vcpu->quiet = false;
    if (answer == MM_NO_PAGE)
        on_no_page(vcpu);
    /* Else it is executed again, now, later or never. */
}

static void on_unknown(struct vcpu *vcpu)
{
    exit_dump(vcpu);
    vm_end(vcpu->vm, VM_END_EXIT, "exit not handled: %s (0x%llx)", exit_kind_name(vcpu->exit.kind),
           (unsigned long long)vcpu->exit.raw);
}

/* Only a message ends a halt with interrupts off; somebody must be left to send it. */
static void on_hlt(struct vcpu *vcpu)
{
    vcpu_ops->skip(vcpu);
    bool deaf = !(vcpu_ops->get(vcpu, STATE_RFLAGS) & RFLAGS_IF);
    if (vcpu->nmi_pending)
        return; /* ends the halt at once */
    vcpu_set_rest(vcpu, deaf ? VCPU_DEAF : VCPU_HALTED);
    if (deaf && vm_is_parked(vcpu->vm))
        vm_end(vcpu->vm, VM_END_HALTED, "halted with interrupts off");
}

/* CR8 is the task priority; the vendor has done all others. */
static void on_cr_access(struct vcpu *vcpu)
{
    if (vcpu->exit.cr != 8)
        return;
    struct lapic *lapic = vm_lapic(vcpu);
    uint64_t *value = &vcpu->regs[vcpu->exit.reg & 15];
    if (vcpu->exit.reg == REG_RSP || (vcpu->exit.write && *value > 15)) {
        seam_exception(vcpu, VECTOR_GP, true, 0);
        return;
    }
    if (vcpu->exit.write)
        dev_lapic_set_cr8(lapic, (uint8_t)*value);
    else
        *value = dev_lapic_cr8(lapic);
    vcpu_ops->skip(vcpu);
}

static void on_xsetbv(struct vcpu *vcpu)
{
    uint64_t value = vcpu->regs[REG_RDX] << 32 | (uint32_t)vcpu->regs[REG_RAX];
    bool allowed = (uint32_t)vcpu->regs[REG_RCX] == 0 && vcpu_ops->get(vcpu, STATE_CPL) == 0 &&
                   fpu_set_xcr0(vcpu, value);
    if (allowed)
        vcpu_ops->skip(vcpu);
    else
        seam_exception(vcpu, VECTOR_GP, true, 0);
}

static void on_triple_fault(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, VM_END_TRIPLE_FAULT, "triple fault at 0x%llx",
           (unsigned long long)vcpu_ops->get(vcpu, STATE_RIP));
}

static void on_undefined(struct vcpu *vcpu)
{
    seam_exception(vcpu, VECTOR_UD, false, 0);
}

static void on_skip(struct vcpu *vcpu)
{
    vcpu_ops->skip(vcpu);
}

static void on_machine_check(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, VM_END_EXIT, "machine check of the host while it ran");
}

static void on_task_switch(struct vcpu *vcpu)
{
    vm_end(vcpu->vm, VM_END_INSTRUCTION, "hardware task switch, which is not offered");
}

static void on_entry_failed(struct vcpu *vcpu)
{
    exit_dump(vcpu);
    vm_end(vcpu->vm, VM_END_EXIT, "the CPU refused to enter it");
}

static const struct {
    const char *name;
    exit_handler *handle;
} kinds[EXIT_KIND_COUNT] = {
    [EXIT_INTERRUPT] = { "interrupt", on_interrupt },
    [EXIT_WINDOW] = { "window", on_nothing },
    [EXIT_NESTED_FAULT] = { "nested_fault", on_nested_fault },
    [EXIT_NESTED_BAD] = { "nested_bad", on_unknown },
    [EXIT_CPUID] = { "cpuid", cpuid_handle },
    [EXIT_HLT] = { "hlt", on_hlt },
    [EXIT_IO] = { "io", io_handle },
    [EXIT_MSR_READ] = { "msr_read", msr_handle_read },
    [EXIT_MSR_WRITE] = { "msr_write", msr_handle_write },
    [EXIT_CR_ACCESS] = { "cr_access", on_cr_access },
    [EXIT_XSETBV] = { "xsetbv", on_xsetbv },
    [EXIT_TRIPLE_FAULT] = { "triple_fault", on_triple_fault },
    [EXIT_EXCEPTION] = { "exception", on_nothing },
    [EXIT_UNDEFINED] = { "undefined", on_undefined },
    [EXIT_CACHE] = { "cache", on_skip },
    [EXIT_PAUSE] = { "pause", on_skip },
    [EXIT_NMI] = { "nmi", on_nothing },
    [EXIT_MACHINE_CHECK] = { "machine_check", on_machine_check },
    [EXIT_TASK_SWITCH] = { "task_switch", on_task_switch },
    [EXIT_TIMER] = { "timer", on_nothing },
    [EXIT_AGAIN] = { "again", on_nothing },
    [EXIT_ENTRY_FAILED] = { "entry_failed", on_entry_failed },
    [EXIT_UNKNOWN] = { "unknown", on_unknown },
};

const char *exit_kind_name(enum exit_kind kind)
{
    return (unsigned)kind < EXIT_KIND_COUNT ? kinds[kind].name : "?";
}

/* Handled with the vCPU's registers, its VM's small devices or the books of memory
 * alone: the vCPU can go on at once, unless its handler says otherwise or there are news
 * for it (dev_lapic_request, vm_end). */
static bool is_quiet(const struct vcpu *vcpu)
{
    switch (vcpu->exit.kind) {
    case EXIT_CPUID:
    case EXIT_MSR_READ:
    case EXIT_MSR_WRITE:
    case EXIT_NESTED_FAULT: /* on_nested_fault says otherwise */
        return true;
    case EXIT_IO:
        return !vcpu->exit.string;
    default:
        return false;
    }
}

/* Brings no memory into the cache that the guest must not see either: docs/security.md,
 * "The L1D flush". */
static bool is_private(enum exit_kind kind)
{
    return kind == EXIT_INTERRUPT || kind == EXIT_WINDOW || kind == EXIT_HLT ||
           kind == EXIT_XSETBV || kind == EXIT_EXCEPTION || kind == EXIT_PAUSE ||
           kind == EXIT_TIMER;
}

void exit_handle(struct vcpu *vcpu)
{
    enum exit_kind kind = vcpu->exit.kind;
    if ((unsigned)kind >= EXIT_KIND_COUNT)
        kind = vcpu->exit.kind = EXIT_UNKNOWN;
    vcpu->exits[kind]++;
    if (!is_quiet(vcpu)) {
        vcpu->quiet = false;
        if (!is_private(kind))
            mitigations_taint();
    }
    kinds[kind].handle(vcpu);
}

void exit_dump(struct vcpu *vcpu)
{
    static const char *const names[REG_COUNT] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                  "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                  "r12", "r13", "r14", "r15" };
    log_info("vm %s vcpu %u: exit %s (0x%llx)", vm_name(vcpu->vm), vcpu->mm.index,
             exit_kind_name(vcpu->exit.kind), (unsigned long long)vcpu->exit.raw);
    log_info("  rip %016llx rflags %08llx cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx",
             (unsigned long long)vcpu_ops->get(vcpu, STATE_RIP),
             (unsigned long long)vcpu_ops->get(vcpu, STATE_RFLAGS),
             (unsigned long long)vcpu_ops->get(vcpu, STATE_CR0), (unsigned long long)vcpu->cr2,
             (unsigned long long)vcpu_ops->get(vcpu, STATE_CR3),
             (unsigned long long)vcpu_ops->get(vcpu, STATE_CR4),
             (unsigned long long)vcpu_ops->get(vcpu, STATE_EFER));
    vcpu->regs[REG_RSP] = vcpu_ops->get(vcpu, STATE_RSP);
    for (unsigned i = 0; i < REG_COUNT; i += 4)
        log_info("  %s %016llx %s %016llx %s %016llx %s %016llx", names[i],
                 (unsigned long long)vcpu->regs[i], names[i + 1],
                 (unsigned long long)vcpu->regs[i + 1], names[i + 2],
                 (unsigned long long)vcpu->regs[i + 2], names[i + 3],
                 (unsigned long long)vcpu->regs[i + 3]);
    vcpu_ops->dump(vcpu);
}
