/*
 * The frame allocator and the descriptors; see frame.h.
 *
 * Memory is a few banks of neighbouring frames; a descriptor's index counts
 * through all banks in address order. The share region is the top quarter of
 * the indices. Both regions have a free list, linked through the descriptors;
 * general allocations fall back on the share region only when the general list
 * is empty, so merged content finds room at random places there, and in the
 * general region only while the share region is full of other things.
 *
 * While there is plenty, each CPU keeps a few free frames of the general region
 * to itself, taken from the list and given back a batch at a time: faults of
 * different CPUs then write no line in common. Such a cache is its CPU's alone,
 * so it needs no lock and no atomic operation that others would wait for. Below
 * plenty, which is far above every threshold of reclaim, caches are emptied by
 * their CPUs and not used: reserves and draws are exact when they matter. Frames
 * in a cache count as free.
 *
 * Lock: `lock` around lists and sums; it is innermost but for the log's.
 */
#include "mm/frame_state.h"
#include "lib/atomic.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/locks.h"

/* Draws for a merged frame; with as few free frames, their list is walked. */
#define SHARED_DRAWS 256u
#define CACHE_BATCH  16u
#define LINE_FRAMES  (64u / sizeof(struct frame)) /* descriptors in a cache line */

struct frame_state frame_state;
struct frame_cache frame_caches[MACHINE_CPU_MAX];

/* Not inlined: frame_alloc() and frame_free() save no registers for what is rare. */
#define RARE __attribute__((noinline, cold))

static RARE struct frame *frame_elsewhere(pfn_t number)
{
    for (unsigned i = 0; i < frame_state.bank_count; i++) {
        uint32_t offset = number.v - frame_state.banks[i].base;
        if (offset < frame_state.banks[i].count)
            return &frame_state.frames[frame_state.banks[i].index + offset];
    }
    return NULL;
}

static inline struct frame *find(pfn_t number)
{
    uint32_t in_main = number.v - frame_state.main.base;
    if (in_main < frame_state.main.count)
        return &frame_state.frames[frame_state.main.index + in_main];
    return frame_elsewhere(number);
}

struct frame *frame_at(pfn_t number)
{
    return find(number);
}

static RARE const struct bank *bank_of(uint32_t index)
{
    const struct bank *bank = frame_state.banks;
    while (index - bank->index >= bank->count) {
        bank++;
        ensure(bank < frame_state.banks + frame_state.bank_count);
    }
    return bank;
}

static RARE pfn_t number_elsewhere(uint32_t index)
{
    const struct bank *bank = bank_of(index);
    return pfn(bank->base + (index - bank->index));
}

static inline pfn_t number_of(uint32_t index)
{
    if (index - frame_state.main.index < frame_state.main.count)
        return pfn(frame_state.main.base + (index - frame_state.main.index));
    return number_elsewhere(index);
}

pfn_t frame_number_of(uint32_t index)
{
    return number_of(index);
}

pfn_t frame_number(const struct frame *frame)
{
    return frame_number_of((uint32_t)(frame - frame_state.frames));
}

uint32_t frame_block_of(uint32_t index)
{
    const struct bank *bank = bank_of(index);
    return bank->block +
           ((bank->base + (index - bank->index)) / FRAME_BLOCK - bank->base / FRAME_BLOCK);
}

static uint32_t *list_of(uint32_t index)
{
    return &frame_state.lists[index >= frame_state.share_start];
}

/* A general frame came onto its list, or left it. */
static uint16_t *block_count(uint32_t index)
{
    return index < frame_state.share_start ? &frame_state.block_free[frame_block_of(index)] : NULL;
}

/* To the front, to be given out next; frames of blocks that are free for the most
 * part to the end, so that blocks in use fill up and others become whole. */
static void list_push(uint32_t index)
{
    uint32_t *list = list_of(index);
    uint16_t *block = block_count(index);
    struct frame *frame = &frame_state.frames[index];
    bool last = block && ++*block > FRAME_BLOCK / 2 && !frame_state.booting;
    last |= frame_index_is_closed(index);
    frame_state.listed[list - frame_state.lists]++;
    if (*list == INDEX_NONE) {
        frame->free.prev = frame->free.next = *list = index;
        return;
    }
    struct frame *first = &frame_state.frames[*list];
    frame->free.next = *list;
    frame->free.prev = first->free.prev;
    frame_state.frames[first->free.prev].free.next = index;
    first->free.prev = index;
    if (!last)
        *list = index;
}

