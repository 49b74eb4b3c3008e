/* Switching the machine off: the emulators' own ports first, then ACPI. */
#ifndef HV_POWER_H
#define HV_POWER_H

#include "lib/types.h"

/* Finds the ACPI sleep registers and the \_S5 values; rsdp as boot_info has it,
 * 0: none. Nothing found is no error: power_off() then ends in hlt. */
void power_init(hpa_t rsdp);

/* status 0: the run was fine; others are told to QEMU's debug exit port. */
_Noreturn void power_off(unsigned status);

#endif
