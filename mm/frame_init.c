/*
 * The allocator's beginning, and what it says about itself; see frame.h.
 *
 * The largest bank begins with the descriptors of all banks and the counts of
 * their blocks. Lock: the allocator's own, for the lists; the rest is written at
 * boot, or read without it, each number for itself.
 */
#include "lib/atomic.h"
#include "lib/string.h"
#include "mm/frame_state.h"
#include "mm/locks.h"

/* Plenty: so many free frames on the general list, and this part of all. */
#define PLENTY_LEAST 1024u
#define PLENTY_PART  8u

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
    unsigned i = frame_state.bank_count++;
    for (; i > 0 && frame_state.banks[i - 1].base > first; i--)
        frame_state.banks[i] = frame_state.banks[i - 1];
    frame_state.banks[i] = (struct bank){ (uint32_t)first, (uint32_t)(end - first), 0, 0 };
}

static const struct bank *largest_bank(void)
{
    const struct bank *best = &frame_state.banks[0];
    for (unsigned i = 1; i < frame_state.bank_count; i++)
        if (frame_state.banks[i].count > best->count)
            best = &frame_state.banks[i];
    return best;
}

static void number_banks(void)
{
    for (unsigned i = 0; i < frame_state.bank_count; i++) {
        ensure(i == 0 || frame_state.banks[i].base >=
                             frame_state.banks[i - 1].base + frame_state.banks[i - 1].count);
        struct bank *bank = &frame_state.banks[i];
        bank->index = frame_state.total;
        bank->block = frame_state.blocks;
        frame_state.total += bank->count;
        frame_state.blocks +=
            (bank->base + bank->count - 1) / FRAME_BLOCK - bank->base / FRAME_BLOCK + 1;
    }
    frame_state.share_start = frame_state.total - frame_state.total / 4;
}

static uint32_t reserve_rule(uint32_t managed)
{
    uint32_t reserve = managed / 256;
    return reserve < 12 ? 12 : reserve > 1024 ? 1024 : reserve;
}

bool frame_init(const struct frame_region *regions, unsigned region_count)
{
    memset(&frame_state, 0, sizeof(frame_state));
    memset(frame_caches, 0, sizeof(frame_caches));
    frame_state.lock = SPINLOCK(RANK_FRAME);
    frame_state.plenty_from = UINT32_MAX;
    frame_state.lists[0] = frame_state.lists[1] = INDEX_NONE;
    for (unsigned i = 0; i < region_count && frame_state.bank_count < BANK_MAX; i++)
        bank_add(&regions[i]);
    if (frame_state.bank_count == 0)
        return false;
    number_banks();
    const struct bank *home = largest_bank();
    frame_state.main = *home;
    uint32_t own = (uint32_t)((frame_metadata_bytes() + PAGE_MASK) >> PAGE_SHIFT);
    if (own + 256 > home->count)
        return false;
    frame_state.frames = machine_frame_map(pfn(home->base));
    memset(frame_state.frames, 0, (size_t)own << PAGE_SHIFT);
    frame_state.block_free = (uint16_t *)&frame_state.frames[frame_state.total];
    frame_state.booting = true;
    frame_state.block_hint = frame_state.blocks - 1;
    frame_state.kinds[FRAME_FIXED] = frame_state.total;
    /* From the top down, so that low frames are given out first. */
    for (uint32_t index = frame_state.total; index-- > 0;)
        if (index - home->index >= own)
            frame_set_kind(index, FRAME_FREE);
    frame_state.booting = false;
    frame_state.managed = frame_state.kinds[FRAME_FREE];
    frame_state.reserve = reserve_rule(frame_state.managed);
    frame_state.plenty_from = frame_state.managed / PLENTY_PART < PLENTY_LEAST
                                  ? PLENTY_LEAST
                                  : frame_state.managed / PLENTY_PART;
    frame_update_plenty();
    frame_state.books_next = home->index + own;
    frame_state.books_end = home->index + home->count;
    uint64_t seed;
    machine_entropy(&seed, sizeof(seed));
    rng_seed(&frame_state.rng, seed);
    return true;
}

