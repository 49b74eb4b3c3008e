/*
 * Keyed universal hashing of pages and blocks (NH of UMAC, Black et al. 1999,
 * over 64-bit words, finished by a multiply-and-fold). Safety never rests on
 * it: merges compare whole pages, walks are bounded. The key keeps guests from
 * choosing collisions.
 */
#ifndef MM_HASH_H
#define MM_HASH_H

#include "lib/types.h"

/* Draws the key from machine_entropy(). Once, at boot. */
void hash_init(void);

/* Content hash of a page. */
uint64_t hash_page(const void *page);

/* Check of a pool object's bytes: a damaged block passes with probability
 * about 2^-32. */
uint32_t hash_bytes(const void *bytes, uint32_t size);

/* True when the page is one 64-bit word repeated; *word is that word. */
bool hash_page_uniform(const void *page, uint64_t *word);

#endif
