/*
 * The vector state of guests (x87, SSE, AVX, AVX-512): kept in one XSAVE area a
 * vCPU and switched whole when another vCPU is loaded. The hypervisor itself is
 * compiled without these registers, so nothing is saved at an exit.
 *
 * In the hypervisor XCR0 is whatever the loaded vCPU set, except during a switch.
 */
#ifndef HV_FPU_H
#define HV_FPU_H

#include "lib/types.h"

struct vcpu;

/* Finds out what the CPU has. After cpu_init(). */
void fpu_init(void);

/* The area of a vCPU in the state after reset. False: out of memory. */
bool fpu_create(struct vcpu *vcpu);
void fpu_destroy(struct vcpu *vcpu);

/* Both are called when vCPUs change on this CPU, with interrupts off. */
void fpu_save(struct vcpu *vcpu);
void fpu_load(struct vcpu *vcpu);

/* A guest's XSETBV(0): true when value is allowed and taken; the caller injects
 * #GP otherwise. Only for the vCPU whose exit is being handled. */
bool fpu_set_xcr0(struct vcpu *vcpu, uint64_t value);

/* Takes over XCR0 as it is in the CPU for the loaded vCPU: QEMU without KVM lets a
 * guest change it without an exit (target/i386/tcg: XSETBV is not intercepted). */
void fpu_xcr0_look(struct vcpu *vcpu);

/* XCR0 bits a guest may set; 0: the CPU has no XSAVE, hide it. */
uint64_t fpu_xcr0_mask(void);

#endif
