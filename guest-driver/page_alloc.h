/*
 * The guest's pages. A page is a number (physical address >> 12), 0 is none.
 * Free pages are never written to: the host must not pay for memory that nobody
 * uses. The list is kept in a table beside them, newest freed first.
 */
#ifndef GUEST_PAGE_ALLOC_H
#define GUEST_PAGE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "guest-driver/guest.h"

#define PAGE_NONE 0u

/* Who gives pages back when there are none left: called in order of
 * registration with the number wanted, returns how many it freed. */
typedef uint32_t (*page_shrinker)(uint32_t wanted);
#define PAGE_SHRINKER_MAX 4

void page_alloc_init(const struct guest_boot *boot);
void page_alloc_add_shrinker(page_shrinker shrinker);

/* PAGE_NONE when nobody has any to give. The content is undefined. */
uint32_t page_alloc(void);
/* The same, but takes nothing from the shrinkers, and leaves `keep` pages. */
uint32_t page_alloc_free_only(uint32_t keep);
/* Panics on a page that is not allocated. */
void page_free(uint32_t page);

/* Zeroed memory for tables, never given back; NULL when too little untouched
 * memory is left. */
void *page_alloc_array(size_t bytes);

uint32_t page_alloc_free_count(void);
/* Pages under management, arrays not included. */
uint32_t page_alloc_total(void);

static inline uint64_t *page_content(uint32_t page)
{
    return (uint64_t *)((uint64_t)page << 12);
}

#endif
