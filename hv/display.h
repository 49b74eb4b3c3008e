/* The screen of the machine as a console: found, checked, left readable. */
#ifndef HV_DISPLAY_H
#define HV_DISPLAY_H

#include "hv/boot_info.h"

/* Turns the screen on when the firmware described one that can be believed, and
 * says so, or why not. After paging_init(); boot CPU only. */
void display_start(const struct boot_info *info);

/* Where the screen is the only console, gives a person a minute to read it before
 * the machine goes off; a key ends the wait. Else returns at once. */
void display_linger(void);

#endif
