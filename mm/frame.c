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
#include "mm/frame.h"
#include "lib/atomic.h"
#include "lib/log.h"
#include "lib/rng.h"
#include "lib/string.h"
#include "mm/locks.h"
#include "mm/machine.h"

#define BANK_MAX   16u
#define INDEX_NONE UINT32_MAX
/* Draws for a merged frame; with as few free frames, their list is walked. */
#define SHARED_DRAWS 256u
#define CACHE_FRAMES 32u
#define CACHE_BATCH  16u
#define LINE_FRAMES  (64u / sizeof(struct frame)) /* descriptors in a cache line */
/* Plenty: so many free frames on the general list, and this part of all. */
#define PLENTY_LEAST 1024u
#define PLENTY_PART  8u

struct bank {
    uint32_t base;  /* first frame number */
    uint32_t count; /* frames */
    uint32_t index; /* descriptor index of the first */
};

static struct {
    /* Read by every allocation, written at boot; plenty when it changes. */
    struct bank main; /* the largest one, looked at first */
    struct bank banks[BANK_MAX];
    unsigned bank_count;
    struct frame *frames;
    uint32_t total, managed, share_start;
    uint32_t reserve;
    uint32_t plenty_from;
    bool plenty;
    /* Under the lock. */
    struct spinlock lock __attribute__((aligned(64)));
    uint32_t lists[2];                /* first free index: general, share region */
    uint32_t listed[2];               /* how many */
    uint32_t kinds[FRAME_KIND_COUNT]; /* but for what the caches' kinds add */
    uint32_t books_next, books_end;   /* indices */
    struct rng rng;
} f;

/* What one CPU has taken off the general list. Written by that CPU alone. */
static struct cache {
    uint32_t count;
    uint32_t kinds[FRAME_KIND_COUNT]; /* to be added to f.kinds, modulo 2^32 */
    uint32_t indices[CACHE_FRAMES];
} __attribute__((aligned(64))) caches[MACHINE_CPU_MAX];

struct frame *frame_at(pfn_t number)
{
    uint32_t in_main = number.v - f.main.base;
    if (in_main < f.main.count)
        return &f.frames[f.main.index + in_main];
    for (unsigned i = 0; i < f.bank_count; i++) {
        uint32_t offset = number.v - f.banks[i].base;
        if (offset < f.banks[i].count)
            return &f.frames[f.banks[i].index + offset];
    }
    return NULL;
}

static pfn_t number_of(uint32_t index)
{
    if (index - f.main.index < f.main.count)
        return pfn(f.main.base + (index - f.main.index));
    for (unsigned i = 0; i < f.bank_count; i++)
        if (index - f.banks[i].index < f.banks[i].count)
            return pfn(f.banks[i].base + (index - f.banks[i].index));
    panic("frame: no bank for descriptor %u", index);
}

pfn_t frame_number(const struct frame *frame)
{
    return number_of((uint32_t)(frame - f.frames));
}

static uint32_t *list_of(uint32_t index)
{
    return &f.lists[index >= f.share_start];
}

static void list_push(uint32_t index)
{
    uint32_t *list = list_of(index);
    struct frame *frame = &f.frames[index];
    f.listed[list - f.lists]++;
    if (*list == INDEX_NONE) {
        frame->free.prev = frame->free.next = index;
    } else {
        struct frame *first = &f.frames[*list];
        frame->free.next = *list;
        frame->free.prev = first->free.prev;
        f.frames[first->free.prev].free.next = index;
        first->free.prev = index;
    }
    *list = index;
}

static void list_take(uint32_t index)
{
    uint32_t *list = list_of(index);
    struct frame *frame = &f.frames[index];
    f.listed[list - f.lists]--;
    if (frame->free.next == index) {
        *list = INDEX_NONE;
    } else {
        f.frames[frame->free.prev].free.next = frame->free.next;
        f.frames[frame->free.next].free.prev = frame->free.prev;
        if (*list == index)
            *list = frame->free.next;
    }
}

/* A general list that is long enough to keep some aside; the lock is held. */
static void update_plenty(void)
{
    uint32_t from = f.plenty ? f.plenty_from / 4 * 3 : f.plenty_from;
    bool plenty = f.listed[0] >= from;
    if (plenty != f.plenty)
        atomic_set(f.plenty, plenty);
}

