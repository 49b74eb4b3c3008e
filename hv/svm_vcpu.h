/*
 * What the files of AMD-V share: the CPU's features as chosen at boot, and the
 * vendor part of a vCPU. All functions run with interrupts off.
 */
#ifndef HV_SVM_VCPU_H
#define HV_SVM_VCPU_H

#include "hv/decode.h"
#include "hv/svm_defs.h"
#include "hv/vcpu.h"
#include "hv/x86.h"

/* Settled once by svm_setup(), the same for all vCPUs. */
struct svm_config {
    uint32_t features;    /* SVM_FEATURE_* */
    uint32_t asid_count;  /* ASIDs 1 .. asid_count - 1 are for guests */
    uint64_t cr4_allowed; /* CR4 bits a guest may set */
    hpa_t iopm, msrpm;
};
extern struct svm_config svm_config;

/* Of each CPU. */
struct svm_cpu {
    hpa_t host_vmcb;     /* VMSAVE area: the hidden state of the hypervisor itself */
    uint64_t generation; /* of its ASIDs; grows when they are used up */
    uint32_t asid_next;
};

/* What a length was computed from: hv/svm_length.c. */
struct svm_memo {
    uint64_t generation; /* of the places */
    uint64_t rip, cs_base, cr0, cr3, cr4, efer;
    uint64_t words[2];    /* the code */
    uint64_t entries[4];  /* of the guest's tables */
    const void *slots[4]; /* where those are */
    const uint8_t *code;
    uint32_t opcode; /* 0: nothing is known */
    uint16_t cs_attributes;
    uint8_t cpl, levels, length;
};
#define SVM_MEMOS 4u

struct svm {
    struct vmcb *vmcb;
    hpa_t address;       /* of the VMCB */
    uint64_t flush_seen; /* the VM's flush generation its ASID was last flushed at */
    bool flush_needed;   /* translations of this vCPU must go before it runs again */
    bool triple_fault;   /* an exception while delivering a double fault */
    uint64_t event;      /* to deliver at the next entry, in EVENTINJ's format; 0: none */
    uint64_t cr4_mce;    /* CR4.MCE as the guest set it; really it is always on */
    /* An NMI is being handled, until its IRET (15.20: the processor does not keep
     * count of injected ones). */
    enum { NMI_NONE, NMI_HANDLED, NMI_IRET } nmi;
    uint64_t iret_rip;   /* NMI_IRET: where it is; it has not been executed while RIP is that */
    unsigned cpu;        /* where its ASID is from */
    uint64_t generation; /* of that ASID; 0: it has none */
    uint64_t dr[4];
    struct svm_memo memos[SVM_MEMOS];
};

static inline struct vmcb *svm_vmcb(const struct vcpu *vcpu)
{
    return ((const struct svm *)vcpu->vendor)->vmcb;
}

/* svm_setup.c: reads the features, settles svm_config; turns SVM on on this CPU.
 * False: a line naming what is missing was logged. */
bool svm_setup(void);
struct svm_cpu *svm_cpu_this(void);

/* svm_entry.asm: enters the guest, whose RAX is in the VMCB. regs: vcpu->regs.
 * Returns at the next exit. */
void svm_enter(uint64_t *regs, uint64_t vmcb, uint64_t host_vmcb);
void svm_save_host(uint64_t vmcb); /* VMSAVE */

/* svm_state.c: a new VMCB in the state of a PVH entry. */
void svm_state_init(struct vcpu *vcpu);
/* svm_state.c: real mode at page << 12. */
void svm_state_reset_real(struct vcpu *vcpu, uint8_t page);
uint64_t svm_state_get(struct vcpu *vcpu, enum vcpu_state what);
void svm_state_set(struct vcpu *vcpu, enum vcpu_state what, uint64_t value);

/* svm.c */
void svm_skip(struct vcpu *vcpu);
/* The guest is about to execute the IRET that ends the handling of an NMI. */
void svm_nmi_iret(struct vcpu *vcpu);

/* svm_exit.c: fills vcpu->exit after an exit. */
void svm_exit_decode(struct vcpu *vcpu);
const char *svm_exit_name(uint64_t code);

/* svm_length.c: the instruction at RIP, which must be one of the two. False: vcpu->exit
 * says what becomes of this exit instead. */
bool svm_instruction_find(struct vcpu *vcpu, uint32_t opcode, uint32_t or_opcode,
                          struct decoded_system *d);
/* svm_length.c: vcpu->exit.length, from what the processor says or else as above. */
void svm_length_find(struct vcpu *vcpu, uint32_t opcode, uint32_t or_opcode);
/* svm_length.c: the same from RIP of the next instruction, in the width of the code. */
void svm_length_from(struct vcpu *vcpu, uint64_t next_rip);

/* svm_cr.c: the general register or memory that the instruction reads. False: it waits
 * for the page, or the guest got #PF, or the VM ended. */
bool svm_cr_operand(struct vcpu *vcpu, const struct decoded_system *d, uint64_t *value);
/* svm_cr.c: carries out a MOV to or from CR4, a MOV to CR0 or an LMSW that exited, of
 * that value. False: the guest gets #GP. */
bool svm_cr_access(struct vcpu *vcpu, const struct decoded_system *d, uint64_t value);

/* svm_check.c: the rule of the manual (15.5.1) that the VMCB breaks, in words;
 * NULL: none found. */
const char *svm_check_entry(const struct vcpu *vcpu);

/* svm_dump.c */
void svm_dump(struct vcpu *vcpu);

#endif
