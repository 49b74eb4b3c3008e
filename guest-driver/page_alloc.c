/*
 * Two sources: `fresh`, the pages never handed out, taken in ascending order
 * from the front (tables are carved off its end), and the list of freed pages.
 *
 *   image_end ......... fresh_next ............... fresh_end ...... memory end
 *     handed out, some on the list | never touched | tables
 *
 * link[page - first] is the next page on the list for a free page, LINK_USED for
 * one that is handed out.
 */
#include "guest-driver/page_alloc.h"

#include "lib/assert.h"
#include "lib/string.h"
#include "lib/types.h"

#define LINK_USED UINT32_MAX

static uint32_t first, fresh_next, fresh_end;
static uint32_t list_head;
static uint32_t list_count;
static uint32_t *link;
static page_shrinker shrinkers[PAGE_SHRINKER_MAX];
static unsigned shrinker_count;

void *page_alloc_array(size_t bytes)
{
    uint32_t pages = (uint32_t)((bytes + PAGE_SIZE - 1) / PAGE_SIZE);
    if (bytes > (size_t)GIB || pages > fresh_end - fresh_next)
        return NULL;
    fresh_end -= pages;
    return memset(page_content(fresh_end), 0, (size_t)pages * PAGE_SIZE);
}

void page_alloc_init(const struct guest_boot *boot)
{
    first = fresh_next = (uint32_t)(boot->image_end / PAGE_SIZE);
    fresh_end = (uint32_t)(boot->memory_bytes / PAGE_SIZE);
    link = page_alloc_array((size_t)(fresh_end - first) * sizeof(*link));
    if (!link)
        panic("too little memory: %lu bytes", boot->memory_bytes);
}

void page_alloc_add_shrinker(page_shrinker shrinker)
{
    ensure(shrinker_count < PAGE_SHRINKER_MAX);
    shrinkers[shrinker_count++] = shrinker;
}

static uint32_t take_page(void)
{
    uint32_t page = list_head;
    if (page != PAGE_NONE) {
        list_head = link[page - first];
        list_count--;
    } else if (fresh_next < fresh_end) {
        page = fresh_next++;
    } else {
        return PAGE_NONE;
    }
    link[page - first] = LINK_USED;
    return page;
}

uint32_t page_alloc(void)
{
    uint32_t page = take_page();
    for (unsigned i = 0; page == PAGE_NONE && i < shrinker_count; i++)
        if (shrinkers[i](1))
            page = take_page();
    return page;
}

uint32_t page_alloc_free_only(uint32_t keep)
{
    return page_alloc_free_count() > keep ? take_page() : PAGE_NONE;
}

void page_free(uint32_t page)
{
    ensure(page >= first && page < fresh_next && link[page - first] == LINK_USED);
    link[page - first] = list_head;
    list_head = page;
    list_count++;
}

uint32_t page_alloc_free_count(void)
{
    return list_count + (fresh_end - fresh_next);
}

uint32_t page_alloc_total(void)
{
    return fresh_end - first;
}
