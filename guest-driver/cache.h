/*
 * A cache of pages by key, as a file system has one: clean copies of what could
 * be read again. It takes any page it can get and gives way when the balloon
 * grows or somebody needs memory. Second-chance (clock) replacement.
 */
#ifndef GUEST_CACHE_H
#define GUEST_CACHE_H

#include <stdbool.h>
#include <stdint.h>

/* Keys are 0 to key_count - 1. False: no memory for the table. */
bool cache_init(uint32_t key_count);
/* The page that holds this key, PAGE_NONE: not cached. */
uint32_t cache_get(uint32_t key);
/* A page for a key that is not cached, to be filled by the caller. Evicts
 * another when no page is free. PAGE_NONE: nothing to be had. */
uint32_t cache_add(uint32_t key);
/* Evicts up to `wanted` pages; returns how many. A page_shrinker. */
uint32_t cache_shrink(uint32_t wanted);
/* Pages held. */
uint32_t cache_count(void);

#endif
