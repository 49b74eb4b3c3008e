#include "hv/cpuid.h"
#include "drivers/clock.h"
#include "hv/fpu.h"
#include "hv/vm.h"
#include "hv/x86.h"

#define BIT(n) (1u << (n))

/* Leaf 1 ECX: SSE3, PCLMULQDQ, SSSE3, FMA, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT,
 * AES, F16C, RDRAND. Hidden among others: MONITOR (3), VMX (5), PCID (17),
 * x2APIC (21), TSC deadline (24). XSAVE, AVX and FMA depend on XCR0. */
#define LEAF1_ECX                                                                                  \
    (BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) | BIT(30))
#define LEAF1_ECX_XSAVE   BIT(26)
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF1_ECX_AVX     (BIT(12) | BIT(28) | BIT(29)) /* FMA, AVX, F16C */
#define LEAF1_ECX_GUEST   BIT(31)
/* Leaf 1 EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, APIC, SEP, PGE, CMOV, PAT,
 * PSE-36, CLFSH, MMX, FXSR, SSE, SSE2, SS. Hidden: MCE, MTRR, MCA, DS, ACPI, HTT. */
#define LEAF1_EDX                                                                                  \
    (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(11) |    \
     BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26) |     \
     BIT(27))
/* Leaf 7 EBX: FSGSBASE, FDP_EXCPTN, BMI1, SMEP, BMI2, ERMS, FPU CS/DS, RDSEED,
 * ADX, SMAP, CLFLUSHOPT, CLWB, SHA; TSC_ADJUST (1) always. Hidden: HLE (4), INVPCID (10),
 * RTM (11), MPX (14). */
#define LEAF7_EBX                                                                                  \
    (BIT(0) | BIT(3) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(13) | BIT(18) | BIT(19) | BIT(20) | \
     BIT(23) | BIT(24) | BIT(29))
#define LEAF7_EBX_TSC_ADJUST BIT(1)
#define LEAF7_EBX_AVX        BIT(5)
#define LEAF7_EBX_AVX512                                                                           \
    (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
/* 80000001h ECX: LAHF, ABM, 3DNow prefetch. EDX: SYSCALL, NX, 1 GiB pages, LM;
 * hidden: RDTSCP (27). */
#define EXTENDED1_ECX (BIT(0) | BIT(5) | BIT(8))
#define EXTENDED1_EDX (BIT(11) | BIT(20) | BIT(26) | BIT(29))

#define XCR0_AVX          0x6ull
#define XCR0_AVX512       0xe6ull
#define LEAF_MAX          0x16u
#define LEAF_EXTENDED_MAX 0x80000008u
#define KHZ_OF(hz)        ((uint32_t)((hz) / 1000u))
#define MHZ_OF(hz)        ((uint32_t)((hz) / 1000000u))

static bool xcr0_has(uint64_t bits)
{
    return (fpu_xcr0_mask() & bits) == bits;
}

static void leaf_0(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    r->eax = LEAF_MAX;
}

static void leaf_1(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)sub;
    uint32_t allowed = LEAF1_ECX;
    if (fpu_xcr0_mask())
        allowed |= LEAF1_ECX_XSAVE;
    if (xcr0_has(XCR0_AVX))
        allowed |= LEAF1_ECX_AVX;
    /* Line size kept, logical CPUs, number of the APIC. */
    r->ebx = (r->ebx & 0xff00u) | vcpu->vm->vcpu_count << 16 | vcpu->mm.index << 24;
    r->ecx = (r->ecx & allowed) | LEAF1_ECX_GUEST;
    if (vcpu_ops->get(vcpu, STATE_CR4) & CR4_OSXSAVE)
        r->ecx |= LEAF1_ECX_OSXSAVE;
    r->edx &= LEAF1_EDX;
    if (!dev_lapic_is_enabled(vm_lapic(vcpu)))
        r->edx &= ~BIT(9);
}

/* Caches: sizes as they are, one core, one thread. */
static void leaf_4(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    r->eax &= 0x3fffu;
}

static void leaf_6(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    *r = (struct x86_cpuid){ .eax = BIT(2) }; /* ARAT: the APIC timer never stops */
}

static void leaf_7(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    uint32_t allowed = LEAF7_EBX;
    if (xcr0_has(XCR0_AVX))
        allowed |= LEAF7_EBX_AVX;
    if (xcr0_has(XCR0_AVX512))
        allowed |= LEAF7_EBX_AVX512;
    *r = (struct x86_cpuid){ .ebx = sub ? 0 : (r->ebx & allowed) | LEAF7_EBX_TSC_ADJUST };
}

/* Topology: every vCPU is a core of one thread. */
static void leaf_b(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    *r = (struct x86_cpuid){ .ecx = sub, .edx = vcpu->mm.index };
    if (sub < 2) {
        r->ebx = sub ? vcpu->vm->vcpu_count : 1;
        r->ecx |= (sub + 1) << 8;
    }
    if (sub == 1)
        while (1u << r->eax < r->ebx)
            r->eax++;
}

