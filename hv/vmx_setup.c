/*
 * Turning VT-x on. What is asked of the CPU is a table: each control is required
 * or wanted; what a capability MSR does not allow is left out, or refused by name
 * when it is required (SDM volume 3, appendix A.2-A.5: low half of each MSR: bits
 * that must be 1, high half: bits that may be 1).
 */
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/vmx_vcpu.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/entry_ept.h"

#define CPUID_1_ECX_VMX (1u << 5)

struct vmx_config vmx_config;

enum need { REQUIRED, WANTED };

struct control {
    uint32_t bit;
    enum need need;
    const char *name;
};

static const struct control pin_controls[] = {
    { PIN_EXTERNAL_INTERRUPT, REQUIRED, "external-interrupt exiting" },
    { PIN_NMI, REQUIRED, "NMI exiting" },
    { PIN_VIRTUAL_NMI, REQUIRED, "virtual NMIs" },
    { PIN_TIMER, WANTED, "preemption timer" },
    { 0 },
};

static const struct control proc_controls[] = {
    { PROC_SECONDARY, REQUIRED, "EPT (no secondary controls)" },
    { PROC_MSR_BITMAPS, REQUIRED, "MSR bitmaps" },
    { PROC_TSC_OFFSET, REQUIRED, "TSC offsetting" },
    { PROC_HLT, REQUIRED, "HLT exiting" },
    { PROC_IO, REQUIRED, "unconditional I/O exiting" },
    { PROC_CR8_LOAD, REQUIRED, "CR8-load exiting" },
    { PROC_CR8_STORE, REQUIRED, "CR8-store exiting" },
    { PROC_MWAIT, WANTED, "MWAIT exiting" },
    { PROC_MONITOR, WANTED, "MONITOR exiting" },
    { PROC_RDPMC, WANTED, "RDPMC exiting" },
    { 0 },
};

static const struct control proc2_controls[] = {
    { PROC2_EPT, REQUIRED, "EPT" },
    { PROC2_UNRESTRICTED, REQUIRED, "unrestricted guest" },
    { PROC2_VPID, WANTED, "VPID" },
    { PROC2_RDTSCP, WANTED, "RDTSCP" },
    { PROC2_INVPCID, WANTED, "INVPCID" },
    { PROC2_WBINVD, WANTED, "WBINVD exiting" },
    { 0 },
};

static const struct control exit_controls[] = {
    { EXIT_CTL_HOST_64, REQUIRED, "64-bit host" },
    { EXIT_CTL_ACK_IRQ, REQUIRED, "acknowledge interrupt on exit" },
    { EXIT_CTL_SAVE_DEBUG, REQUIRED, "save debug controls" },
    { EXIT_CTL_SAVE_EFER, REQUIRED, "save IA32_EFER" },
    { EXIT_CTL_LOAD_EFER, REQUIRED, "load IA32_EFER on exit" },
    { EXIT_CTL_SAVE_PAT, REQUIRED, "save IA32_PAT" },
    { EXIT_CTL_LOAD_PAT, REQUIRED, "load IA32_PAT on exit" },
    { 0 },
};

/* IA-32e mode guest follows the guest's EFER.LMA; it must be allowed. */
static const struct control entry_controls[] = {
    { ENTRY_CTL_LOAD_DEBUG, REQUIRED, "load debug controls" },
    { ENTRY_CTL_LOAD_EFER, REQUIRED, "load IA32_EFER on entry" },
    { ENTRY_CTL_LOAD_PAT, REQUIRED, "load IA32_PAT on entry" },
    { ENTRY_CTL_IA32E, REQUIRED, "64-bit guests" },
    { 0 },
};

/* One word of controls. harmless: bits that the CPU may insist on (the reserved
 * ones among the default1 class, A.2). */
struct control_word {
    const char *name;
    uint32_t msr, true_msr;
    uint32_t harmless;
    const struct control *controls;
    uint32_t *value;
};

