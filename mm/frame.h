/*
 * Frames: the descriptors of managed host memory and their allocator.
 *
 *      managed bank  [ descriptors | general frames ........ | share region ]
 *
 * One 16-byte descriptor a frame, a union tagged by its kind. What a descriptor
 * says about an owner is a cache of the nested table's leaf (mm/home.h), there
 * so that reclaim can find and rewrite the leaf; the audit compares the two.
 *
 * A frame's kind changes in one function of frame.c and nowhere else; it is
 * reached through frame_alloc(), frame_free() and frame_turn_private().
 * Locks: the allocator has one of its own. Flags of a descriptor change by atomic
 * operations, since holders of different locks own them; the rest of it belongs
 * to whoever owns the frame: the holder of its leaf, the share index, the pool.
 *
 * Frames of one region that are neighbours have neighbouring content
 * (machine_frame_map), so descriptors and books are plain arrays.
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
    FRAME_FIXED, /* not the core's to give: holes, descriptors, books */
    FRAME_FREE,
    FRAME_PRIVATE, /* one guest page of one VM */
    FRAME_SHARED,  /* one content, counted sharers, read-only */
    FRAME_POOL,    /* compressed objects */
    FRAME_TABLE,   /* nested table */
    FRAME_BOOK,    /* books of the stores: slot tables and cell maps of the swap area */
    FRAME_KIND_COUNT
};

/* Descriptor flags; meaning depends on the kind. */
#define FRAME_PROTECTED                                                                            \
    0x01u                    /* PRIVATE: brought in for a vCPU that has not run since, or floor    \
                              */
#define FRAME_PINNED   0x02u /* PRIVATE: the hypervisor holds a pointer (guest_pin) */
#define FRAME_HASHED   0x04u /* PRIVATE: hash is of the content at the last scan */
#define FRAME_INDEXED  0x08u /* PRIVATE, SHARED: linked in the share index */
#define FRAME_OBJECT   0x10u /* SHARED: being paged out; link is its counted object */
#define FRAME_CLEAN    0x10u /* PRIVATE: as in the swap area; link is the slot (mm/clean.h) */
#define FRAME_COLD     0x20u /* PRIVATE: not accessed between the last two looks at it */
#define FRAME_ACTIVE   0x80u /* PRIVATE: accessed since the working-set estimate looked at it */
#define FRAME_STUBBORN 0x40u /* PRIVATE: did not compress, and has not been written since */

struct frame {
    union {
        struct {
            uint8_t kind;
            uint8_t flags;
            uint16_t tag; /* PRIVATE, TABLE: owning VM; SHARED: salt; POOL: bytes of live objects */
        };
        uint32_t head; /* the three at once, for the change of a kind */
    };
    union {
        struct {
            uint32_t prev, next; /* descriptor indices, circular */
            uint32_t pad;
        } free;
        struct {
            uint32_t gfn;
            uint32_t hash; /* low half of hash_page() at the last scan */
            uint32_t link; /* next in the share index bucket; the clean slot; or, of the first
                            * frame of a large mapping, its leaf table */
        } private;
        struct {
            uint32_t count; /* sharers */
            uint32_t hash;
            uint32_t link; /* next in the bucket, or the counted object */
        } shared;
        struct {
            uint16_t first;      /* offset of the first object that begins here; PAGE_SIZE: none */
            uint16_t used;       /* bytes in use from the start, dead ones included */
            uint32_t prev, next; /* log order; an object may run on into next */
        } pool;
        struct {
            uint32_t entries; /* neither NONE nor ZERO; of upper tables: present ones */
            uint16_t fetched; /* leaf: the guest executes from its range (mm/large.h) */
            uint16_t present; /* leaf: entries that are */
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

/* A frame for merged content, drawn at random from the share region (P13); from
 * the rest when none is free there, since merging is what frees frames then. Takes
 * from the reserves. PFN_NONE: no frame is free at all. */
pfn_t frame_alloc_shared(void);

void frame_free(pfn_t number);

/*
 * 512 neighbouring frames that begin at a multiple of 512, of a large page's
 * size, all of them PRIVATE: the first; PFN_NONE when there is no such block, or
 * not `keep` free frames beside it. Each is freed for itself.
 */
#define FRAME_BLOCK 512u
pfn_t frame_alloc_block(uint32_t keep);

/*
 * Making a block whole (mm/large_room.c). Blocks are numbered in address order. The
 * frames of one of them at a time, which is closed, are given out after all others
 * of the general region, and none stays with a CPU.
 */
uint32_t frame_block_count(void);
/* How many of its frames are free and with no CPU; 0 for a block that can never be
 * whole: not all of it is memory of the general region. A hint without the lock. */
uint32_t frame_block_free(uint32_t block);
/* Index of the first descriptor of a block that can be whole. */
uint32_t frame_block_first(uint32_t block);
void frame_block_close(uint32_t block);
void frame_block_open(void);
bool frame_block_is_closed(pfn_t number);

/* Gives back what this CPU keeps to itself, when memory is not plenty any more.
 * Every CPU calls it now and then (mm_step() does). */
void frame_cache_drain(void);
uint64_t frame_cache_bytes(void);

/* The last sharer takes a merged frame back: SHARED becomes PRIVATE. */
void frame_turn_private(pfn_t number);

static inline void frame_flag_set(struct frame *frame, uint8_t flags)
{
    __atomic_fetch_or(&frame->flags, flags, __ATOMIC_ACQ_REL);
}
static inline void frame_flag_clear(struct frame *frame, uint8_t flags)
{
    __atomic_fetch_and(&frame->flags, (uint8_t)~flags, __ATOMIC_ACQ_REL);
}
static inline bool frame_has(const struct frame *frame, uint8_t flags)
{
    return (__atomic_load_n(&frame->flags, __ATOMIC_ACQUIRE) & flags) != 0;
}

/* Memory for books that lives for ever, zeroed; right after frame_init(), before
 * the first frame_alloc(). Its frames become FIXED. NULL: no room. */
void *frame_books(size_t bytes);

uint32_t frame_free_count(void);
uint32_t frame_managed_count(void); /* all that are not the descriptors' own */
uint32_t frame_total_count(void);   /* descriptors */
uint64_t frame_metadata_bytes(void);
/* The descriptor with this index, below frame_total_count(): for scans. */
struct frame *frame_by_index(uint32_t index);
/* The highest managed frame number. */
uint32_t frame_highest(void);
/* Recounts kinds and both free lists; NULL, or what is wrong. */
const char *frame_audit(void);
uint32_t frame_kind_count(enum frame_kind kind);
/* Frames below which an ordinary caller is refused. */
uint32_t frame_reserve_count(void);

#endif
