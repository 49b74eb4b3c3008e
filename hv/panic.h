/*
 * The end of the hypervisor: a register dump, a symbolized backtrace and the
 * last line of the console, printed synchronously, then power-off. panic() is
 * declared in lib/assert.h.
 */
#ifndef HV_PANIC_H
#define HV_PANIC_H

#include "lib/assert.h"
#include "lib/types.h"

struct trap_frame;

/* An exception of the hypervisor's own. */
_Noreturn void panic_trap(const struct trap_frame *frame);

/* For the NMI handler: does not return when another CPU is dying. */
void panic_check(void);

#endif
