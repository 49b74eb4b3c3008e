/*
 * Proof that vector registers belong to this guest alone: patterns are loaded
 * into all of them once, nothing else here touches them (all C is built without
 * vector registers), and they are compared later.
 */
#ifndef GUEST_FPU_H
#define GUEST_FPU_H

#include <stdbool.h>
#include <stdint.h>

/* XMM0-15 and MXCSR, and YMM0-15 where XSAVE and AVX are offered (enables them
 * in CR4 and XCR0). */
void fpu_fill(uint64_t seed);
/* True when every register still holds what fpu_fill() put there. */
bool fpu_verify(void);
/* "XMM" or "YMM". */
const char *fpu_kind(void);

#endif
