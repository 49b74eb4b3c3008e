/*
 * Which leaks the processor has and what is done about each; see mitigations.h.
 * Nothing privileged here: tests/host/test_mitigations.c walks the table.
 */
#include "hv/mitigations.h"
#include "lib/string.h"

#define BIT(n) (1ull << (n))

/* CPUID 7 EDX and EBX, 7.2 EDX */
#define D7_MD_CLEAR    BIT(10)
#define D7_IBRS        BIT(26) /* IA32_SPEC_CTRL.IBRS and IA32_PRED_CMD.IBPB */
#define D7_STIBP       BIT(27)
#define D7_L1D_FLUSH   BIT(28)
#define B7_RTM         BIT(11)
#define D72_RRSBA_CTRL BIT(2)
#define D72_BHI_CTRL   BIT(4)
/* IA32_ARCH_CAPABILITIES */
#define ARCH_RDCL_NO      BIT(0)
#define ARCH_IBRS_ALL     BIT(1)
#define ARCH_SKIP_L1D     BIT(3)
#define ARCH_MDS_NO       BIT(5)
#define ARCH_TAA_NO       BIT(8)
#define ARCH_SBDR_SSDP_NO BIT(13)
#define ARCH_FBSDP_NO     BIT(14)
#define ARCH_PSDP_NO      BIT(15)
#define ARCH_FB_CLEAR     BIT(17)
#define ARCH_RRSBA        BIT(19)
#define ARCH_BHI_NO       BIT(20)
#define ARCH_PBRSB_NO     BIT(24)
#define ARCH_RFDS_NO      BIT(27)
#define ARCH_RFDS_CLEAR   BIT(28)
#define ARCH_MMIO_NO      (ARCH_SBDR_SSDP_NO | ARCH_FBSDP_NO | ARCH_PSDP_NO)
/* CPUID 80000008 EBX, 80000021 EAX */
#define B8_IBPB         BIT(12)
#define B8_IBRS         BIT(14)
#define B8_STIBP        BIT(15)
#define B8_IBRS_ALWAYS  BIT(16)
#define B8_BTC_NO       BIT(29)
#define A21_AUTO_IBRS   BIT(8)
#define A21_IBPB_BRTYPE BIT(28)
#define A21_SRSO_NO     BIT(29)
#define SPEC_CTRL_IBRS  BIT(0)
#define SPEC_CTRL_STIBP BIT(1)
#define SPEC_CTRL_RRSBA BIT(6)
#define SPEC_CTRL_BHI   BIT(10)

static bool arch(const struct mitigation_facts *f, uint64_t bits)
{
    return (f->arch_capabilities & bits) == bits;
}

static bool has_ibpb(const struct mitigation_facts *f)
{
    return (f->leaf_7_edx & D7_IBRS) || (f->leaf_80000008_ebx & B8_IBPB);
}

static bool has_ibrs(const struct mitigation_facts *f)
{
    return (f->leaf_7_edx & D7_IBRS) || (f->leaf_80000008_ebx & B8_IBRS);
}

static bool has_enhanced_ibrs(const struct mitigation_facts *f)
{
    return has_ibrs(f) && (arch(f, ARCH_IBRS_ALL) || (f->leaf_80000008_ebx & B8_IBRS_ALWAYS));
}

/* Marks a leak that the CPU has: closed by the deeds given, or open for want of
 * means. */
static void judge(struct mitigations *m, enum leak leak, bool affected, bool closed)
{
    m->leaks[leak] = !affected ? LEAK_NOT_AFFECTED : closed ? LEAK_MITIGATED : LEAK_OPEN;
}

/* L1 terminal fault: a guest's own tables may name any address in the cache. The
 * outer hypervisor of a nested one flushes, and says so (SKIP_L1DFL_VMENTRY). */
static void decide_l1tf(struct mitigations *m, const struct mitigation_facts *f)
{
    bool affected = f->forwards_faults && !arch(f, ARCH_RDCL_NO);
    bool needed = affected && !arch(f, ARCH_SKIP_L1D);
    bool by_msr = f->leaf_7_edx & D7_L1D_FLUSH;
    m->on[MITIGATION_L1D_FLUSH] = needed && by_msr;
    m->on[MITIGATION_L1D_FILL] = needed && !by_msr;
    judge(m, LEAK_L1TF, affected, true);
}

