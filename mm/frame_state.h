/*
 * What the files of the allocator share. Internal to frame*.c.
 *
 *   frame.c        descriptors, free lists, caches, one frame at a time
 *   frame_block.c  2 MiB blocks: 512 neighbours at once
 *   frame_init.c   boot, books, what it says about itself, the audit
 */
#ifndef MM_FRAME_STATE_H
#define MM_FRAME_STATE_H

#include "lib/rng.h"
#include "mm/frame.h"
#include "mm/machine.h"

#define BANK_MAX     16u
#define INDEX_NONE   UINT32_MAX
#define CACHE_FRAMES 32u

struct bank {
    uint32_t base;  /* first frame number */
    uint32_t count; /* frames */
    uint32_t index; /* descriptor index of the first */
    uint32_t block; /* number of the block it lies in */
};

struct frame_state {
    /* Read by every allocation, written at boot; plenty and closed when they change. */
    struct bank main; /* the largest one, looked at first */
    struct bank banks[BANK_MAX];
    unsigned bank_count;
    struct frame *frames;
    uint16_t *block_free; /* by block: frames on the general list */
    uint32_t total, managed, share_start, blocks;
    uint32_t reserve;
    uint32_t plenty_from;
    bool plenty;
    bool booting; /* lists are still being made */
    /* The closed block (mm/large_room.c): its first index, and FRAME_BLOCK or 0. */
    uint32_t closed_first, closed_count;
    /* Under the lock. */
    struct spinlock lock __attribute__((aligned(64)));
    uint32_t lists[2];                /* first free index: general, share region */
    uint32_t listed[2];               /* how many */
    uint32_t kinds[FRAME_KIND_COUNT]; /* but for what the caches' kinds add */
    uint32_t books_next, books_end;   /* indices */
    uint32_t block_hint;              /* where the search for a block begins */
    struct rng rng;
};
extern struct frame_state frame_state;

/* What one CPU has taken off the general list. Written by that CPU alone. */
struct frame_cache {
    uint32_t count;
    uint32_t kinds[FRAME_KIND_COUNT]; /* to be added to the sums, modulo 2^32 */
    uint32_t indices[CACHE_FRAMES];
} __attribute__((aligned(64)));
extern struct frame_cache frame_caches[MACHINE_CPU_MAX];

/* Frame number of a descriptor. */
pfn_t frame_number_of(uint32_t index);
/* Number of the block that a frame lies in. */
uint32_t frame_block_of(uint32_t index);

/* The one place where the kind of a frame on no cache changes; the lock is held. */
void frame_set_kind(uint32_t index, enum frame_kind kind);
/* Does the frame lie in the closed block? */
static inline bool frame_index_is_closed(uint32_t index)
{
    return index - __atomic_load_n(&frame_state.closed_first, __ATOMIC_RELAXED) <
           __atomic_load_n(&frame_state.closed_count, __ATOMIC_RELAXED);
}
/* What this CPU keeps to itself goes back on the lists; the lock is held. */
void frame_cache_return(void);
/* Is memory plenty? Settles it after lists changed; the lock is held. */
void frame_update_plenty(void);

#endif
