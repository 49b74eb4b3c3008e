/*
 * Turning AMD-V on: what the CPU must have is refused by name when it is missing,
 * what is only wanted is used where it is (APM volume 2, 15.4; volume 3, E.4.9).
 */
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/fpu.h"
#include "hv/svm_vcpu.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/entry_npt.h"

#define IOPM_BYTES  (3 * PAGE_SIZE) /* 15.10.1 */
#define MSRPM_BYTES (2 * PAGE_SIZE) /* 15.11 */

struct svm_config svm_config;
static struct svm_cpu cpus[MACHINE_CPU_MAX];

struct svm_cpu *svm_cpu_this(void)
{
    return &cpus[cpu_this()->index];
}

static void feature_add(const char *name)
{
    if (vcpu_features.count < VCPU_FEATURE_MAX)
        vcpu_features.names[vcpu_features.count++] = name;
}

/* ---- once ------------------------------------------------------------------------ */

static bool features_settle(void)
{
    static char asid_text[24];
    static const struct {
        uint32_t bit;
        const char *name;
    } wanted[] = {
        { SVM_FEATURE_NRIP, "next RIP" },
        { SVM_FEATURE_DECODE, "decode assists" },
        { SVM_FEATURE_FLUSH, "flush by ASID" },
    };
    struct x86_cpuid leaf = x86_cpuid(SVM_FEATURE_LEAF, 0);
    if (!(leaf.edx & SVM_FEATURE_NPT))
        return vcpu_refuse("AMD-V: no nested paging (CPUID 8000000Ah EDX.NP is 0)");
    if (leaf.ebx < 2)
        return vcpu_refuse("AMD-V: no ASID for guests (%u in all)", leaf.ebx);
    svm_config.features = leaf.edx;
    svm_config.asid_count = leaf.ebx;
    vcpu_features.format = &entry_npt;
    vcpu_features.accessed_dirty = true;
    /* Every processor with long mode has them in its tables (APM volume 2, 5.3.4). */
    vcpu_features.large_pages = vcpu_features.large_execute = true;
    vcpu_features.trains_returns = true;
    feature_add("nested paging");
    fmt_print(asid_text, sizeof(asid_text), "%u ASIDs", leaf.ebx);
    feature_add(asid_text);
    for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (leaf.edx & wanted[i].bit)
            feature_add(wanted[i].name);
    return true;
}

/* Bits of CR4 known to be confined to a guest and shown to it by CPUID. */
static void cr4_settle(void)
{
    uint32_t leaf7 = x86_cpuid(0, 0).eax >= 7 ? x86_cpuid(7, 0).ebx : 0;
    svm_config.cr4_allowed = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |
                             CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (leaf7 & 1u << 0)
        svm_config.cr4_allowed |= CR4_FSGSBASE;
    if (leaf7 & 1u << 7)
        svm_config.cr4_allowed |= CR4_SMEP;
    if (leaf7 & 1u << 20)
        svm_config.cr4_allowed |= CR4_SMAP;
    if (fpu_xcr0_mask())
        svm_config.cr4_allowed |= CR4_OSXSAVE;
}

/* 15.11: two bits an MSR, reading and writing; 2 KiB each for MSRs from 0, from
 * C0000000h and from C0010000h. */
static void msr_allow(uint8_t *map, uint32_t msr)
{
    uint32_t bit = (msr >= 0xc0000000u ? 2048 * 8 : 0) + 2 * (msr & 0x1fff);
    map[bit / 8] &= (uint8_t) ~(3u << bit % 8);
}

/* Guests reach these MSRs without an exit: VMLOAD and VMSAVE switch them. All
 * others exit, and all ports. */
static bool maps_make(void)
{
    static const uint32_t direct[] = { MSR_FS_BASE,     MSR_GS_BASE,     MSR_KERNEL_GS_BASE,
                                       MSR_STAR,        MSR_LSTAR,       MSR_CSTAR,
                                       MSR_SFMASK,      MSR_SYSENTER_CS, MSR_SYSENTER_ESP,
                                       MSR_SYSENTER_EIP };
    uint8_t *io = bootmem_alloc(IOPM_BYTES, &svm_config.iopm);
    uint8_t *msr = bootmem_alloc(MSRPM_BYTES, &svm_config.msrpm);
    if (!io || !msr)
        return vcpu_refuse("AMD-V: no memory for the permission maps");
    memset(io, 0xff, IOPM_BYTES);
    memset(msr, 0xff, MSRPM_BYTES);
    for (unsigned i = 0; i < sizeof(direct) / sizeof(direct[0]); i++)
        msr_allow(msr, direct[i]);
    return true;
}

/* ---- each CPU ---------------------------------------------------------------------- */

static bool processor_allows(void)
{
    if (x86_cpuid(0x80000000u, 0).eax < SVM_FEATURE_LEAF ||
        !(x86_cpuid(0x80000001u, 0).ecx & CPUID_SVM))
        return vcpu_refuse("AMD-V not available: CPUID 80000001h ECX.SVM is 0");
    uint64_t control = x86_rdmsr(MSR_VM_CR);
    if (control & VM_CR_SVMDIS)
        return vcpu_refuse("AMD-V is %s by the firmware (VM_CR 0x%llx)",
                           control & VM_CR_LOCK ? "locked off" : "switched off",
                           (unsigned long long)control);
    return true;
}

static bool enable(void)
{
    struct svm_cpu *cpu = svm_cpu_this();
    hpa_t save;
    if (!bootmem_alloc(PAGE_SIZE, &save) || !bootmem_alloc(PAGE_SIZE, &cpu->host_vmcb))
        return vcpu_refuse("AMD-V: no memory for the host's state");
    x86_wrmsr(MSR_EFER, x86_rdmsr(MSR_EFER) | EFER_SVME);
    x86_wrmsr(MSR_VM_HSAVE, save.v);
    svm_save_host(cpu->host_vmcb.v);
    /* The first entry on this CPU begins a generation and flushes all ASIDs; no vCPU has
     * one of generation 0. */
    cpu->generation = 1;
    cpu->asid_next = svm_config.asid_count;
    return true;
}

bool svm_setup(void)
{
    if (!processor_allows())
        return false;
    if (!svm_config.asid_count) {
        if (!features_settle() || !maps_make())
            return false;
        cr4_settle();
    }
    return enable();
}
