/*
 * Counted objects: merged content that was paged out. One object in the pool or
 * the swap area, and a count of the leaf entries (home COUNTED) that name it
 * through this table; moving the object rewrites one place.
 *
 * While other sharers still map the merged frame, the frame carries the flag
 * FRAME_OBJECT and its link names the object, so later sharers only repoint to
 * it; the object in turn knows the frame, so a touch maps it again.
 *
 * Lock: one, inside the share index's, outside the pool's and the swap area's. It
 * also guards, in the descriptor of a merged frame, FRAME_OBJECT and a link that
 * names an object.
 */
#ifndef MM_COUNTED_H
#define MM_COUNTED_H

#include "mm/pool.h"
#include "mm/swap.h"

#define COUNTED_MAX 2048u

enum counted_state {
    COUNTED_FREE,
    COUNTED_COMING, /* taken; its content is not stored yet */
    COUNTED_POOL,
    COUNTED_SWAP,
    COUNTED_LEAVING /* in the pool, on its way to swap */
};

struct counted {
    uint8_t state; /* enum counted_state */
    uint32_t refs; /* leaf entries, and in-flight records that read it */
    pfn_t frame;   /* the merged frame, while some map it */
    union {
        pool_location_t location;
        swap_slot_t slot;
    };
};

void counted_init(void);
/* A new object in state COMING with one reference, for the frame. False: full. */
bool counted_take(pfn_t frame, uint32_t *index);
/* The caller has a reference. Its fields change under the lock: for the audit. */
struct counted *counted_at(uint64_t index);

/* The merged frame names the object from now on: the share index's lock is held. */
void counted_set_frame(uint32_t index, pfn_t frame);
/* One more reference. */
void counted_hold(uint32_t index);
/* One more reference to the object that a merged frame names; false when it
 * names none, or one whose content is not stored yet. */
bool counted_join(pfn_t frame, uint32_t *index);
/* The merged frame of an object, PFN_NONE: stays while the share index's lock,
 * which the caller holds, is held. */
pfn_t counted_frame(uint32_t index);
/* One less; the last gives back pool object or slot, and the answer is true. */
bool counted_drop(uint32_t index);
/* The merged frame is gone (its last sharer left): what it names forgets it. */
void counted_forget_frame(pfn_t frame);

/* Fills page from an object in the pool. False for one in the swap area: *slot is
 * its slot, for as long as the caller's reference lasts. */
bool counted_load(uint32_t index, void *page, enum pool_result *result, swap_slot_t *slot);
bool counted_is_in_swap(uint32_t index);
/* The pool moves the object; false: it stays (see pool_ops). */
bool counted_moved(uint32_t index, pool_location_t from, pool_location_t to);
/* State changes of an object that stays referenced. */
void counted_set_pool(uint32_t index, pool_location_t location);
bool counted_set_leaving(uint32_t index, pool_location_t location);
void counted_set_swap(uint32_t index, swap_slot_t slot);

/* The object, NULL when its place is free: for the audit. */
struct counted *counted_peek(uint32_t index);
uint64_t counted_metadata_bytes(void);

#endif
