/*
 * The log under the pool: frames in age order and the objects in them. Private
 * to mm/pool*.c; the pool's lock is held around every call.
 *
 * An object is a header and a block, rounded up to 4 bytes. Headers never
 * straddle two frames; blocks may. Of every object the log guarantees:
 *   - a live object's frames are in the log, the second right behind the first;
 *   - a frame's tag counts the bytes of live objects in it;
 *   - a frame other than the held one has a live byte or is not in the log.
 */
#ifndef MM_POOL_LOG_H
#define MM_POOL_LOG_H

#include "mm/frame.h"
#include "mm/pool.h"

/*
 * gfn, vm and size word are read as one 64-bit number that is a multiple of 7,
 * which a flip of any one bit breaks: so a damaged header is noticed before its
 * length is used to find the next one.
 */
struct pool_header {
    uint32_t check; /* hash_bytes() over the rest of the header, as stored, and the block */
    uint32_t gfn;
    uint16_t vm;
    uint16_t size_word; /* size, POOL_DEAD, three bits that make the multiple of 7 */
};
static_assert(sizeof(struct pool_header) == 12, "a pool object's header is 12 bytes");
#define POOL_HEADER_BYTES ((uint32_t)sizeof(struct pool_header))
#define POOL_SIZE_MASK    0x0fffu
#define POOL_DEAD         0x1000u
/* What the check covers of the header: gfn, vm, size word. */
#define POOL_CHECKED_BYTES (POOL_HEADER_BYTES - 4u)

/* Frame flag: a header in it does not fit; its bytes are never used again. */
#define POOL_FRAME_DAMAGED 0x20u

#define POOL_FRAME_NONE UINT32_MAX

/* A place in the log. */
struct pool_at {
    uint32_t frame;
    uint32_t offset;
};

#define POOL_HINTS 64u

struct pool_log {
    uint32_t oldest, newest; /* ends of the chain; prev is older, next newer */
    uint32_t frames;
    uint32_t cursor; /* where compaction looks next; NONE: at the oldest */
    uint32_t held;   /* stays in the log though it may be empty; NONE */
    uint64_t live_bytes;
    /* Frames in which something died, the emptier of those that meet in a place: where
     * compaction looks first. All of them are in the log. */
    struct pool_hint {
        uint32_t frame;
        uint32_t live;
    } hints[POOL_HINTS];
};

void pool_log_init(struct pool_log *log);

static inline struct frame *pool_log_frame(uint32_t number)
{
    return frame_at(pfn(number));
}

static inline struct pool_at pool_log_place(pool_location_t location)
{
    return (struct pool_at){ (uint32_t)(location.v >> POOL_OFFSET_BITS),
                             (uint32_t)(location.v & ((1u << POOL_OFFSET_BITS) - 1)) * 4 };
}
static inline pool_location_t pool_log_location(struct pool_at at)
{
    return (pool_location_t){ (uint64_t)at.frame << POOL_OFFSET_BITS | at.offset / 4 };
}

void pool_header_make(struct pool_header *header, struct pool_owner owner, uint32_t size);
bool pool_header_fits(const struct pool_header *header);
static inline uint32_t pool_header_size(const struct pool_header *header)
{
    return header->size_word & POOL_SIZE_MASK;
}
static inline bool pool_header_is_live(const struct pool_header *header)
{
    return !(header->size_word & POOL_DEAD);
}
/* Bytes the object takes in the log. */
static inline uint32_t pool_header_span(const struct pool_header *header)
{
    return (POOL_HEADER_BYTES + pool_header_size(header) + 3u) & ~3u;
}

/* The header at a place; NULL when none can begin there or it does not fit. */
struct pool_header *pool_log_header(struct pool_at at);

/*
 * Appends an object whose header and block lie one behind the other at
 * `object`. Takes a frame when the newest has no room and fewer than
 * frame_limit are in use. OK, or FULL / NO_FRAME without any effect.
 */
enum pool_result pool_log_append(struct pool_log *log, const struct pool_header *object,
                                 uint32_t frame_limit, struct pool_at *at);

/* A live object, found. */
struct pool_object {
    struct pool_header *header;      /* where it lies */
    struct frame *frame, *second;    /* second: it runs on there; NULL */
    const struct pool_header *whole; /* header and block in one piece */
};

/* Finds it. What straddles frames that are no neighbours is copied to scratch
 * (POOL_HEADER_BYTES + POOL_BLOCK_MAX bytes). False when the place holds no whole live
 * object. */
bool pool_log_find(struct pool_at at, void *scratch, struct pool_object *object);

/* It dies; frames left empty are freed. */
void pool_log_bury(struct pool_log *log, struct pool_at at, const struct pool_object *object);

/* The same for the live object at this place, of which only the header has to be good. */
void pool_log_release(struct pool_log *log, struct pool_at at);

/* Takes a frame out of the log and frees it when nothing in it is live. */
void pool_log_drop_if_empty(struct pool_log *log, uint32_t number);

/* Steps from object to object within one frame, dead ones included. */
enum pool_step { POOL_STEP_OBJECT, POOL_STEP_END, POOL_STEP_DAMAGED };
enum pool_step pool_log_first(uint32_t frame, struct pool_at *at);
enum pool_step pool_log_next(struct pool_at *at);

#endif