/* The one place where a frame's kind changes. The descriptor starts afresh. */
static void describe(uint32_t *kinds, uint32_t index, enum frame_kind kind)
{
    struct frame *frame = &f.frames[index];
    ensure(frame->kind != (uint8_t)kind);
    atomic_set(kinds[frame->kind], kinds[frame->kind] - 1);
    atomic_set(kinds[kind], kinds[kind] + 1);
    memset(frame, 0, sizeof(*frame));
    frame->kind = (uint8_t)kind;
}

/* The lock is held. */
static void set_kind(uint32_t index, enum frame_kind kind)
{
    if (f.frames[index].kind == FRAME_FREE)
        list_take(index);
    describe(f.kinds, index, kind);
    if (kind == FRAME_FREE)
        list_push(index);
    update_plenty();
}

/* ---- caches ------------------------------------------------------------------- */

/* Gives the CPU's frames back until `keep` are left; the lock is held. */
static void cache_shrink(struct cache *cache, uint32_t keep)
{
    while (cache->count > keep)
        list_push(cache->indices[--cache->count]);
    update_plenty();
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
    while (count < CACHE_BATCH ||
           (count < CACHE_FRAMES && on_one_line(f.lists[0], taken[count - 1]))) {
        taken[count] = f.lists[0];
        list_take(taken[count++]);
    }
    return count;
}

/* True when there is one now. */
static bool cache_fill(struct cache *cache)
{
    uint32_t taken[CACHE_FRAMES];
    spin_lock(&f.lock);
    uint32_t count = f.plenty ? take_batch(taken) : 0;
    update_plenty();
    spin_unlock(&f.lock);
    /* The list's first one is the first to be given out. */
    cache->count = count;
    for (uint32_t i = 0; i < count; i++)
        cache->indices[count - 1 - i] = taken[i];
    return count > 0;
}

static struct cache *my_cache(void)
{
    return &caches[machine_cpu()];
}

void frame_cache_drain(void)
{
    struct cache *cache = my_cache();
    if (cache->count == 0 || atomic_get(f.plenty))
        return;
    spin_lock(&f.lock);
    cache_shrink(cache, 0);
    spin_unlock(&f.lock);
}

/* Frames that stay out of reach of a caller. */
static uint32_t withheld(enum frame_urgency urgency)
{
    switch (urgency) {
    case FRAME_ORDINARY:
        return f.reserve;
    case FRAME_TABLES:
        return f.reserve / 2;
    default:
        return 0;
    }
}

pfn_t frame_alloc(enum frame_kind kind, enum frame_urgency urgency)
{
    pfn_t number = PFN_NONE;
    struct cache *cache = my_cache();
    if (atomic_get(f.plenty) && (cache->count > 0 || cache_fill(cache))) {
        uint32_t index = cache->indices[--cache->count];
        describe(cache->kinds, index, kind);
        return number_of(index);
    }
    spin_lock(&f.lock);
    cache_shrink(cache, 0);
    if (f.listed[0] + f.listed[1] > withheld(urgency)) {
        uint32_t index = f.lists[0] != INDEX_NONE ? f.lists[0] : f.lists[1];
        ensure(index != INDEX_NONE);
        set_kind(index, kind);
        number = number_of(index);
    }
    spin_unlock(&f.lock);
    return number;
}

/* One of the first SHARED_DRAWS of a free list, every one as likely; NONE. */
static uint32_t draw_listed(unsigned list)
{
    uint32_t count = f.listed[list] < SHARED_DRAWS ? f.listed[list] : SHARED_DRAWS;
    uint32_t index = f.lists[list];
    for (uint64_t n = count ? rng_below(&f.rng, count) : 0; n > 0; n--)
        index = f.frames[index].free.next;
    return index;
}

/* A free index of the share region, every one as likely; NONE. While many are
 * free, by draws; the few that are left are counted through. */
static uint32_t draw(void)
{
    if (f.listed[1] <= SHARED_DRAWS)
        return draw_listed(1);
    for (unsigned i = 0; i < SHARED_DRAWS; i++) {
        uint32_t index = f.share_start + (uint32_t)rng_below(&f.rng, f.total - f.share_start);
        if (f.frames[index].kind == FRAME_FREE)
            return index;
    }
    return INDEX_NONE;
}

