/*
 * VT-x: the life of a vCPU's VMCS, and entering it.
 *
 *   loaded   the vCPU's vector registers, debug registers and MSRs are in the CPU
 *   current  its VMCS is the one VMREAD and VMWRITE reach
 *
 * A vCPU stays loaded after its exit, until another one runs; all functions make
 * the VMCS current first. A VMCS that was current on a CPU is that CPU's until it is
 * cleared (SDM volume 3, 24.1), which unload() does before another CPU may have it.
 */
#include "hv/vmx.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/fpu.h"
#include "hv/mitigations.h"
#include "hv/guest.h"
#include "hv/vm.h"
#include "hv/vmx_vcpu.h"
#include "lib/log.h"
#include "lib/string.h"

#define VPID_MAX  0xffffu
#define DR6_RESET 0xffff0ff0u

/* The VMCS of a vCPU with its companion, in one page each; reused. */
struct vmx_block {
    struct vmx vmx;
    struct vmx_block *next_spare;
};
static struct vmx_block *spare_blocks;
static unsigned vpid_last;

static const uint32_t msr_numbers[VMX_MSR_COUNT] = {
    [VMX_STAR] = MSR_STAR,
    [VMX_LSTAR] = MSR_LSTAR,
    [VMX_CSTAR] = MSR_CSTAR,
    [VMX_SFMASK] = MSR_SFMASK,
    [VMX_KERNEL_GS] = MSR_KERNEL_GS_BASE,
    [VMX_TSC_AUX] = MSR_TSC_AUX,
};

static unsigned msr_count(void)
{
    return vcpu_features.rdtscp ? VMX_MSR_COUNT : VMX_TSC_AUX;
}

static bool cpu_enable(void)
{
    fpu_init();
    return vmx_setup();
}

static bool cpu_enable_further(void)
{
    fpu_init();
    return vmx_setup_join();
}

/* ---- create, destroy ---------------------------------------------------------- */

static struct vmx_block *block_alloc(void)
{
    struct vmx_block *block = spare_blocks;
    if (block) {
        spare_blocks = block->next_spare;
        return block;
    }
    block = bootmem_alloc(PAGE_SIZE, NULL);
    hpa_t vmcs;
    if (!block || !bootmem_alloc(PAGE_SIZE, &vmcs))
        return NULL;
    block->vmx.vmcs = vmcs;
    return block;
}

/* The root as the EPTP has it. Without a flush of one context there is only the
 * flush of all. */
static void flush_nested(const struct vmx *vmx)
{
    bool single = vmx_config.capabilities & EPT_CAP_INVEPT_SINGLE;
    ensure(vmx_invept(single ? INVALIDATE_SINGLE : INVALIDATE_ALL, single ? vmx->eptp : 0) ==
           VMX_OK);
}

void vmx_flush_guest_tlb(struct vcpu *vcpu)
{
    const struct vmx *vmx = vcpu->vendor;
    if (!vmx->vpid)
        return;
    bool single = vmx_config.capabilities & VPID_CAP_INVVPID_SINGLE;
    ensure(vmx_invvpid(single ? INVALIDATE_SINGLE : INVALIDATE_ALL, single ? vmx->vpid : 0) ==
           VMX_OK);
}

/* What this CPU kept of the vCPU when it was here last is out of date. */
static void arrive(struct vcpu *vcpu)
{
    struct vmx *vmx = vcpu->vendor;
    vmx->host_cpu = cpu_this()->index;
    vmx->flush_needed = true;
    vmx_state_host_cpu();
    vmx_flush_guest_tlb(vcpu);
}

void vmx_make_current(struct vcpu *vcpu)
{
    struct cpu *cpu = cpu_this();
    const struct vmx *vmx = vcpu->vendor;
    if (cpu->current == vcpu)
        return;
    ensure(vmx_pointer_load(vmx->vmcs.v) == VMX_OK);
    cpu->current = vcpu;
    if (vmx->host_cpu != cpu->index)
        arrive(vcpu);
}

bool vmx_is_loaded(const struct vcpu *vcpu)
{
    return cpu_this()->loaded == vcpu;
}

static bool create(struct vcpu *vcpu)
{
    struct vmx_block *block = block_alloc();
    if (!block)
        return vcpu_refuse("VT-x: no memory for a VMCS");
    hpa_t vmcs = block->vmx.vmcs;
    block->vmx = (struct vmx){
        .vmcs = vmcs,
        .host_cpu = cpu_this()->index,
        .flush_needed = true,
        .eptp = mm_vm_root(vcpu->mm.vm).v | vmx_config.eptp_bits,
        .proc = vmx_config.proc,
        .dr6 = DR6_RESET,
    };
    if (vmx_config.proc2 & PROC2_VPID) {
        ensure(vpid_last < VPID_MAX);
        block->vmx.vpid = (uint16_t)++vpid_last;
    }
    vcpu->vendor = &block->vmx;
    if (!fpu_create(vcpu)) {
        block->next_spare = spare_blocks;
        spare_blocks = block;
        return vcpu_refuse("VT-x: no memory for vector registers");
    }
    uint32_t *region = bootmem_map(vmcs);
    memset(region, 0, PAGE_SIZE);
    *region = VMX_BASIC_REVISION(vmx_config.basic);
    ensure(vmx_clear(vmcs.v) == VMX_OK);
    vmx_make_current(vcpu);
    vmx_state_init(vcpu);
    return true;
}