static void list_take(uint32_t index)
{
    uint32_t *list = list_of(index);
    uint16_t *block = block_count(index);
    struct frame *frame = &frame_state.frames[index];
    if (block)
        --*block;
    frame_state.listed[list - frame_state.lists]--;
    if (frame->free.next == index) {
        *list = INDEX_NONE;
    } else {
        frame_state.frames[frame->free.prev].free.next = frame->free.next;
        frame_state.frames[frame->free.next].free.prev = frame->free.prev;
        if (*list == index)
            *list = frame->free.next;
    }
}

/* The first of the general list, which is not empty: those of the closed block come
 * behind all others. */
static uint32_t first_listed(void)
{
    uint32_t *list = &frame_state.lists[0];
    for (uint32_t n = 0; n < FRAME_BLOCK && frame_index_is_closed(*list); n++)
        *list = frame_state.frames[*list].free.next;
    return *list;
}

/* A general list that is long enough to keep some aside; the lock is held. */
void frame_update_plenty(void)
{
    uint32_t from = frame_state.plenty ? frame_state.plenty_from / 4 * 3 : frame_state.plenty_from;
    bool plenty = frame_state.listed[0] >= from;
    if (plenty != frame_state.plenty)
        atomic_set(frame_state.plenty, plenty);
}

/* The one place where a frame's kind changes. The descriptor starts afresh. */
static inline void describe(uint32_t *kinds, uint32_t index, enum frame_kind kind)
{
    struct frame *frame = &frame_state.frames[index];
    ensure(frame->kind != (uint8_t)kind);
    atomic_set(kinds[frame->kind], kinds[frame->kind] - 1);
    atomic_set(kinds[kind], kinds[kind] + 1);
    /* Scans read kind and owner without the lock, as a hint. */
    atomic_set(frame->head, (uint32_t)kind);
    atomic_set(frame->free.prev, 0);
    frame->free.next = frame->free.pad = 0;
}

/* The lock is held. */
void frame_set_kind(uint32_t index, enum frame_kind kind)
{
    if (frame_state.frames[index].kind == FRAME_FREE)
        list_take(index);
    describe(frame_state.kinds, index, kind);
    if (kind == FRAME_FREE)
        list_push(index);
    frame_update_plenty();
}

/* ---- caches ------------------------------------------------------------------- */

/* Gives the CPU's frames back until `keep` are left; the lock is held. */
static void cache_shrink(struct frame_cache *cache, uint32_t keep)
{
    while (cache->count > keep)
        list_push(cache->indices[--cache->count]);
    frame_update_plenty();
}

static bool on_one_line(uint32_t a, uint32_t b)
{
    return a / LINE_FRAMES == b / LINE_FRAMES;
}

/* Off the list, in its order: a batch, and what else of the last descriptor's line
 * follows, so that two CPUs do not write in one line with every other frame. */
static uint32_t take_batch(uint32_t taken[CACHE_FRAMES])
{
    uint32_t count = 0;
    static_assert(CACHE_BATCH + LINE_FRAMES <= CACHE_FRAMES, "a batch and a line have room");
    while (count < CACHE_BATCH || on_one_line(first_listed(), taken[count - 1])) {
        taken[count] = first_listed();
        list_take(taken[count++]);
    }
    return count;
}

/* True when there is one now. */
static __attribute__((noinline)) bool cache_fill(struct frame_cache *cache)
{
    uint32_t taken[CACHE_FRAMES];
    spin_lock(&frame_state.lock);
    uint32_t count = frame_state.plenty ? take_batch(taken) : 0;
    frame_update_plenty();
    spin_unlock(&frame_state.lock);
    /* The list's first one is the first to be given out. */
    cache->count = count;
    for (uint32_t i = 0; i < count; i++)
        cache->indices[count - 1 - i] = taken[i];
    return count > 0;
}

static struct frame_cache *my_cache(void)
{
    return &frame_caches[machine_cpu()];
}

void frame_cache_return(void)
{
    cache_shrink(my_cache(), 0);
}

void frame_cache_drain(void)
{
    struct frame_cache *cache = my_cache();
    if (cache->count == 0 || atomic_get(frame_state.plenty))
        return;
    spin_lock(&frame_state.lock);
    cache_shrink(cache, 0);
    spin_unlock(&frame_state.lock);
}

/* Frames that stay out of reach of a caller. */
static uint32_t withheld(enum frame_urgency urgency)
{
    switch (urgency) {
    case FRAME_ORDINARY:
        return frame_state.reserve;
    case FRAME_TABLES:
        return frame_state.reserve / 2;
    default:
        return 0;
    }
}

