/*
 * The key of all hashes, in memory. Internal to hash*.c.
 */
#ifndef MM_HASH_KEY_H
#define MM_HASH_KEY_H

#include "lib/assert.h"
#include "lib/types.h"

/* A page's worth for sums, then some words for what is made of a sum. Written once at
 * boot, only read afterwards: no lock. */
#define HASH_CHECK_WORDS 6u
#define HASH_FOLD_WORDS  2u
struct hash_key {
    uint64_t words[PAGE_WORDS];
    uint64_t check[HASH_CHECK_WORDS]; /* hash_bytes() */
    uint64_t fold[HASH_FOLD_WORDS];   /* hash_page() */
} __attribute__((aligned(64)));
static_assert(offsetof(struct hash_key, check) % 64 == 0 && PAGE_SIZE % 512 == 0,
              "hash_bytes_forget() evicts the words in steps and the rest as one line");
extern struct hash_key hash_key;

#endif