static void destroy(struct vcpu *vcpu)
{
    struct vmx *vmx = vcpu->vendor;
    struct vmx_block *block = (struct vmx_block *)vmx;
    struct cpu *cpu = cpu_this();
    if (!vmx)
        return;
    vmx_count_tell();
    ensure(vmx_clear(vmx->vmcs.v) == VMX_OK);
    flush_nested(vmx);
    if (cpu->current == vcpu)
        cpu->current = NULL;
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
    struct vmx *vmx = vcpu->vendor;
    for (unsigned i = 0; i < msr_count(); i++)
        vmx->msrs[i] = x86_rdmsr(msr_numbers[i]);
    vmx->dr[0] = x86_read_dr0();
    vmx->dr[1] = x86_read_dr1();
    vmx->dr[2] = x86_read_dr2();
    vmx->dr[3] = x86_read_dr3();
    vmx->dr6 = x86_read_dr6();
    fpu_save(vcpu);
}

static void registers_load(struct vcpu *vcpu)
{
    const struct vmx *vmx = vcpu->vendor;
    for (unsigned i = 0; i < msr_count(); i++)
        x86_wrmsr(msr_numbers[i], vmx->msrs[i]);
    x86_write_dr0(vmx->dr[0]);
    x86_write_dr1(vmx->dr[1]);
    x86_write_dr2(vmx->dr[2]);
    x86_write_dr3(vmx->dr[3]);
    x86_write_dr6(vmx->dr6);
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
    struct vmx *vmx = vcpu->vendor;
    struct cpu *cpu = cpu_this();
    if (cpu->loaded == vcpu) {
        registers_save(vcpu);
        cpu->loaded = NULL;
    }
    ensure(vmx_clear(vmx->vmcs.v) == VMX_OK);
    vmx->launched = false;
    if (cpu->current == vcpu)
        cpu->current = NULL;
}

static void reset_real(struct vcpu *vcpu, uint8_t page)
{
    struct vmx *vmx = vcpu->vendor;
    vmx_make_current(vcpu);
    vmx->event = 0;
    vmx->triple_fault = false;
    memset(vcpu->regs, 0, sizeof(vcpu->regs));
    vcpu->regs[REG_RDX] = x86_cpuid(1, 0).eax;
    vmx_state_reset_real(vcpu, page);
}

/* ---- running -------------------------------------------------------------------- */

static void flush_if_revoked(struct vcpu *vcpu)
{
    struct vmx *vmx = vcpu->vendor;
    if (!guest_flush_due(vcpu) && !vmx->flush_needed)
        return;
    flush_nested(vmx);
    vmx->flush_needed = false;
}

static void entry_refused(struct vcpu *vcpu, enum vmx_result result)
{
    uint32_t error = result == VMX_FAIL_VALID ? (uint32_t)vmread(VMCS_INSTRUCTION_ERROR) : 0;
    bool by_rule = error == VMX_ERROR_CONTROLS || error == VMX_ERROR_HOST_STATE;
    const char *rule = by_rule ? vmx_check_entry() : NULL;
    log_warn("VT-x: entry refused: %s (%u)%s%s", vmx_error_name(error), error, rule ? ": " : "",
             rule ? rule : "");
    vcpu->exit.kind = EXIT_ENTRY_FAILED;
    vcpu->exit.raw = error;
}

static void run(struct vcpu *vcpu)
{
    struct vmx *vmx = vcpu->vendor;
    /* The rest is set by whatever decodes the kind of exit that uses it. */
    vcpu->exit.kind = EXIT_TRIPLE_FAULT;
    vcpu->exit.length = 0;
    if (vmx->triple_fault)
        return;
    if (cpu_this()->current != vcpu)
        vmx_make_current(vcpu);
    load(vcpu);
    vmx_event_deliver(vmx);
    guest_enter(vcpu);
    flush_if_revoked(vcpu);
    x86_write_cr2(vcpu->cr2);
    vmx_count_entry(vmx->last_kind);
    mitigations_before_entry();
    enum vmx_result result = vmx_enter(vcpu->regs, vmx->launched, &vmx->host_rsp);
    vcpu->cr2 = x86_read_cr2();
    guest_leave();
    if (result != VMX_OK) {
        entry_refused(vcpu, result);
        return;
    }
    vmx->launched = true;
    vmx_exit_decode(vcpu);
    vmx->last_kind = (uint8_t)vcpu->exit.kind;
    if (vcpu->exit.kind == EXIT_WINDOW)
        vmx_proc_set(vmx, vmx->proc & ~(PROC_INTERRUPT_WINDOW | PROC_NMI_WINDOW));
}

static uint64_t get(struct vcpu *vcpu, enum vcpu_state what)
{
    vmx_make_current(vcpu);
    return vmx_state_get(vcpu, what);
}

static void set(struct vcpu *vcpu, enum vcpu_state what, uint64_t value)
{
    vmx_make_current(vcpu);
    vmx_state_set(vcpu, what, value);
}

static void dump(struct vcpu *vcpu)
{
    vmx_make_current(vcpu);
    vmx_dump(vcpu);
}

const struct vcpu_ops vmx_ops = {
    .name = "VT-x",
    .cpu_enable = cpu_enable,
    .cpu_join = cpu_enable_further,
    .reset_real = reset_real,
    .unload = unload,
    .create = create,
    .destroy = destroy,
    .run = run,
    .get = get,
    .set = set,
    .skip = vmx_skip,
    .inject = vmx_inject,
    .can_interrupt = vmx_can_interrupt,
    .can_nmi = vmx_can_nmi,
    .dump = dump,
};