pfn_t frame_alloc_shared(void)
{
    pfn_t number = PFN_NONE;
    spin_lock(&f.lock);
    uint32_t index = f.listed[1] > 0 ? draw() : draw_listed(0);
    if (index != INDEX_NONE) {
        set_kind(index, FRAME_SHARED);
        number = number_of(index);
    }
    spin_unlock(&f.lock);
    return number;
}

void frame_free(pfn_t number)
{
    struct frame *frame = frame_at(number);
    ensure(frame && frame->kind != FRAME_FREE && frame->kind != FRAME_FIXED);
    assert(frame->kind != FRAME_PRIVATE || !frame_has(frame, FRAME_CLEAN | FRAME_INDEXED));
    uint32_t index = (uint32_t)(frame - f.frames);
    struct cache *cache = my_cache();
    /* Sharing draws from all free frames of its region, so none of them is kept. */
    if (atomic_get(f.plenty) && index < f.share_start && frame->kind != FRAME_SHARED) {
        if (cache->count == CACHE_FRAMES) {
            spin_lock(&f.lock);
            cache_shrink(cache, CACHE_FRAMES - CACHE_BATCH);
            spin_unlock(&f.lock);
        }
        describe(cache->kinds, index, FRAME_FREE);
        cache->indices[cache->count++] = index;
        return;
    }
    spin_lock(&f.lock);
    set_kind(index, FRAME_FREE);
    spin_unlock(&f.lock);
}

void frame_turn_private(pfn_t number)
{
    struct frame *frame = frame_at(number);
    ensure(frame && frame->kind == FRAME_SHARED);
    spin_lock(&f.lock);
    set_kind((uint32_t)(frame - f.frames), FRAME_PRIVATE);
    spin_unlock(&f.lock);
}

/* ---- boot ------------------------------------------------------------------ */

/* Adds a region's whole pages as a bank, in address order. Frame 0 is left
 * out: the address of an entry of all zero bits. */
static void bank_add(const struct frame_region *region)
{
    uint64_t first = (region->start.v + PAGE_MASK) >> PAGE_SHIFT;
    uint64_t end = (region->start.v + region->bytes) >> PAGE_SHIFT;
    if (first == 0)
        first = 1;
    if (end > UINT32_MAX - 1)
        end = UINT32_MAX - 1;
    if (first >= end)
        return;
    unsigned i = f.bank_count++;
    for (; i > 0 && f.banks[i - 1].base > first; i--)
        f.banks[i] = f.banks[i - 1];
    f.banks[i] = (struct bank){ (uint32_t)first, (uint32_t)(end - first), 0 };
}

static const struct bank *largest_bank(void)
{
    const struct bank *best = &f.banks[0];
    for (unsigned i = 1; i < f.bank_count; i++)
        if (f.banks[i].count > best->count)
            best = &f.banks[i];
    return best;
}

static void number_banks(void)
{
    for (unsigned i = 0; i < f.bank_count; i++) {
        ensure(i == 0 || f.banks[i].base >= f.banks[i - 1].base + f.banks[i - 1].count);
        f.banks[i].index = f.total;
        f.total += f.banks[i].count;
    }
    f.share_start = f.total - f.total / 4;
}

static uint32_t reserve_rule(uint32_t managed)
{
    uint32_t reserve = managed / 256;
    return reserve < 12 ? 12 : reserve > 1024 ? 1024 : reserve;
}

bool frame_init(const struct frame_region *regions, unsigned region_count)
{
    memset(&f, 0, sizeof(f));
    memset(caches, 0, sizeof(caches));
    f.lock = SPINLOCK(RANK_FRAME);
    f.plenty_from = UINT32_MAX;
    f.lists[0] = f.lists[1] = INDEX_NONE;
    for (unsigned i = 0; i < region_count && f.bank_count < BANK_MAX; i++)
        bank_add(&regions[i]);
    if (f.bank_count == 0)
        return false;
    number_banks();
    const struct bank *home = largest_bank();
    f.main = *home;
    uint64_t bytes = (uint64_t)f.total * sizeof(struct frame);
    uint32_t own = (uint32_t)((bytes + PAGE_MASK) >> PAGE_SHIFT);
    if (own + 256 > home->count)
        return false;
    f.frames = machine_frame_map(pfn(home->base));
    memset(f.frames, 0, (size_t)own << PAGE_SHIFT);
    f.kinds[FRAME_FIXED] = f.total;
    /* From the top down, so that low frames are given out first. */
    for (uint32_t index = f.total; index-- > 0;)
        if (index - home->index >= own)
            set_kind(index, FRAME_FREE);
    f.managed = f.kinds[FRAME_FREE];
    f.reserve = reserve_rule(f.managed);
    f.plenty_from = f.managed / PLENTY_PART < PLENTY_LEAST ? PLENTY_LEAST : f.managed / PLENTY_PART;
    update_plenty();
    f.books_next = home->index + own;
    f.books_end = home->index + home->count;
    uint64_t seed;
    machine_entropy(&seed, sizeof(seed));
    rng_seed(&f.rng, seed);
    return true;
}