/* Bytes an XSAVE area needs for the components in mask (not compacted). */
static uint32_t xsave_size(uint64_t mask)
{
    uint32_t size = 512 + 64;
    for (unsigned i = 2; i < 63; i++) {
        if (!(mask >> i & 1))
            continue;
        struct x86_cpuid c = x86_cpuid(0xd, i);
        if (c.ebx + c.eax > size)
            size = c.ebx + c.eax;
    }
    return size;
}

static void leaf_d(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    uint64_t mask = fpu_xcr0_mask();
    if (!mask || sub > 62) {
        *r = (struct x86_cpuid){ 0 };
    } else if (sub == 0) {
        *r = (struct x86_cpuid){ (uint32_t)mask, xsave_size(vcpu->xcr0), xsave_size(mask),
                                 (uint32_t)(mask >> 32) };
    } else if (sub == 1) {
        /* XSAVEOPT, XSAVEC, XGETBV(1); not XSAVES. */
        *r = (struct x86_cpuid){ .eax = r->eax & 7u };
    } else if (!(mask >> sub & 1)) {
        *r = (struct x86_cpuid){ 0 };
    }
}

/* TSC = crystal * EBX / EAX; the crystal drives the local APIC timer. */
static void leaf_15(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    *r = (struct x86_cpuid){ .eax = KHZ_OF(GUEST_LAPIC_HZ),
                             .ebx = KHZ_OF(clock_tsc_hz()),
                             .ecx = GUEST_LAPIC_HZ };
}

static void leaf_16(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    uint32_t mhz = MHZ_OF(clock_tsc_hz());
    *r = (struct x86_cpuid){ mhz, mhz, MHZ_OF(GUEST_LAPIC_HZ), 0 };
}

static void leaf_hypervisor(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    /* "BallastBalla" in EBX, ECX, EDX. */
    *r = (struct x86_cpuid){ CPUID_HYPERVISOR_TIMING, 0x6c6c6142u, 0x42747361u, 0x616c6c61u };
}

static void leaf_timing(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    *r = (struct x86_cpuid){ .eax = KHZ_OF(clock_tsc_hz()), .ebx = KHZ_OF(GUEST_LAPIC_HZ) };
}

static void leaf_extended_0(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    leaf_0(vcpu, sub, r);
    r->eax = LEAF_EXTENDED_MAX;
}

static void leaf_extended_1(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    r->ebx = 0;
    r->ecx &= EXTENDED1_ECX;
    r->edx &= EXTENDED1_EDX;
}

static void leaf_extended_7(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    *r = (struct x86_cpuid){ .edx = BIT(8) }; /* invariant TSC */
}

static void leaf_extended_8(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    *r = (struct x86_cpuid){ .eax = r->eax & 0xffffu }; /* address widths */
}

static void leaf_as_it_is(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r)
{
    (void)vcpu;
    (void)sub;
    (void)r;
}

/* Leaves that are not listed read as zero. The handler is given what the CPU
 * says, where the CPU has that leaf, and zeros otherwise. */
static const struct {
    uint32_t leaf;
    void (*fill)(struct vcpu *vcpu, uint32_t sub, struct x86_cpuid *r);
} leaves[] = {
    { 0x0, leaf_0 },
    { 0x1, leaf_1 },
    { 0x2, leaf_as_it_is },
    { 0x4, leaf_4 },
    { 0x6, leaf_6 },
    { 0x7, leaf_7 },
    { 0xb, leaf_b },
    { 0xd, leaf_d },
    { 0x15, leaf_15 },
    { 0x16, leaf_16 },
    { CPUID_HYPERVISOR_BASE, leaf_hypervisor },
    { CPUID_HYPERVISOR_TIMING, leaf_timing },
    { 0x80000000u, leaf_extended_0 },
    { 0x80000001u, leaf_extended_1 },
    { 0x80000002u, leaf_as_it_is },
    { 0x80000003u, leaf_as_it_is },
    { 0x80000004u, leaf_as_it_is },
    { 0x80000005u, leaf_as_it_is },
    { 0x80000006u, leaf_as_it_is },
    { 0x80000007u, leaf_extended_7 },
    { 0x80000008u, leaf_extended_8 },
};

/* Highest leaf of the CPU's, basic and extended. CPUID is slow, and under a
 * hypervisor an exit of its own. */
static uint32_t last_basic, last_extended;

static bool cpu_has_leaf(uint32_t leaf)
{
    if (!last_extended) {
        last_basic = x86_cpuid(0, 0).eax;
        last_extended = x86_cpuid(0x80000000u, 0).eax;
    }
    return leaf <= last_basic || (leaf >= 0x80000000u && leaf <= last_extended);
}

void cpuid_handle(struct vcpu *vcpu)
{
    uint32_t leaf = (uint32_t)vcpu->regs[REG_RAX], sub = (uint32_t)vcpu->regs[REG_RCX];
    struct x86_cpuid r = { 0 };
    for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        if (leaves[i].leaf != leaf)
            continue;
        if (cpu_has_leaf(leaf))
            r = x86_cpuid(leaf, sub);
        leaves[i].fill(vcpu, sub, &r);
        break;
    }
    vcpu->regs[REG_RAX] = r.eax;
    vcpu->regs[REG_RBX] = r.ebx;
    vcpu->regs[REG_RCX] = r.ecx;
    vcpu->regs[REG_RDX] = r.edx;
    vcpu_ops->skip(vcpu);
}
