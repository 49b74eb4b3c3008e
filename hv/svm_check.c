/*
 * Which rule a VMRUN broke, in words (APM volume 2, 15.5.1, "Canonicalization and
 * Consistency Checks"). Asked only after VMEXIT_INVALID.
 */
#include "hv/svm_vcpu.h"

#define RULE(broken, text)                                                                         \
    do {                                                                                           \
        if (broken)                                                                                \
            return "15.5.1: " text;                                                                \
    } while (0)

#define EFER_DEFINED 0x0000000000167d01ull /* SCE LME LMA NXE SVME LMSLE FFXSR TCE and others */
#define CR4_DEFINED  0x0000000000ff7fffull /* all the manual knows; the CPU may have fewer */
#define PHYSICAL_MAX (1ull << 52)

static const char *check_controls(const struct vmcb *v)
{
    RULE(!(v->intercept4 & INTERCEPT_VMRUN), "VMRUN is not intercepted");
    RULE(v->asid == 0, "ASID 0");
    RULE(v->asid >= svm_config.asid_count, "ASID above those of this CPU");
    RULE(v->iopm >= PHYSICAL_MAX || v->msrpm >= PHYSICAL_MAX,
         "a permission map lies outside of physical memory");
    RULE((v->np_enable & NP_ENABLE) && (v->nested_cr3 & PAGE_MASK || v->nested_cr3 >= PHYSICAL_MAX),
         "reserved bits of nested CR3");
    RULE(v->tlb_control > TLB_FLUSH_ALL && !(svm_config.features & SVM_FEATURE_FLUSH),
         "flush by ASID on a CPU without it");
    return NULL;
}

static const char *check_event(const struct vmcb *v)
{
    unsigned type = EVENT_TYPE(v->event);
    if (!(v->event & EVENT_VALID))
        return NULL;
    RULE(type == 1 || type > EVENT_TYPE_SOFT_INT, "injected event of a reserved type");
    RULE(type == EVENT_TYPE_EXCEPTION && EVENT_VECTOR(v->event) >= 32,
         "injected exception above vector 31");
    RULE(type == EVENT_TYPE_EXCEPTION && EVENT_VECTOR(v->event) == VECTOR_NMI,
         "injected exception with the vector of NMI");
    return NULL;
}

static const char *check_control_registers(const struct vmcb *v)
{
    RULE(!(v->efer & EFER_SVME), "EFER.SVME is 0");
    RULE(v->efer & ~EFER_DEFINED, "reserved bits of EFER");
    RULE(!(v->cr0 & CR0_CD) && (v->cr0 & CR0_NW), "CR0.CD is 0 and CR0.NW is 1");
    RULE(v->cr0 >> 32, "CR0 bits 63:32");
    RULE(v->cr4 & ~CR4_DEFINED, "reserved bits of CR4");
    RULE(v->cr4 & ~svm_config.cr4_allowed, "bits of CR4 this CPU may not have");
    RULE((v->efer & EFER_LMA) && v->cr3 >= PHYSICAL_MAX, "reserved bits of CR3");
    RULE(v->dr6 >> 32, "DR6 bits 63:32");
    RULE(v->dr7 >> 32, "DR7 bits 63:32");
    return NULL;
}

static const char *check_modes(const struct vmcb *v)
{
    bool paging = v->cr0 & CR0_PG, long_enabled = v->efer & EFER_LME;
    RULE(long_enabled && paging && !(v->cr4 & CR4_PAE), "EFER.LME and CR0.PG without CR4.PAE");
    RULE(long_enabled && paging && !(v->cr0 & CR0_PE), "EFER.LME and CR0.PG without CR0.PE");
    RULE(long_enabled && paging && (v->cr4 & CR4_PAE) && (v->cs.attributes & SEGMENT_LONG) &&
             (v->cs.attributes & SEGMENT_BIG),
         "long mode with CS.L and CS.D both 1");
    RULE(paging && !(v->cr0 & CR0_PE), "CR0.PG without CR0.PE");
    return NULL;
}

const char *svm_check_entry(const struct vcpu *vcpu)
{
    static const char *(*const groups[])(const struct vmcb *) = {
        check_controls,
        check_event,
        check_control_registers,
        check_modes,
    };
    for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        const char *rule = groups[i](svm_vmcb(vcpu));
        if (rule)
            return rule;
    }
    return NULL;
}