void *frame_books(size_t bytes)
{
    uint32_t count = (uint32_t)((bytes + PAGE_MASK) >> PAGE_SHIFT);
    if (count > f.books_end - f.books_next)
        return NULL;
    spin_lock(&f.lock);
    uint32_t first = f.books_next;
    for (uint32_t i = 0; i < count; i++)
        set_kind(first + i, FRAME_FIXED);
    f.books_next += count;
    spin_unlock(&f.lock);
    void *books = machine_frame_map(number_of(first));
    memset(books, 0, (size_t)count << PAGE_SHIFT);
    return books;
}

/* ---- what it says ------------------------------------------------------------ */

uint32_t frame_free_count(void)
{
    return frame_kind_count(FRAME_FREE);
}

uint32_t frame_managed_count(void)
{
    return f.managed;
}

uint32_t frame_total_count(void)
{
    return f.total;
}

uint32_t frame_kind_count(enum frame_kind kind)
{
    uint32_t sum = atomic_get(f.kinds[kind]);
    if (kind == FRAME_SHARED) /* never through a cache */
        return sum;
    for (unsigned i = 0; i < MACHINE_CPU_MAX; i++)
        sum += atomic_get(caches[i].kinds[kind]);
    /* Read one by one: a frame seen leaving and not seen coming. */
    return sum > f.total ? 0 : sum;
}

uint32_t frame_reserve_count(void)
{
    return f.reserve;
}

uint64_t frame_metadata_bytes(void)
{
    return (uint64_t)f.total * sizeof(struct frame);
}

uint64_t frame_cache_bytes(void)
{
    return sizeof(caches);
}

struct frame *frame_by_index(uint32_t index)
{
    assert(index < f.total);
    return &f.frames[index];
}

uint32_t frame_highest(void)
{
    const struct bank *last = &f.banks[f.bank_count - 1];
    return last->base + last->count - 1;
}

static bool list_count(unsigned which, uint32_t *count)
{
    uint32_t first = f.lists[which], index = first;
    if (first == INDEX_NONE)
        return true;
    do {
        const struct frame *frame = &f.frames[index];
        if (frame->kind != FRAME_FREE || (index >= f.share_start) != which ||
            f.frames[frame->free.next].free.prev != index || ++*count > f.total)
            return false;
        index = frame->free.next;
    } while (index != first);
    return true;
}

/* Frames in caches; UINT32_MAX when one of them does not belong there. */
static uint32_t cached_count(void)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < MACHINE_CPU_MAX; i++)
        for (uint32_t k = 0; k < caches[i].count; k++, count++)
            if (caches[i].indices[k] >= f.share_start ||
                f.frames[caches[i].indices[k]].kind != FRAME_FREE)
                return UINT32_MAX;
    return count;
}

const char *frame_audit(void)
{
    uint32_t kinds[FRAME_KIND_COUNT] = { 0 }, listed = 0, cached = cached_count();
    for (uint32_t i = 0; i < f.total; i++) {
        if (f.frames[i].kind >= FRAME_KIND_COUNT)
            return "frame descriptor with an unknown kind";
        kinds[f.frames[i].kind]++;
    }
    for (unsigned kind = 0; kind < FRAME_KIND_COUNT; kind++)
        if (kinds[kind] != frame_kind_count((enum frame_kind)kind))
            return "frame kinds do not add up";
    if (!list_count(0, &listed) || !list_count(1, &listed))
        return "free list is damaged";
    if (cached == UINT32_MAX)
        return "a CPU's cache holds a frame that is not free";
    if (listed + cached != kinds[FRAME_FREE] || f.listed[0] + f.listed[1] != listed)
        return "free lists and caches do not hold every free frame";
    return NULL;
}
