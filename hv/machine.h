/* The hypervisor's implementation of mm/machine.h. */
#ifndef HV_MACHINE_H
#define HV_MACHINE_H

#include "mm/machine.h"

/* Where machine_entropy() comes from: the seed, or the hardware. Before mm_init(). */
void machine_init(bool seeded, uint64_t seed);

#endif
