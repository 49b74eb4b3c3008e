/*
 * Counted objects: merged content that was paged out. One object in the pool or
 * the swap area, and a count of the leaf entries (home COUNTED) that name it
 * through this table; moving the object rewrites one place.
 *
 * While other sharers still map the merged frame, the frame carries the flag
 * FRAME_OBJECT and its link names the object, so later sharers only repoint to
 * it; the object in turn knows the frame, so a touch maps it again.
 *
 * Lock: one, inside leaf-table locks, outside the pool's and the swap area's.
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
struct counted *counted_at(uint64_t index);

/* One more reference. */
void counted_hold(uint32_t index);
/* One less; the last gives back pool object or slot, and the answer is true. */
bool counted_drop(uint32_t index);
/* The frame is gone (its last sharer left). */
void counted_forget_frame(uint32_t index);

/* Fills page from an object in the pool. */
enum pool_result counted_load(uint32_t index, void *page);
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
