/*
 * Stopping the world, for the audit: it needs a memory core that nobody else is in.
 *
 * A CPU is outside while it executes a guest, idles or waits here, and holds no lock
 * then. park_others() returns when all others are outside; none comes back in before
 * park_release(). Guests go on until they exit.
 */
#ifndef HV_PARK_H
#define HV_PARK_H

#include "lib/types.h"

/* This CPU goes outside, and comes in again: waits while the world is stopped. */
void park_leave(void);
void park_enter(void);

/* Where a CPU that neither runs guests nor idles lets itself be stopped; it holds no
 * lock. */
void park_here(void);

/* One CPU at a time; it may hold locks that nobody waits for (RANK_REAP). */
void park_others(void);
void park_release(void);

#endif