static const struct control_word control_words[] = {
    { "pin-based", MSR_VMX_PIN, MSR_VMX_TRUE_PIN, 0x00000016, pin_controls, &vmx_config.pin },
    { "processor-based", MSR_VMX_PROC, MSR_VMX_TRUE_PROC, 0x04006172, proc_controls,
      &vmx_config.proc },
    { "secondary", MSR_VMX_PROC2, MSR_VMX_PROC2, 0, proc2_controls, &vmx_config.proc2 },
    { "exit", MSR_VMX_EXIT, MSR_VMX_TRUE_EXIT, 0x00036dff, exit_controls, &vmx_config.exit },
    { "entry", MSR_VMX_ENTRY, MSR_VMX_TRUE_ENTRY, 0x000011ff, entry_controls, &vmx_config.entry },
};

static void feature_add(const char *name)
{
    if (vcpu_features.count < VCPU_FEATURE_MAX)
        vcpu_features.names[vcpu_features.count++] = name;
}

static bool control_word_settle(const struct control_word *word)
{
    bool is_true = vmx_config.basic & VMX_BASIC_TRUE_CONTROLS;
    uint64_t allowed = x86_rdmsr(is_true ? word->true_msr : word->msr);
    uint32_t must = (uint32_t)allowed, may = (uint32_t)(allowed >> 32), value = must;
    for (const struct control *control = word->controls; control->bit; control++) {
        if (may & control->bit) {
            value |= control->bit;
            if (control->need == WANTED)
                feature_add(control->name);
        } else if (control->need == REQUIRED) {
            return vcpu_refuse("VT-x: no %s", control->name);
        }
    }
    *word->value = value;
    return true;
}

/* Bits nobody asked for are on because the CPU insists. */
static bool control_word_check(const struct control_word *word)
{
    uint32_t known = word->harmless;
    for (const struct control *control = word->controls; control->bit; control++)
        known |= control->bit;
    if (*word->value & ~known)
        return vcpu_refuse("VT-x: the CPU insists on %s controls 0x%x", word->name,
                           *word->value & ~known);
    return true;
}

static bool controls_settle(void)
{
    /* In this order: the secondary word exists only where the primary one has its
     * switch. */
    for (unsigned i = 0; i < sizeof(control_words) / sizeof(control_words[0]); i++)
        if (!control_word_settle(&control_words[i]))
            return false;
    for (unsigned i = 0; i < sizeof(control_words) / sizeof(control_words[0]); i++)
        if (!control_word_check(&control_words[i]))
            return false;
    /* Set by run() from the guest's mode. */
    vmx_config.entry &= ~ENTRY_CTL_IA32E;
    return true;
}

/*
 * Not affected by the erratum of CVE-2018-12207: a guest that changes the size of its
 * own pages and executes from them does not stop the processor with a machine check
 * ("Intel Processor Machine Check Error Vulnerability" (338110); SDM volume 4, table
 * 2-2, MSR 10AH bit 6, IF_PSCHANGE_MC_NO).
 */
static bool page_size_changes_are_safe(void)
{
    if (x86_cpuid(0, 0).eax < 7 || !(x86_cpuid(7, 0).edx & CPUID_7_EDX_ARCH_CAPABILITIES))
        return false;
    return x86_rdmsr(MSR_ARCH_CAPABILITIES) & ARCH_CAP_PSCHANGE_MC_NO;
}