/* Fill, load and store buffers, register files: VERW overwrites them where the
 * microcode says so. */
static void decide_buffers(struct mitigations *m, const struct mitigation_facts *f)
{
    bool md_clear = f->leaf_7_edx & D7_MD_CLEAR;
    bool mds = f->forwards_faults && !arch(f, ARCH_MDS_NO);
    bool taa = f->forwards_faults && !arch(f, ARCH_TAA_NO) && (f->leaf_7_ebx & B7_RTM);
    bool mmio = f->forwards_faults && !arch(f, ARCH_MMIO_NO);
    bool rfds = arch(f, ARCH_RFDS_CLEAR) && !arch(f, ARCH_RFDS_NO);
    bool fb_clear = arch(f, ARCH_FB_CLEAR) || (md_clear && !arch(f, ARCH_MDS_NO));
    judge(m, LEAK_MDS, mds, md_clear);
    judge(m, LEAK_TAA, taa, md_clear);
    judge(m, LEAK_MMIO, mmio, fb_clear);
    judge(m, LEAK_RFDS, rfds, true);
    m->on[MITIGATION_VERW] = ((mds || taa) && md_clear) || (mmio && fb_clear) || rfds;
}

/* Indirect branches. The hypervisor's own are compiled to return trampolines; IBRS
 * covers what they leave, returns on CPUs that predict them from elsewhere. IBPB
 * keeps VMs apart. */
static void decide_branches(struct mitigations *m, const struct mitigation_facts *f)
{
    bool automatic = f->leaf_80000021_eax & A21_AUTO_IBRS;
    bool enhanced = !automatic && has_enhanced_ibrs(f);
    bool between = has_ibpb(f);
    m->on[MITIGATION_IBPB] = between;
    m->on[MITIGATION_AUTO_IBRS] = automatic;
    m->on[MITIGATION_IBRS] = enhanced;
    m->on[MITIGATION_IBRS_SWITCH] = !automatic && !enhanced && has_ibrs(f);
    m->on[MITIGATION_STIBP] = enhanced && f->threads > 1 &&
                              ((f->leaf_7_edx & D7_STIBP) || (f->leaf_80000008_ebx & B8_STIBP));
    judge(m, LEAK_SPECTRE_V2, true, between);

    bool history = f->forwards_faults && enhanced && !arch(f, ARCH_BHI_NO);
    bool stopped = f->leaf_7_2_edx & D72_BHI_CTRL;
    m->on[MITIGATION_BHI_DIS_S] = history && stopped;
    m->on[MITIGATION_RRSBA_DIS_S] =
        enhanced && arch(f, ARCH_RRSBA) && (f->leaf_7_2_edx & D72_RRSBA_CTRL);
    /* Without the switch the trampolines suffice, unless returns fall back on the
     * predictor of indirect branches. */
    judge(m, LEAK_BHI, history, stopped || !arch(f, ARCH_RRSBA) || m->on[MITIGATION_RRSBA_DIS_S]);
}

/* The return stack holds what the guest called. Where IBRS or AutoIBRS keeps it
 * apart, one entry may remain (PBRSB). */
static void decide_returns(struct mitigations *m, const struct mitigation_facts *f)
{
    bool apart = m->on[MITIGATION_IBRS] || m->on[MITIGATION_AUTO_IBRS];
    bool one = m->on[MITIGATION_IBRS] && f->forwards_faults && !arch(f, ARCH_PBRSB_NO);
    m->on[MITIGATION_RETURN_ONE] = one;
    m->on[MITIGATION_RETURN_STUFF] = !apart;
    judge(m, LEAK_RETURNS, one || !apart, true);

    bool btc = f->trains_returns && !(f->leaf_80000008_ebx & B8_BTC_NO);
    bool srso = f->trains_returns && !(f->leaf_80000021_eax & A21_SRSO_NO);
    bool srso_closed = has_ibpb(f) && (btc || (f->leaf_80000021_eax & A21_IBPB_BRTYPE));
    m->on[MITIGATION_IBPB_EXIT] = has_ibpb(f) && (btc || (srso && srso_closed));
    judge(m, LEAK_BTC, btc, has_ibpb(f));
    judge(m, LEAK_SRSO, srso, srso_closed);
}

