/*
 * The frame allocator and the descriptors; see frame.h.
 *
 * Memory is a few banks of neighbouring frames; a descriptor's index counts
 * through all banks in address order. The share region is the top quarter of
 * the indices. Both regions have a free list, linked through the descriptors;
 * general allocations fall back on the share region only when the general list
 * is empty, so merged content finds room at random places there.
 *
 * Lock: `lock`, innermost but for the log's.
 */
#include "mm/frame.h"
#include "lib/log.h"
#include "lib/rng.h"
#include "lib/string.h"
#include "mm/machine.h"

#define BANK_MAX   16u
#define INDEX_NONE UINT32_MAX
/* Draws for a merged frame; with as few free frames, their list is walked. */
#define SHARED_DRAWS 256u

struct bank {
    uint32_t base;  /* first frame number */
    uint32_t count; /* frames */
    uint32_t index; /* descriptor index of the first */
};

static struct {
    struct spinlock lock;
    struct bank banks[BANK_MAX];
    unsigned bank_count;
    struct frame *frames;
    uint32_t total, managed, share_start;
    uint32_t lists[2];  /* first free index: general, share region */
    uint32_t listed[2]; /* how many */
    uint32_t kinds[FRAME_KIND_COUNT];
    uint32_t reserve;
    uint32_t books_next, books_end; /* indices */
    struct rng rng;
} f;

struct frame *frame_at(pfn_t number)
{
    for (unsigned i = 0; i < f.bank_count; i++) {
        uint32_t offset = number.v - f.banks[i].base;
        if (offset < f.banks[i].count)
            return &f.frames[f.banks[i].index + offset];
    }
    return NULL;
}

static pfn_t number_of(uint32_t index)
{
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

/* The one place where a frame's kind changes. The descriptor starts afresh,
 * except when a merged frame is taken back. */
static void set_kind(uint32_t index, enum frame_kind kind)
{
    struct frame *frame = &f.frames[index];
    ensure(frame->kind != (uint8_t)kind);
    if (frame->kind == FRAME_FREE)
        list_take(index);
    f.kinds[frame->kind]--;
    f.kinds[kind]++;
    memset(frame, 0, sizeof(*frame));
    frame->kind = (uint8_t)kind;
    if (kind == FRAME_FREE)
        list_push(index);
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
    spin_lock(&f.lock);
    if (f.kinds[FRAME_FREE] > withheld(urgency)) {
        uint32_t index = f.lists[0] != INDEX_NONE ? f.lists[0] : f.lists[1];
        ensure(index != INDEX_NONE);
        set_kind(index, kind);
        number = number_of(index);
    }
    spin_unlock(&f.lock);
    return number;
}

/* A free index of the share region, every one as likely; NONE. While many are
 * free, by draws; the few that are left are counted through. */
static uint32_t draw(void)
{
    if (f.listed[1] == 0)
        return INDEX_NONE;
    if (f.listed[1] <= SHARED_DRAWS) {
        uint32_t index = f.lists[1];
        for (uint64_t n = rng_below(&f.rng, f.listed[1]); n > 0; n--)
            index = f.frames[index].free.next;
        return index;
    }
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
    uint32_t index = draw();
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
    spin_lock(&f.lock);
    set_kind((uint32_t)(frame - f.frames), FRAME_FREE);
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
    f.lists[0] = f.lists[1] = INDEX_NONE;
    for (unsigned i = 0; i < region_count && f.bank_count < BANK_MAX; i++)
        bank_add(&regions[i]);
    if (f.bank_count == 0)
        return false;
    number_banks();
    const struct bank *home = largest_bank();
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
    return __atomic_load_n(&f.kinds[FRAME_FREE], __ATOMIC_RELAXED);
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
    return __atomic_load_n(&f.kinds[kind], __ATOMIC_RELAXED);
}

uint32_t frame_reserve_count(void)
{
    return f.reserve;
}

uint64_t frame_metadata_bytes(void)
{
    return (uint64_t)f.total * sizeof(struct frame);
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

const char *frame_audit(void)
{
    uint32_t kinds[FRAME_KIND_COUNT] = { 0 }, listed = 0;
    for (uint32_t i = 0; i < f.total; i++) {
        if (f.frames[i].kind >= FRAME_KIND_COUNT)
            return "frame descriptor with an unknown kind";
        kinds[f.frames[i].kind]++;
    }
    if (memcmp(kinds, f.kinds, sizeof(kinds)) != 0)
        return "frame kinds do not add up";
    if (!list_count(0, &listed) || !list_count(1, &listed))
        return "free list is damaged";
    if (listed != kinds[FRAME_FREE] || f.listed[0] + f.listed[1] != listed)
        return "free list does not hold every free frame";
    return NULL;
}
