/*
 * table[key]: page number, and the referenced bit on top of it. A page number
 * has at most 20 bits, since memory ends below 4 GiB.
 */
#include "guest-driver/cache.h"

#include "guest-driver/page_alloc.h"
#include "lib/assert.h"

#define REFERENCED (1u << 31)
/* The cache gives way down to this many pages, except to itself. */
#define CACHE_KEEP 64u

static uint32_t *table;
static uint32_t capacity, held, hand;

bool cache_init(uint32_t key_count)
{
    table = page_alloc_array((size_t)key_count * sizeof(*table));
    if (!table)
        return false;
    capacity = key_count;
    page_alloc_add_shrinker(cache_shrink);
    return true;
}

uint32_t cache_get(uint32_t key)
{
    assert(key < capacity);
    if (table[key] == PAGE_NONE)
        return PAGE_NONE;
    table[key] |= REFERENCED;
    return table[key] & ~REFERENCED;
}

/* One page that was not used since the hand last passed. held > 0. */
static uint32_t evict(void)
{
    for (;; hand = (hand + 1) % capacity) {
        uint32_t page = table[hand];
        if (page & REFERENCED) {
            table[hand] = page & ~REFERENCED;
        } else if (page != PAGE_NONE) {
            table[hand] = PAGE_NONE;
            held--;
            return page;
        }
    }
}

uint32_t cache_add(uint32_t key)
{
    assert(key < capacity && table[key] == PAGE_NONE);
    uint32_t page = page_alloc_free_only(0);
    if (page == PAGE_NONE)
        page = held ? evict() : page_alloc();
    if (page == PAGE_NONE)
        return PAGE_NONE;
    table[key] = page;
    held++;
    return page;
}

uint32_t cache_shrink(uint32_t wanted)
{
    uint32_t freed = 0;
    for (; freed < wanted && held > CACHE_KEEP; freed++)
        page_free(evict());
    return freed;
}

uint32_t cache_count(void)
{
    return held;
}
