/*
 * What the hypervisor does against leaks through the processor's caches, buffers
 * and predictors: docs/security.md has the threat model.
 *
 *   facts     what the CPU's capability bits say      (mitigations_cpu.c reads them)
 *   decision  a pure function of facts and `mitigations =` (mitigations.c)
 *   deeds     around entry and exit, by the vendor's files: hv/mitigations.inc right
 *             after an exit, mitigations_on_switch() and mitigations_before_entry()
 *
 * Sources: Intel SDM volume 4, table 2-2 (MSRs 48H, 49H, 10AH, 10BH); volume 2,
 * CPUID leaf 7; Intel's "Speculative Execution Side Channel Mitigations" (336996);
 * AMD APM volume 2, 3.2.9 and volume 3, appendix E.4 (leaves 80000008H, 80000021H).
 *
 * Decided once on the boot CPU, read-only afterwards, no locks.
 */
#ifndef HV_MITIGATIONS_H
#define HV_MITIGATIONS_H

#include "lib/types.h"

struct vcpu;

/* Capability bits, 0 where the CPU has no such word. */
struct mitigation_facts {
    uint32_t leaf_7_edx, leaf_7_2_edx, leaf_7_ebx, leaf_80000008_ebx, leaf_80000021_eax;
    uint64_t arch_capabilities; /* IA32_ARCH_CAPABILITIES */
    unsigned threads;           /* per core */
    /* From the vendor, since no bit says so: a load that faults may forward what lies
     * in the L1 cache or in buffers, unless a bit denies it; returns may be predicted
     * from what others trained, unless a bit denies it. */
    bool forwards_faults, trains_returns;
};

enum leak {
    LEAK_L1TF,
    LEAK_MDS,
    LEAK_TAA,
    LEAK_MMIO,
    LEAK_RFDS,
    LEAK_SPECTRE_V2,
    LEAK_BHI,
    LEAK_RETURNS,
    LEAK_BTC,
    LEAK_SRSO,
    LEAK_COUNT
};

enum leak_state {
    LEAK_NOT_AFFECTED,
    LEAK_MITIGATED,
    LEAK_OPEN,        /* affected, and the CPU (its microcode) offers no means */
    LEAK_SWITCHED_OFF /* affected, and `mitigations = off` */
};

/* The deeds; each has its name in the start record. */
enum mitigation {
    MITIGATION_L1D_FLUSH,   /* IA32_FLUSH_CMD before an entry, when something that is not the
                             * guest's may lie in the cache */
    MITIGATION_L1D_FILL,    /* the same by reading 64 KiB, where there is no such MSR */
    MITIGATION_VERW,        /* buffers overwritten before every entry */
    MITIGATION_IBPB,        /* when a CPU goes from one VM to another */
    MITIGATION_IBPB_EXIT,   /* after every exit */
    MITIGATION_IBRS,        /* enhanced: set once, for good */
    MITIGATION_IBRS_SWITCH, /* set after every exit, cleared before every entry */
    MITIGATION_AUTO_IBRS,   /* EFER.AutoIBRS, set once */
    MITIGATION_STIBP,
    MITIGATION_BHI_DIS_S,
    MITIGATION_RRSBA_DIS_S,
    MITIGATION_RETURN_STUFF,   /* 32 calls after every exit */
    MITIGATION_RETURN_ONE,     /* one call after every exit */
    MITIGATION_SIBLINGS_APART, /* no two VMs on threads of one core */
    MITIGATION_COUNT
};

struct mitigations {
    bool automatic; /* mitigations = auto */
    bool on[MITIGATION_COUNT];
    uint8_t leaks[LEAK_COUNT]; /* enum leak_state */
    uint64_t spec_ctrl;        /* IA32_SPEC_CTRL in the hypervisor */
};

/* Pure. off: `mitigations = off`, for measurements only. */
void mitigations_decide(struct mitigations *m, const struct mitigation_facts *facts, bool off);

const char *mitigation_name(enum mitigation which);
const char *mitigation_leak_name(enum leak leak);
const char *mitigation_state_name(enum leak_state state);

/* ---- on this machine (mitigations_cpu.c) -------------------------------------------- */

extern struct mitigations mitigations;
extern struct mitigation_facts mitigation_facts;

/* Reads the facts and decides. After vcpu_select(), which knows the vendor's. */
void mitigations_init(bool off);
/* What is set once on each CPU, this one. */
void mitigations_cpu_init(void);

/* This CPU is about to enter vcpu and ran `last` before (NULL: nobody, or one that
 * is gone): predictors do not go along from one VM to another. */
void mitigations_on_switch(const struct vcpu *last, const struct vcpu *next);

/* What lies in this CPU's L1 cache now need not belong to the guest it enters next:
 * to be called before other guests' memory or keys are touched. */
void mitigations_taint(void);

/* The last thing in C before an entry; the vendor's entry code then does VERW. */
void mitigations_before_entry(void);

/* For assembly (hv/mitigations.inc): a byte or word each, all of them 0 when off. */
extern uint8_t mitigation_verw, mitigation_return_calls, mitigation_ibpb_exit;
extern uint64_t mitigation_spec_ctrl; /* 0: left alone at exit and entry */

#endif