static void decide_siblings(struct mitigations *m, const struct mitigation_facts *f)
{
    bool shared = m->leaks[LEAK_L1TF] || m->leaks[LEAK_MDS] || m->leaks[LEAK_TAA] ||
                  m->leaks[LEAK_MMIO] || m->leaks[LEAK_BTC];
    m->on[MITIGATION_SIBLINGS_APART] = f->threads > 1 && shared;
}

static void switch_off(struct mitigations *m)
{
    memset(m->on, 0, sizeof(m->on));
    for (unsigned i = 0; i < LEAK_COUNT; i++)
        if (m->leaks[i] != LEAK_NOT_AFFECTED)
            m->leaks[i] = LEAK_SWITCHED_OFF;
}

void mitigations_decide(struct mitigations *m, const struct mitigation_facts *facts, bool off)
{
    *m = (struct mitigations){ .automatic = !off };
    decide_l1tf(m, facts);
    decide_buffers(m, facts);
    decide_branches(m, facts);
    decide_returns(m, facts);
    decide_siblings(m, facts);
    if (off)
        switch_off(m);
    if (m->on[MITIGATION_IBRS] || m->on[MITIGATION_IBRS_SWITCH])
        m->spec_ctrl |= SPEC_CTRL_IBRS;
    if (m->on[MITIGATION_STIBP])
        m->spec_ctrl |= SPEC_CTRL_STIBP;
    if (m->on[MITIGATION_RRSBA_DIS_S])
        m->spec_ctrl |= SPEC_CTRL_RRSBA;
    if (m->on[MITIGATION_BHI_DIS_S])
        m->spec_ctrl |= SPEC_CTRL_BHI;
}

const char *mitigation_name(enum mitigation which)
{
    static const char *const names[MITIGATION_COUNT] = {
        [MITIGATION_L1D_FLUSH] = "l1d_flush",
        [MITIGATION_L1D_FILL] = "l1d_fill",
        [MITIGATION_VERW] = "verw",
        [MITIGATION_IBPB] = "ibpb",
        [MITIGATION_IBPB_EXIT] = "ibpb_exit",
        [MITIGATION_IBRS] = "ibrs",
        [MITIGATION_IBRS_SWITCH] = "ibrs_switch",
        [MITIGATION_AUTO_IBRS] = "auto_ibrs",
        [MITIGATION_STIBP] = "stibp",
        [MITIGATION_BHI_DIS_S] = "bhi_dis_s",
        [MITIGATION_RRSBA_DIS_S] = "rrsba_dis_s",
        [MITIGATION_RETURN_STUFF] = "return_stuff",
        [MITIGATION_RETURN_ONE] = "return_one",
        [MITIGATION_SIBLINGS_APART] = "siblings_apart",
    };
    return (unsigned)which < MITIGATION_COUNT ? names[which] : "?";
}

const char *mitigation_leak_name(enum leak leak)
{
    static const char *const names[LEAK_COUNT] = {
        [LEAK_L1TF] = "l1tf", [LEAK_MDS] = "mds",
        [LEAK_TAA] = "taa",   [LEAK_MMIO] = "mmio_stale_data",
        [LEAK_RFDS] = "rfds", [LEAK_SPECTRE_V2] = "spectre_v2",
        [LEAK_BHI] = "bhi",   [LEAK_RETURNS] = "returns",
        [LEAK_BTC] = "btc",   [LEAK_SRSO] = "srso",
    };
    return (unsigned)leak < LEAK_COUNT ? names[leak] : "?";
}

const char *mitigation_state_name(enum leak_state state)
{
    static const char *const names[] = {
        [LEAK_NOT_AFFECTED] = "not_affected",
        [LEAK_MITIGATED] = "mitigated",
        [LEAK_OPEN] = "open",
        [LEAK_SWITCHED_OFF] = "off",
    };
    return (unsigned)state <= LEAK_SWITCHED_OFF ? names[state] : "?";
}
