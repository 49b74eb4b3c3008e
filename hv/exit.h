/*
 * What to do at a VM exit. Knows no vendor. Every exit is counted by kind; one
 * that nobody knows stops its VM with a dump.
 *
 * A handler has no side effect until everything it needs from guest memory is
 * pinned: a vCPU that has to wait executes the whole instruction again.
 */
#ifndef HV_EXIT_H
#define HV_EXIT_H

#include "hv/vcpu.h"

/* Handles vcpu->exit. */
void exit_handle(struct vcpu *vcpu);

/* Registers and control block of a vCPU, in readable lines. */
void exit_dump(struct vcpu *vcpu);

#endif
