/*
 * Mitigations on the processor: the capability bits read, and the deeds that are
 * not assembly; see mitigations.h. Interrupts are off in all of it.
 */
#include "hv/mitigations.h"
#include "hv/cpu.h"
#include "hv/vcpu.h"
#include "hv/x86.h"
#include "lib/log.h"

#define CPUID_TOPOLOGY          0xbu
#define TOPOLOGY_THREADS        1u /* level type in ECX */
#define CPUID_EXTENDED_TOPOLOGY 0x8000001eu
#define PRED_CMD_IBPB           1u
#define FLUSH_CMD_L1D           1u
#define RETURN_CALLS            32u /* the deepest return stack there is */
/* Twice the largest L1D of the CPUs that need it: it is not replaced strictly in turn. */
#define L1D_FILL_BYTES (64u * 1024u)

struct mitigations mitigations;
struct mitigation_facts mitigation_facts;
uint8_t mitigation_verw, mitigation_return_calls, mitigation_ibpb_exit;
uint64_t mitigation_spec_ctrl;

static uint8_t l1d_filler[L1D_FILL_BYTES] __attribute__((aligned(PAGE_SIZE)));

static struct x86_cpuid leaf(uint32_t number, uint32_t sub)
{
    if (x86_cpuid(number & 0x80000000u, 0).eax < number)
        return (struct x86_cpuid){ 0 };
    return x86_cpuid(number, sub);
}

/* SDM volume 2, leaf BH: sub-leaf 0 counts the threads of a core, where cores have several. */
static unsigned threads_per_core(void)
{
    struct x86_cpuid level = leaf(CPUID_TOPOLOGY, 0);
    unsigned threads = (level.ecx >> 8 & 0xff) == TOPOLOGY_THREADS ? level.ebx & 0xffff : 0;
    if (!threads && (leaf(0x80000001u, 0).ecx >> 22 & 1)) /* topology extensions */
        threads = (leaf(CPUID_EXTENDED_TOPOLOGY, 0).ebx >> 8 & 0xff) + 1;
    return threads ? threads : 1;
}

static void facts_read(struct mitigation_facts *f)
{
    struct x86_cpuid seven = leaf(7, 0);
    *f = (struct mitigation_facts){
        .leaf_7_edx = seven.edx,
        .leaf_7_ebx = seven.ebx,
        .leaf_7_2_edx = seven.eax >= 2 ? x86_cpuid(7, 2).edx : 0,
        .leaf_80000008_ebx = leaf(0x80000008u, 0).ebx,
        .leaf_80000021_eax = leaf(0x80000021u, 0).eax,
        .threads = threads_per_core(),
        .forwards_faults = vcpu_features.forwards_faults,
        .trains_returns = vcpu_features.trains_returns,
    };
    if (seven.edx & CPUID_7_EDX_ARCH_CAPABILITIES)
        f->arch_capabilities = x86_rdmsr(MSR_ARCH_CAPABILITIES);
}

void mitigations_init(bool off)
{
    facts_read(&mitigation_facts);
    mitigations_decide(&mitigations, &mitigation_facts, off);
    const struct mitigations *m = &mitigations;
    mitigation_verw = m->on[MITIGATION_VERW];
    mitigation_ibpb_exit = m->on[MITIGATION_IBPB_EXIT];
    mitigation_return_calls =
        m->on[MITIGATION_RETURN_STUFF] ? RETURN_CALLS : m->on[MITIGATION_RETURN_ONE];
    mitigation_spec_ctrl = m->on[MITIGATION_IBRS_SWITCH] ? m->spec_ctrl : 0;
    for (unsigned i = 0; i < LEAK_COUNT; i++)
        if (m->leaks[i] == LEAK_OPEN || m->leaks[i] == LEAK_SWITCHED_OFF)
            log_info("ballast: mitigations: %s %s", mitigation_leak_name((enum leak)i),
                     m->leaks[i] == LEAK_OPEN ? "open: the processor offers no means"
                                              : "switched off");
}

void mitigations_cpu_init(void)
{
    const struct mitigations *m = &mitigations;
    if (m->on[MITIGATION_AUTO_IBRS])
        x86_wrmsr(MSR_EFER, x86_rdmsr(MSR_EFER) | EFER_AUTO_IBRS);
    if (m->spec_ctrl)
        x86_wrmsr(MSR_SPEC_CTRL, m->spec_ctrl);
    mitigations_taint();
}

void mitigations_on_switch(const struct vcpu *last, const struct vcpu *next)
{
    mitigations_taint();
    if (mitigations.on[MITIGATION_IBPB] && (!last || last->vm != next->vm))
        x86_wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
}

void mitigations_taint(void)
{
    cpu_this()->l1_tainted = true;
}

/* Every line once. The translations come first: a page walk in between would put
 * lines of the tables into the cache. */
static __attribute__((noinline)) void l1d_fill(void)
{
    for (unsigned i = 0; i < L1D_FILL_BYTES; i += PAGE_SIZE)
        (void)*(volatile uint8_t *)&l1d_filler[i];
    __asm__ volatile("lfence" : : : "memory");
    uint8_t *at = l1d_filler;
    __asm__ volatile("1:\n\t"
                     ".set line, 0\n\t"
                     ".rept 32\n\t"
                     "testb %%al, line(%0)\n\t"
                     ".set line, line + 64\n\t"
                     ".endr\n\t"
                     "addq $2048, %0\n\t"
                     "cmpq %1, %0\n\t"
                     "jb 1b\n\t"
                     "lfence"
                     : "+r"(at)
                     : "r"(l1d_filler + L1D_FILL_BYTES)
                     : "memory", "cc");
}

void mitigations_before_entry(void)
{
    struct cpu *cpu = cpu_this();
    if (!cpu->l1_tainted)
        return;
    cpu->l1_tainted = false;
    if (mitigations.on[MITIGATION_L1D_FLUSH])
        x86_wrmsr(MSR_FLUSH_CMD, FLUSH_CMD_L1D);
    else if (mitigations.on[MITIGATION_L1D_FILL])
        l1d_fill();
    else
        return;
    cpu->l1d_flush_count++;
}