static bool ept_settle(void)
{
    uint64_t caps = vmx_config.capabilities = x86_rdmsr(MSR_VMX_EPT_VPID);
    if (!(caps & EPT_CAP_WALK_4))
        return vcpu_refuse("VT-x: no EPT with four levels");
    if (!(caps & (EPT_CAP_WB | EPT_CAP_UC)))
        return vcpu_refuse("VT-x: no known memory type for EPT structures");
    if (!(caps & EPT_CAP_INVEPT) || !(caps & (EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL)))
        return vcpu_refuse("VT-x: no INVEPT");
    vmx_config.eptp_bits = EPTP_WALK_4 | (caps & EPT_CAP_WB ? EPTP_MEMORY_WB : EPTP_MEMORY_UC);
    vcpu_features.format = &entry_ept;
    feature_add("EPT");
    feature_add("unrestricted guest");
    if (caps & EPT_CAP_ACCESSED_DIRTY) {
        vmx_config.eptp_bits |= EPTP_ACCESSED_DIRTY;
        vcpu_features.accessed_dirty = true;
        feature_add("EPT A/D bits");
    }
    if (caps & EPT_CAP_2M) {
        vcpu_features.large_pages = true;
        vcpu_features.large_execute = page_size_changes_are_safe();
        feature_add("EPT 2 MiB pages");
    }
    if (caps & EPT_CAP_1G)
        feature_add("EPT 1 GiB pages");
    bool vpid_usable =
        (caps & VPID_CAP_INVVPID) && (caps & (VPID_CAP_INVVPID_SINGLE | VPID_CAP_INVVPID_ALL));
    if (!vpid_usable)
        vmx_config.proc2 &= ~PROC2_VPID;
    vcpu_features.forwards_faults = true;
    vcpu_features.rdtscp = vmx_config.proc2 & PROC2_RDTSCP;
    vcpu_features.invpcid = vmx_config.proc2 & PROC2_INVPCID;
    return true;
}

/* Bits of CR4 that a guest may own: known to be confined to it, and present. */
#define CR4_CONFINED                                                                               \
    (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR |   \
     CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)

static bool control_registers_settle(void)
{
    vmx_config.cr0_fixed0 = x86_rdmsr(MSR_VMX_CR0_FIXED0);
    vmx_config.cr0_fixed1 = x86_rdmsr(MSR_VMX_CR0_FIXED1);
    vmx_config.cr4_fixed0 = x86_rdmsr(MSR_VMX_CR4_FIXED0);
    vmx_config.cr4_fixed1 = x86_rdmsr(MSR_VMX_CR4_FIXED1);
    vmx_config.cr4_owned = CR4_CONFINED & vmx_config.cr4_fixed1;
    uint64_t cr0 = (x86_read_cr0() | vmx_config.cr0_fixed0) & vmx_config.cr0_fixed1;
    uint64_t cr4 = x86_read_cr4() | CR4_VMXE | vmx_config.cr4_fixed0;
    if (cr4 & ~vmx_config.cr4_fixed1)
        return vcpu_refuse("VT-x: CR4 bits 0x%llx are not allowed in VMX operation",
                           (unsigned long long)(cr4 & ~vmx_config.cr4_fixed1));
    x86_write_cr0(cr0);
    x86_write_cr4(cr4);
    return true;
}

