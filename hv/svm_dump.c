/*
 * The VMCB of a vCPU in readable lines, for a VM that is stopped because of
 * something nobody knows how to handle.
 */
#include "hv/svm_vcpu.h"
#include "lib/log.h"

#define HEX(v) ((unsigned long long)(v))

static void dump_segments(const struct vmcb *v)
{
    const struct {
        const char *name;
        const struct vmcb_segment *segment;
    } segments[] = { { "es", &v->es },    { "cs", &v->cs },   { "ss", &v->ss },    { "ds", &v->ds },
                     { "fs", &v->fs },    { "gs", &v->gs },   { "ldt", &v->ldtr }, { "tr", &v->tr },
                     { "gdt", &v->gdtr }, { "idt", &v->idtr } };
    for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        const struct vmcb_segment *s = segments[i].segment;
        log_info("  %-3s %04x base %016llx limit %08x attributes %03x", segments[i].name,
                 s->selector, HEX(s->base), s->limit, s->attributes);
    }
}

void svm_dump(struct vcpu *vcpu)
{
    const struct svm *svm = vcpu->vendor;
    const struct vmcb *v = svm->vmcb;
    log_info("  exit: %s, code %s (0x%llx), info %llx %llx, length %u",
             exit_kind_name(vcpu->exit.kind), svm_exit_name(v->exit_code), HEX(v->exit_code),
             HEX(v->exit_info1), HEX(v->exit_info2), vcpu->exit.length);
    log_info("  event being delivered %llx, queued %llx, injected %llx, shadow %llx",
             HEX(v->exit_event), HEX(svm->event), HEX(v->event), HEX(v->shadow));
    log_info("  cr0 %llx  cr3 %llx  cr4 %llx (guest's MCE %llx)  efer %llx  cpl %u", HEX(v->cr0),
             HEX(v->cr3), HEX(v->cr4), HEX(svm->cr4_mce), HEX(v->efer), v->cpl);
    log_info("  asid %u  nested cr3 %llx  virtual interrupt %llx  intercepts %x %x", v->asid,
             HEX(v->nested_cr3), HEX(v->virtual_interrupt), v->intercept3, v->intercept4);
    dump_segments(v);
}
