/*
 * Reclaim: pressure states, whose memory to take, and which tier takes it.
 *
 * A state machine moved on by mm_step() in bounded steps; I/O completions free
 * what was started. Nothing here allocates but pool frames and merged frames,
 * from reclaim's reserve.
 *
 *   high   nothing to do               clear  sharing hurried
 *   soft   balloon                     hard   compress, then swap, too
 *   low    VMs above their target are held, too
 *
 * A tier that is off, or whose drivers are stuck, is passed over: the next one
 * works in its state. Lock: core.step_lock.
 */
#ifndef MM_RECLAIM_H
#define MM_RECLAIM_H

#include "mm/mm.h"

/* Thresholds from the configuration; after frame_init(). */
void reclaim_init(void);
/* One bounded step; true when there is more to do at once. */
bool reclaim_step(void);
/* A vCPU that waited for a frame was woken. */
void reclaim_answered(void);
/* Free frames beyond those below which pages are taken from VMs; 0 while they are. */
uint32_t reclaim_room(void);
/* The pressure state by free frames, with hysteresis. */
void reclaim_update_state(void);

#endif