/* SDM volume 3, 24.6.9: 1 KiB each for reads of low and high MSRs, then writes. */
static void msr_allow(uint8_t *bitmap, uint32_t msr)
{
    uint32_t bit = (msr & 0x1fff) + (msr >= 0xc0000000u ? 1024 * 8 : 0);
    bitmap[bit / 8] &= (uint8_t) ~(1u << bit % 8);
    bitmap[2048 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* Guests reach these MSRs without an exit: they are in the VMCS or switched with
 * the vCPU. All others exit. */
static bool msr_bitmap_make(void)
{
    static const uint32_t direct[] = { MSR_FS_BASE,      MSR_GS_BASE,     MSR_KERNEL_GS_BASE,
                                       MSR_STAR,         MSR_LSTAR,       MSR_CSTAR,
                                       MSR_SFMASK,       MSR_SYSENTER_CS, MSR_SYSENTER_ESP,
                                       MSR_SYSENTER_EIP, MSR_PAT };
    uint8_t *bitmap = bootmem_alloc(PAGE_SIZE, &vmx_config.msr_bitmap);
    if (!bitmap)
        return vcpu_refuse("VT-x: no memory for the MSR bitmap");
    memset(bitmap, 0xff, PAGE_SIZE);
    for (unsigned i = 0; i < sizeof(direct) / sizeof(direct[0]); i++)
        msr_allow(bitmap, direct[i]);
    if (vcpu_features.rdtscp)
        msr_allow(bitmap, MSR_TSC_AUX);
    return true;
}

/* IA32_FEATURE_CONTROL (SDM volume 3, 23.7): what firmware left unlocked is
 * locked here with VMX on. */
static bool firmware_allows(void)
{
    uint64_t control = x86_rdmsr(MSR_FEATURE_CONTROL);
    if (!(control & FEATURE_CONTROL_LOCKED))
        x86_wrmsr(MSR_FEATURE_CONTROL, control | FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX);
    else if (!(control & FEATURE_CONTROL_VMX))
        return vcpu_refuse("VT-x is locked off by the firmware (IA32_FEATURE_CONTROL 0x%llx)",
                           (unsigned long long)control);
    return true;
}

static bool vmx_operation_enter(void)
{
    hpa_t address;
    uint32_t *region = bootmem_alloc(PAGE_SIZE, &address);
    if (!region)
        return vcpu_refuse("VT-x: no memory for the VMXON region");
    *region = VMX_BASIC_REVISION(vmx_config.basic);
    if (vmx_on(address.v) != VMX_OK)
        return vcpu_refuse("VT-x: VMXON failed");
    /* Nothing of an earlier life of these tags may be left. Where only one kind
     * exists each context is flushed before its first entry. */
    if ((vmx_config.capabilities & EPT_CAP_INVEPT_ALL) && vmx_invept(INVALIDATE_ALL, 0) != VMX_OK)
        return vcpu_refuse("VT-x: INVEPT failed");
    if ((vmx_config.proc2 & PROC2_VPID) && (vmx_config.capabilities & VPID_CAP_INVVPID_ALL) &&
        vmx_invvpid(INVALIDATE_ALL, 0) != VMX_OK)
        return vcpu_refuse("VT-x: INVVPID failed");
    return true;
}

/* What was settled on the boot CPU must hold here as well: guests change CPUs. */
static bool controls_hold(void)
{
    for (unsigned i = 0; i < sizeof(control_words) / sizeof(control_words[0]); i++) {
        const struct control_word *word = &control_words[i];
        bool is_true = vmx_config.basic & VMX_BASIC_TRUE_CONTROLS;
        uint64_t allowed = x86_rdmsr(is_true ? word->true_msr : word->msr);
        uint32_t must = (uint32_t)allowed, may = (uint32_t)(allowed >> 32);
        /* The entry word gets its mode bit from the guest. */
        uint32_t value = *word->value, spare = word->value == &vmx_config.entry;
        if ((must & ~(value | (spare ? ENTRY_CTL_IA32E : 0))) || (value & ~may))
            return false;
    }
    return true;
}

bool vmx_setup_join(void)
{
    if (!(x86_cpuid(1, 0).ecx & CPUID_1_ECX_VMX) || !firmware_allows())
        return false;
    if (x86_rdmsr(MSR_VMX_BASIC) != vmx_config.basic ||
        x86_rdmsr(MSR_VMX_EPT_VPID) != vmx_config.capabilities || !controls_hold())
        return vcpu_refuse("VT-x: CPU %u offers other features than the first", cpu_this()->index);
    return control_registers_settle() && vmx_operation_enter();
}

bool vmx_setup(void)
{
    if (!(x86_cpuid(1, 0).ecx & CPUID_1_ECX_VMX))
        return vcpu_refuse("VT-x not available: CPUID.1:ECX.VMX is 0");
    if (!firmware_allows())
        return false;
    vmx_config.basic = x86_rdmsr(MSR_VMX_BASIC);
    if (VMX_BASIC_MEMORY(vmx_config.basic) != EPTP_MEMORY_WB)
        return vcpu_refuse("VT-x: VMCS memory is not write-back");
    return controls_settle() && ept_settle() && control_registers_settle() && msr_bitmap_make() &&
           vmx_operation_enter();
}
