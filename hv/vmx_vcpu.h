/*
 * What the files of VT-x share: the CPU's capabilities as chosen at boot, and
 * the vendor part of a vCPU. All functions run with interrupts off; those taking
 * a vCPU expect its VMCS to be current.
 */
#ifndef HV_VMX_VCPU_H
#define HV_VMX_VCPU_H

#include "hv/vcpu.h"
#include "hv/vmx_insn.h"
#include "hv/x86.h"

/* Settled once by vmx_setup(), the same for all vCPUs. */
struct vmx_config {
    uint64_t basic;        /* IA32_VMX_BASIC */
    uint64_t capabilities; /* IA32_VMX_EPT_VPID_CAP */
    uint32_t pin, proc, proc2, exit, entry;
    uint64_t eptp_bits; /* memory type, walk length, A/D */
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    uint64_t cr4_owned; /* CR4 bits a guest changes without an exit */
    hpa_t msr_bitmap;
};
extern struct vmx_config vmx_config;

/* CR0 bits the guest sees its own copy of: NE must stay set for VT-x; CD and NW
 * would turn the processor's cache off for all. */
#define VMX_CR0_MASK (CR0_NE | CR0_NW | CR0_CD)

/* MSRs that guests use directly and the hypervisor never: switched with vCPUs. */
enum vmx_msr {
    VMX_STAR,
    VMX_LSTAR,
    VMX_CSTAR,
    VMX_SFMASK,
    VMX_KERNEL_GS,
    VMX_TSC_AUX,
    VMX_MSR_COUNT
};

struct vmx {
    hpa_t vmcs;
    bool launched;     /* VMRESUME instead of VMLAUNCH */
    bool flush_needed; /* first entry: the root's frame may have had another life */
    bool triple_fault; /* an exception while delivering a double fault */
    unsigned host_cpu; /* the CPU that the host part of the VMCS describes */
    uint8_t last_kind; /* enum exit_kind of the last exit */
    uint16_t vpid;     /* 0: the CPU has none */
    uint64_t host_rsp; /* what VMCS_HOST_RSP holds; hv/vmx_entry.asm */
    uint64_t eptp;     /* what VMCS_EPTP holds */
    uint32_t proc;     /* what VMCS_PROC_CONTROLS holds */
    uint32_t event;    /* to deliver at the next entry, in VMCS_ENTRY_EVENT's format; 0: none */
    uint32_t event_error;
    uint32_t event_length;
    uint64_t dr[4], dr6;
    uint64_t msrs[VMX_MSR_COUNT];
};

/* vmx_setup.c: reads the capabilities, settles vmx_config, turns VMX on. */
bool vmx_setup(void);
/* The same VMX on a further CPU. */
bool vmx_setup_join(void);

/* vmx_entry.asm: enters the guest. regs: vcpu->regs. Returns at the next exit. */
enum vmx_result vmx_enter(uint64_t *regs, bool resume, uint64_t *host_rsp);
void vmx_exit_point(void);

/* vmx_state.c: a new VMCS in the state of a PVH entry. */
void vmx_state_init(struct vcpu *vcpu);
/* vmx_state.c: what differs between CPUs in the host part of the current VMCS. */
void vmx_state_host_cpu(void);
/* vmx_state.c: real mode at page << 12. */
void vmx_state_reset_real(struct vcpu *vcpu, uint8_t page);
uint64_t vmx_state_get(struct vcpu *vcpu, enum vcpu_state what);
void vmx_state_set(struct vcpu *vcpu, enum vcpu_state what, uint64_t value);

/* vmx.c */
void vmx_make_current(struct vcpu *vcpu);
bool vmx_is_loaded(const struct vcpu *vcpu);
void vmx_flush_guest_tlb(struct vcpu *vcpu); /* the guest's own translations */

/* vmx_event.c: what struct vcpu_ops says of the same names. */
void vmx_skip(struct vcpu *vcpu);
void vmx_inject(struct vcpu *vcpu, uint8_t vector, bool exception, bool has_error, uint32_t error);
bool vmx_can_interrupt(struct vcpu *vcpu);
bool vmx_can_nmi(struct vcpu *vcpu);
/* vmx_event.c: the queued event into the VMCS, before an entry. */
void vmx_event_deliver(struct vmx *vmx);
/* vmx_event.c: the primary processor-based controls, when they change. */
void vmx_proc_set(struct vmx *vmx, uint32_t proc);

/* vmx_exit.c: fills vcpu->exit after an exit. */
void vmx_exit_decode(struct vcpu *vcpu);
const char *vmx_exit_reason_name(uint32_t reason);

/* vmx_cr.c: carries out a MOV to CR0 or CR4, LMSW or CLTS that exited, and fills
 * vcpu->exit. */
void vmx_cr_access(struct vcpu *vcpu, uint64_t qualification);

/* vmx_check.c: the rule of the manual that the current VMCS breaks, in words;
 * NULL: none found. */
const char *vmx_check_entry(void);
const char *vmx_error_name(uint32_t number);

/* vmx_dump.c */
void vmx_dump(struct vcpu *vcpu);

#endif