static pfn_t cache_take(struct frame_cache *cache, enum frame_kind kind)
{
    uint32_t index = cache->indices[--cache->count];
    describe(cache->kinds, index, kind);
    return number_of(index);
}

/* The CPU's cache is empty, or not to be used. */
static RARE pfn_t alloc_listed(enum frame_kind kind, enum frame_urgency urgency)
{
    pfn_t number = PFN_NONE;
    struct frame_cache *cache = my_cache();
    if (atomic_get(frame_state.plenty) && cache_fill(cache))
        return cache_take(cache, kind);
    spin_lock(&frame_state.lock);
    cache_shrink(cache, 0);
    if (frame_state.listed[0] + frame_state.listed[1] > withheld(urgency)) {
        uint32_t index = frame_state.lists[0] != INDEX_NONE ? first_listed() : frame_state.lists[1];
        ensure(index != INDEX_NONE);
        frame_set_kind(index, kind);
        number = number_of(index);
    }
    spin_unlock(&frame_state.lock);
    return number;
}

pfn_t frame_alloc(enum frame_kind kind, enum frame_urgency urgency)
{
    struct frame_cache *cache = my_cache();
    if (!atomic_get(frame_state.plenty) || cache->count == 0)
        return alloc_listed(kind, urgency);
    return cache_take(cache, kind);
}

/* One of the first SHARED_DRAWS of a free list, every one as likely; NONE. */
static uint32_t draw_listed(unsigned list)
{
    uint32_t count =
        frame_state.listed[list] < SHARED_DRAWS ? frame_state.listed[list] : SHARED_DRAWS;
    uint32_t index = frame_state.lists[list];
    for (uint64_t n = count ? rng_below(&frame_state.rng, count) : 0; n > 0; n--)
        index = frame_state.frames[index].free.next;
    return index;
}

/* A free index of the share region, every one as likely; NONE. While many are
 * free, by draws; the few that are left are counted through, and the first of
 * those that are many and still hard to find. */
static uint32_t draw(void)
{
    for (unsigned i = 0; i < SHARED_DRAWS && frame_state.listed[1] > SHARED_DRAWS; i++) {
        uint32_t index =
            frame_state.share_start +
            (uint32_t)rng_below(&frame_state.rng, frame_state.total - frame_state.share_start);
        if (frame_state.frames[index].kind == FRAME_FREE)
            return index;
    }
    return draw_listed(1);
}

pfn_t frame_alloc_shared(void)
{
    pfn_t number = PFN_NONE;
    spin_lock(&frame_state.lock);
    uint32_t index = frame_state.listed[1] > 0 ? draw() : draw_listed(0);
    if (index != INDEX_NONE) {
        frame_set_kind(index, FRAME_SHARED);
        number = frame_number_of(index);
    }
    spin_unlock(&frame_state.lock);
    return number;
}

/* The CPU's cache is full. */
static RARE void cache_give(struct frame_cache *cache)
{
    spin_lock(&frame_state.lock);
    cache_shrink(cache, CACHE_FRAMES - CACHE_BATCH);
    spin_unlock(&frame_state.lock);
}

static RARE void free_listed(uint32_t index)
{
    spin_lock(&frame_state.lock);
    frame_set_kind(index, FRAME_FREE);
    spin_unlock(&frame_state.lock);
}

void frame_free(pfn_t number)
{
    struct frame *frame = find(number);
    ensure(frame && frame->kind != FRAME_FREE && frame->kind != FRAME_FIXED);
    assert(frame->kind != FRAME_PRIVATE || !frame_has(frame, FRAME_CLEAN | FRAME_INDEXED));
    uint32_t index = (uint32_t)(frame - frame_state.frames);
    struct frame_cache *cache = my_cache();
    /* Sharing draws from all free frames of its region, so none of them is kept. */
    if (!atomic_get(frame_state.plenty) || index >= frame_state.share_start ||
        frame->kind == FRAME_SHARED || frame_index_is_closed(index)) {
        free_listed(index);
        return;
    }
    if (cache->count == CACHE_FRAMES)
        cache_give(cache);
    describe(cache->kinds, index, FRAME_FREE);
    cache->indices[cache->count++] = index;
}

void frame_turn_private(pfn_t number)
{
    struct frame *frame = frame_at(number);
    ensure(frame && frame->kind == FRAME_SHARED);
    spin_lock(&frame_state.lock);
    frame_set_kind((uint32_t)(frame - frame_state.frames), FRAME_PRIVATE);
    spin_unlock(&frame_state.lock);
}
