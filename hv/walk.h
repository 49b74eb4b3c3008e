/*
 * The guest's own address translation, walked in software: Intel SDM volume 3,
 * chapter 4. Paging off, 32-bit (with 4 MiB pages), PAE and 4-level. The tables
 * are hostile: each level is read once, nothing is written, and the walk has at
 * most four steps.
 *
 * The CPU has checked the rights of the access that exited already; here they
 * are checked again because the tables may have changed since, and for accesses
 * the CPU has not made (the operand of a string instruction).
 */
#ifndef HV_WALK_H
#define HV_WALK_H

#include "hv/vcpu.h"

enum walk_answer {
    WALK_DONE,
    WALK_WAIT,    /* the vCPU waits for a page: execute the instruction again */
    WALK_STOPPED, /* the VM has ended */
    WALK_FAULT    /* *fault says what #PF the guest gets */
};

struct walk_fault {
    uint64_t address;
    uint32_t error;
};

/* access: one of MM_READ, MM_WRITE, MM_EXEC. */
enum walk_answer walk_translate(struct vcpu *vcpu, uint64_t linear, unsigned access, gpa_t *address,
                                struct walk_fault *fault);

/* Copies between a buffer and linear memory, at most a page's worth; both pages
 * it may touch are translated and pinned before a byte moves. Where no memory is,
 * reads give all ones and writes are lost. access MM_WRITE: into the guest. */
enum walk_answer walk_copy(struct vcpu *vcpu, uint64_t linear, void *buffer, size_t size,
                           unsigned access, struct walk_fault *fault);

/* True: DONE. Otherwise what the answer calls for has been done (#PF). */
bool walk_settle(struct vcpu *vcpu, enum walk_answer answer, const struct walk_fault *fault);

#endif
