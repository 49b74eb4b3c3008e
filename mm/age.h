/*
 * Ages: which pages were accessed since the last look, by the accessed bits of
 * the nested tables; without such bits every page looks cold, and reclaim takes
 * pages in the order of its clock hand.
 */
#ifndef MM_AGE_H
#define MM_AGE_H

#include "mm/home.h"

/* Looks at a present entry once: accessed ones have the bit cleared and get
 * another round; others become cold. Sets *cleared when the VM must be flushed
 * before the bit says anything new. Returns true when the page was cold already. */
bool age_look(struct leaf *leaf, bool *cleared);

/* The working-set estimate: looks at the next `budget` pages of all VMs. A VM's
 * estimate is new once in AGE_PERIOD ticks at most: that is the window in which
 * an access makes a page active. */
#define AGE_PERIOD 100u
void age_step(uint32_t budget);

#endif
