/*
 * CPUID as guests see it: Intel SDM volume 2, "CPUID". Allow-lists: a feature bit
 * reaches a guest only when this hypervisor virtualizes it (or needs to do
 * nothing for it) and the CPU has it.
 */
#ifndef HV_CPUID_H
#define HV_CPUID_H

#include "hv/vcpu.h"

/* Leaves that name the hypervisor: 0x40000000 the signature, 0x40000010 the
 * frequencies of TSC (EAX) and local APIC timer (EBX) in kHz. */
#define CPUID_HYPERVISOR_BASE   0x40000000u
#define CPUID_HYPERVISOR_TIMING 0x40000010u

void cpuid_handle(struct vcpu *vcpu);

#endif
