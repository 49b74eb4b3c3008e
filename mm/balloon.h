/*
 * The balloon tier, for reclaim. The machine's side is in mm.h.
 */
#ifndef MM_BALLOON_H
#define MM_BALLOON_H

#include "lib/types.h"

/* Targets and deadlines; once a tick. */
void balloon_tick(void);

/* Is there a driver that is moving or can be asked to? */
bool balloon_can_help(void);

#endif
