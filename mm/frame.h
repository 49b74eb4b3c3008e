/*
 * Frames: the descriptors of managed host memory and their allocator.
 *
 *      managed bank  [ descriptors | general frames ........ | share region ]
 *
 * One 16-byte descriptor a frame, a union tagged by its kind. What a descriptor
 * says about an owner is a cache of the nested table's leaf (mm/home.h), there
 * so that reclaim can find and rewrite the leaf; the audit compares the two.
 *
 * A frame's kind changes in frame_alloc() and frame_free() and nowhere else.
 * Locks: the allocator has one of its own, innermost.
 *
 * Reserves: ordinary callers are refused while few frames are left, so that
 * reclaim itself (pool frames, tables) always finds one (P10).
 */
#ifndef MM_FRAME_H
#define MM_FRAME_H

#include "lib/assert.h"
#include "lib/lock.h"
#include "lib/types.h"

enum frame_kind {
    FRAME_FIXED,   /* not the core's to give: holes, descriptors, books */
    FRAME_FREE,
    FRAME_PRIVATE, /* one guest page of one VM */
    FRAME_SHARED,  /* one content, counted sharers, read-only */
    FRAME_POOL,    /* compressed objects */
    FRAME_TABLE,   /* nested table */
    FRAME_BOOK,    /* books of the stores: slot tables and cell maps of the swap area */
    FRAME_KIND_COUNT
};

/* Descriptor flags; meaning depends on the kind. */
#define FRAME_PROTECTED 0x01u /* PRIVATE: brought in for a vCPU that has not run since, or floor */
#define FRAME_PINNED    0x02u /* PRIVATE: the hypervisor holds a pointer (guest_pin) */
#define FRAME_HASHED    0x04u /* PRIVATE: hash is of the content at the last scan */
#define FRAME_INDEXED   0x08u /* PRIVATE, SHARED: linked in the share index */
#define FRAME_OBJECT    0x10u /* SHARED: being paged out; link is its counted object */

struct frame {
    uint8_t kind;
    uint8_t flags;
    uint16_t tag; /* PRIVATE, TABLE: owning VM; SHARED: salt; POOL: bytes of live objects */
    union {
        struct {
            uint32_t prev, next; /* frame numbers, circular */
            uint32_t pad;
        } free;
        struct {
            uint32_t gfn;
            uint32_t hash; /* low half of hash_page() at the last scan */
            uint32_t link; /* next in the share index bucket */
        } private;
        struct {
            uint32_t count; /* sharers */
            uint32_t hash;
            uint32_t link; /* next in the bucket, or the counted object */
        } shared;
        struct {
            uint16_t first; /* offset of the first object that begins here; PAGE_SIZE: none */
            uint16_t used;  /* bytes in use from the start, dead ones included */
            uint32_t prev, next; /* log order; an object may run on into next */
        } pool;
        struct {
            uint32_t entries; /* entries that are not all zero bits */
            struct spinlock lock;
            uint32_t pad;
        } table;
    };
};
static_assert(sizeof(struct frame) == 16, "a frame descriptor is 16 bytes");

/* A run of usable host memory handed over by boot. */
struct frame_region {
    hpa_t start;
    uint64_t bytes;
};

/* Who asks, from the most to the least refusable. */
enum frame_urgency {
    FRAME_ORDINARY, /* a guest's page: leaves both reserves alone */
    FRAME_TABLES,   /* a nested table on a fault path */
    FRAME_RECLAIM   /* reclaim itself: frees more than it takes */
};

/* Takes over the regions; the descriptors live at the start of the largest.
 * False when it is too small to hold anything. */
bool frame_init(const struct frame_region *regions, unsigned region_count);

/* The one look-up function; NULL for a frame that is not managed. */
struct frame *frame_at(pfn_t number);
pfn_t frame_number(const struct frame *frame);

/* PFN_NONE when refused. The content is what the last owner left: the caller
 * overwrites all of it before anyone else can see it (P4). */
pfn_t frame_alloc(enum frame_kind kind, enum frame_urgency urgency);

/* A frame for merged content, drawn at random from the share region (P13). */
pfn_t frame_alloc_shared(void);

void frame_free(pfn_t number);

uint32_t frame_free_count(void);
uint32_t frame_managed_count(void); /* all but FIXED */
uint32_t frame_kind_count(enum frame_kind kind);
/* Frames below which an ordinary caller is refused. */
uint32_t frame_reserve_count(void);

#endif