void *frame_books(size_t bytes)
{
    uint32_t count = (uint32_t)((bytes + PAGE_MASK) >> PAGE_SHIFT);
    if (count > frame_state.books_end - frame_state.books_next)
        return NULL;
    spin_lock(&frame_state.lock);
    uint32_t first = frame_state.books_next;
    for (uint32_t i = 0; i < count; i++)
        frame_set_kind(first + i, FRAME_FIXED);
    frame_state.books_next += count;
    spin_unlock(&frame_state.lock);
    void *books = machine_frame_map(frame_number_of(first));
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
    return frame_state.managed;
}

uint32_t frame_total_count(void)
{
    return frame_state.total;
}

uint32_t frame_kind_count(enum frame_kind kind)
{
    uint32_t sum = atomic_get(frame_state.kinds[kind]);
    if (kind == FRAME_SHARED) /* never through a cache */
        return sum;
    for (unsigned i = 0; i < MACHINE_CPU_MAX; i++)
        sum += atomic_get(frame_caches[i].kinds[kind]);
    /* Read one by one: a frame seen leaving and not seen coming. */
    return sum > frame_state.total ? 0 : sum;
}

uint32_t frame_reserve_count(void)
{
    return frame_state.reserve;
}

uint64_t frame_metadata_bytes(void)
{
    return (uint64_t)frame_state.total * sizeof(struct frame) +
           (uint64_t)frame_state.blocks * sizeof(uint16_t);
}

uint64_t frame_cache_bytes(void)
{
    return sizeof(frame_caches);
}

struct frame *frame_by_index(uint32_t index)
{
    assert(index < frame_state.total);
    return &frame_state.frames[index];
}

uint32_t frame_highest(void)
{
    const struct bank *last = &frame_state.banks[frame_state.bank_count - 1];
    return last->base + last->count - 1;
}

/* Ends: where each frame is the one before its next, the list comes back to its first. */
static bool list_count(unsigned which, uint32_t *count)
{
    uint32_t first = frame_state.lists[which], index = first;
    if (first == INDEX_NONE)
        return true;
    do {
        const struct frame *frame = &frame_state.frames[index];
        if (frame->kind != FRAME_FREE || (index >= frame_state.share_start) != which ||
            frame_state.frames[frame->free.next].free.prev != index)
            return false;
        ++*count;
        index = frame->free.next;
    } while (index != first);
    return true;
}

/* Do the blocks count what is on the general list? */
static bool blocks_agree(void)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < frame_state.blocks; i++) {
        if (frame_state.block_free[i] > FRAME_BLOCK)
            return false;
        sum += frame_state.block_free[i];
    }
    return sum == frame_state.listed[0];
}

/* Frames in caches; UINT32_MAX when one of them does not belong there. */
static uint32_t cached_count(void)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < MACHINE_CPU_MAX; i++)
        for (uint32_t k = 0; k < frame_caches[i].count; k++, count++)
            if (frame_caches[i].indices[k] >= frame_state.share_start ||
                frame_state.frames[frame_caches[i].indices[k]].kind != FRAME_FREE)
                return UINT32_MAX;
    return count;
}

const char *frame_audit(void)
{
    uint32_t kinds[FRAME_KIND_COUNT] = { 0 }, listed = 0, cached = cached_count();
    for (uint32_t i = 0; i < frame_state.total; i++) {
        if (frame_state.frames[i].kind >= FRAME_KIND_COUNT)
            return "frame descriptor with an unknown kind";
        kinds[frame_state.frames[i].kind]++;
    }
    for (unsigned kind = 0; kind < FRAME_KIND_COUNT; kind++)
        if (kinds[kind] != frame_kind_count((enum frame_kind)kind))
            return "frame kinds do not add up";
    if (!list_count(0, &listed) || !list_count(1, &listed))
        return "free list is damaged";
    if (cached == UINT32_MAX)
        return "a CPU's cache holds a frame that is not free";
    if (listed + cached != kinds[FRAME_FREE] ||
        frame_state.listed[0] + frame_state.listed[1] != listed)
        return "free lists and caches do not hold every free frame";
    if (!blocks_agree())
        return "blocks do not count the free frames in them";
    return NULL;
}
