/*
 * The pool: compressed pages in RAM.
 *
 * A log of frames in age order. Objects lie one behind the other; one that does
 * not fit runs on at the start of the next frame of the log, which need not be
 * a neighbour in memory, so no tail is wasted. A frame with no live byte leaves
 * the log and is freed. Compaction moves the live objects of the emptiest
 * frames to the head.
 *
 *      frame A                    A.next
 *      | hdr data | hdr da|  ->  |ta | hdr data |....
 *
 * One object holds one page of one owner (P14) behind a header that names the
 * owner, the length and a keyed check (P5). The leaf that names an object is
 * its only reference; when an object moves, the pool asks the core through
 * pool_ops to rewrite the leaf, with no lock of its own held.
 *
 * Frames come from frame_alloc(FRAME_POOL, FRAME_RECLAIM). Lock: one, outside
 * the frame allocator's.
 */
#ifndef MM_POOL_H
#define MM_POOL_H

#include "lib/types.h"

/* Where an object lies: frame number and offset / 4, in POOL_LOCATION_BITS. */
typedef struct {
    uint64_t v;
} pool_location_t;
#define POOL_OFFSET_BITS 10u

/* An object belongs to a guest page, or to a counted object (mm/counted.h). */
struct pool_owner {
    uint16_t vm; /* POOL_OWNER_COUNTED: gfn is the index of a counted object */
    uint32_t gfn;
};
#define POOL_OWNER_COUNTED 0xffffu

/* Blocks longer than this are refused: they save too little. Bytes. */
#define POOL_BLOCK_MAX 3072u

enum pool_result {
    POOL_OK,
    POOL_NO_FRAME,       /* not even reclaim's reserve had one */
    POOL_INCOMPRESSIBLE, /* longer than POOL_BLOCK_MAX */
    POOL_FULL,           /* the pool's own limit */
    POOL_DAMAGED         /* the check, the header or the block is wrong */
};

struct pool_ops {
    /* The object of this owner is moving: rewrite the one place that names it
     * from old to new. False when the owner does not name `old` any more or is
     * busy: the object then stays. */
    bool (*moved)(struct pool_owner owner, pool_location_t from, pool_location_t to);
};

void pool_init(const struct pool_ops *ops, uint32_t frame_limit);

/* From now on pool_take() leaves nothing in the caches that is not the owner's: for CPUs
 * whose guests could read it there (docs/security.md, "The L1D flush"). */
void pool_set_discreet(bool discreet);

/* Compresses the page and keeps it. */
enum pool_result pool_store(struct pool_owner owner, const void *page, pool_location_t *location);

/* Fills page from the object; the object stays. */
enum pool_result pool_load(pool_location_t location, struct pool_owner owner, void *page);

/* Fills page from the object and gives it back as pool_free() does: the way of a touched
 * page. DAMAGED: it stays. Nothing after it may fail. */
enum pool_result pool_take(pool_location_t location, struct pool_owner owner, void *page,
                           uint32_t *size);

/* The object's block as it is, for write-back: at most POOL_BLOCK_MAX bytes. */
enum pool_result pool_read_block(pool_location_t location, struct pool_owner owner, void *block,
                                 uint32_t *size);

/* Bytes of the object's block; 0 when its header is damaged. */
uint32_t pool_block_size(pool_location_t location, struct pool_owner owner);

/* Gives the object back and tells its block's bytes; its frame may become free. An object whose
 * header was damaged is set aside for good: counted, never reused, and found by the audit; its
 * bytes are 0. */
uint32_t pool_free(pool_location_t location, struct pool_owner owner);

/* The oldest live object, for write-back; false when the pool is empty.
 * `skip` objects from the old end are passed over (bounded by the caller). */
bool pool_oldest(uint32_t skip, pool_location_t *location, struct pool_owner *owner);

/* Moves live objects out of the emptiest frames, at most `objects` of them, to
 * the new end of the log. Returns the frames the pool has fewer afterwards. */
uint32_t pool_compact(uint32_t objects);

/* Moves what lives in this frame of the pool, at most so many objects, to the new end
 * of the log. True when the frame has left the pool. */
bool pool_empty(pfn_t number, uint32_t objects);

struct pool_stats {
    uint64_t objects;
    uint64_t object_bytes; /* blocks, without headers */
    uint64_t live_bytes;   /* blocks and headers */
    uint64_t frames;
    uint64_t objects_lost;   /* freed with a damaged header: their bytes stay set aside */
    uint64_t compacted;      /* objects moved by compaction, in all */
    uint64_t metadata_bytes; /* books outside of pool frames */
    uint64_t scratch_bytes;  /* work areas of the codec, of one fixed size */
};
void pool_stats_get(struct pool_stats *stats);

/* Walks every live object and checks the log's books on the way. False at the
 * first damaged header, wrong sum, or false from visit. Nothing else may run. */
bool pool_audit(bool (*visit)(struct pool_owner owner, pool_location_t at, void *context),
                void *context);

#endif
