/*
 * Exceptions and interrupts of the guest. Handlers run with interrupts off and
 * only note what happened; the work is done by whoever polls.
 */
#ifndef GUEST_INTERRUPTS_H
#define GUEST_INTERRUPTS_H

#include <stdbool.h>
#include <stdint.h>

#define VECTOR_COUNT    64
#define VECTOR_TIMER    0x20
#define VECTOR_BALLOON  0x30
#define VECTOR_SPURIOUS 0x3f

/* As vectors.asm pushes it. */
struct interrupt_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

typedef void (*interrupt_handler)(void);
/* True: taken care of (the frame may have been changed), go on. */
typedef bool (*interrupt_hook)(struct interrupt_frame *frame);

/* Loads the IDT; interrupts stay off. */
void interrupts_init(void);
/* vector: 32 to VECTOR_COUNT - 1. The local APIC's EOI is sent after it. */
void interrupts_set_handler(unsigned vector, interrupt_handler handler);
/* Asked first about every vector; NULL: nobody. Without an answer an exception
 * (vectors 0 to 31) is reported and the guest ends with GUEST_STATUS_UNEXPECTED. */
void interrupts_set_hook(interrupt_hook hook);
uint64_t interrupts_count(void);

#endif
