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

/* Linear memory that is pinned: at most a page's worth, on at most two pages. */
struct walk_area {
    struct walk_part {
        uint8_t *memory; /* NULL: no memory there */
        gfn_t page;
        unsigned offset;
        size_t size;
    } parts[2];
    unsigned count;
};

/* Translates and pins; WALK_DONE: until walk_unpin() nothing of it can go away or
 * fail. Otherwise nothing is pinned. */
enum walk_answer walk_pin(struct vcpu *vcpu, uint64_t linear, size_t size, unsigned access,
                          struct walk_area *area, struct walk_fault *fault);
void walk_unpin(struct vcpu *vcpu, const struct walk_area *area);
/* Copies all of a pinned area. access: as it was pinned; MM_WRITE: into the guest.
 * Where no memory is, reads give all ones and writes are lost. */
void walk_move(const struct walk_area *area, void *buffer, unsigned access);

/* Copies between a buffer and linear memory, at most a page's worth; both pages
 * it may touch are translated and pinned before a byte moves. Where no memory is,
 * reads give all ones and writes are lost. access MM_WRITE: into the guest. */
enum walk_answer walk_copy(struct vcpu *vcpu, uint64_t linear, void *buffer, size_t size,
                           unsigned access, struct walk_fault *fault);

/* Reads at most PEEK_BYTES within one page without pinning it: for what is read at
 * every exit of a kind. Where no memory is, all ones. */
enum walk_answer walk_peek(struct vcpu *vcpu, uint64_t linear, void *buffer, size_t size,
                           unsigned access, struct walk_fault *fault);

/* True: DONE. Otherwise what the answer calls for has been done (#PF). */
bool walk_settle(struct vcpu *vcpu, enum walk_answer answer, const struct walk_fault *fault);

#endif
