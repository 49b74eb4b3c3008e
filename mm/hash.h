/*
 * Keyed universal hashing of pages (hash.c) and of blocks (hash_bytes.c). Safety of
 * merges never rests on it: they compare whole pages, walks are bounded. The key
 * keeps guests from choosing collisions.
 */
#ifndef MM_HASH_H
#define MM_HASH_H

#include "lib/types.h"

/* Draws the key from machine_entropy(). Once, at boot. */
void hash_init(void);

/* Content hash of a page. */
uint64_t hash_page(const void *page);

/*
 * Check of a pool object's bytes, at most PAGE_SIZE: of two different ones, whatever
 * they are and whoever chose them, the checks are equal with probability at most
 * 2^-32 + 2^-64 over the choice of the key. mm/hash_bytes.c has the proof. The vector
 * registers are as before afterwards: in the hypervisor they are a guest's.
 */
uint32_t hash_bytes(const void *bytes, uint32_t size);

/* The same without instructions that not every CPU has. */
uint32_t hash_bytes_plain(const void *bytes, uint32_t size);

/* Looks which instructions the CPU has; hash_init() does. */
void hash_bytes_choose(void);

/* What a check of so many bytes has read of the key leaves all caches; cache_fence()
 * completes it. */
void hash_bytes_forget(uint32_t size);

/* True when the page is one 64-bit word repeated; *word is that word. */
bool hash_page_uniform(const void *page, uint64_t *word);

#endif
