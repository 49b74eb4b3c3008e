/*
 * What values of CR0 and CR4 a processor accepts: Intel SDM volume 2, MOV to
 * control registers, volume 3, 2.5 and 4.1.2; AMD APM volume 2, 3.1.1, 3.1.3, 14.6.1.
 * Pure functions; false means #GP.
 */
#ifndef HV_CONTROL_H
#define HV_CONTROL_H

#include "lib/types.h"

/* As the guest sees them before the write. */
struct control_state {
    uint64_t cr0, cr3, cr4, efer;
    bool long_code; /* CS.L */
};

bool control_cr0_is_allowed(const struct control_state *old, uint64_t value);
/* may_set: CR4 bits this guest may have at all. */
bool control_cr4_is_allowed(const struct control_state *old, uint64_t value, uint64_t may_set);

#endif
