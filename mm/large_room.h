/*
 * Room for large mappings: makes a block whole when a range of 512 private pages waits
 * for one and there is none, though enough memory is free.
 *
 *   search   the block with the most free frames; what lies in the others must be able
 *            to leave: private pages nobody has pinned, and the pool's frames
 *   closed   what is or becomes free in it is given out last
 *   emptied  a batch a tick. Private pages go to other frames: PRIVATE => BUSY_OUT, one
 *            flush for each VM that has a page in the batch, copied, => PRIVATE. The
 *            pool moves its objects on by itself
 *   whole    512 free neighbours; or given up: something in it stayed
 *
 * A page's accessed and dirty bits, its clean slot and what reclaim knows of it go with
 * it; what the share index knew of the frame does not. A vCPU that touches a page on its
 * way waits for the record, as with a page-out.
 *
 * Locks: core.step_lock; a page's range lock around each of its two moves.
 */
#ifndef MM_LARGE_ROOM_H
#define MM_LARGE_ROOM_H

#include "lib/types.h"

void large_room_init(void);

/* No block could be made lately: nobody should wait for one. */
bool large_room_is_resting(void);

/* One bounded step for a range that waits, unless it is resting; true when a block is
 * whole. */
bool large_room_step(void);

/* Nobody waits any more, or memory is not calm. */
void large_room_stop(void);

#endif
