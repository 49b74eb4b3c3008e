/*
 * Memory-mapped devices of guests: finds the instruction, carries it out on the
 * device. What no device answers reads as all ones and ignores writes, as an
 * empty bus does. An instruction that is not in hv/decode.h ends the VM by name.
 */
#ifndef HV_MMIO_H
#define HV_MMIO_H

#include "hv/decode.h"
#include "hv/vcpu.h"

/* The exit is a nested fault on an address that is no memory. */
void mmio_emulate(struct vcpu *vcpu);

/* Fetches and decodes the instruction at RIP. io: it has to be a string I/O
 * instruction. False: it has to wait, or the guest got #PF, or the VM ended. */
bool mmio_fetch(struct vcpu *vcpu, struct decoded *d, bool io);

/* Linear address of the instruction's memory operand. */
uint64_t mmio_operand_address(struct vcpu *vcpu, const struct decoded *d);

/* Base of a segment, 0 for those that 64-bit mode ignores. */
uint64_t mmio_segment_base(struct vcpu *vcpu, unsigned segment);

#endif
