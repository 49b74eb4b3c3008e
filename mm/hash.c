/*
 * Keyed hashing of pages, and the key, which the checks of pool objects share.
 *
 * NH: the sum over word pairs of (m0 + k0) * (m1 + k1), the sums inside modulo
 * 2^64, the products exact and added modulo 2^128. Two different messages of
 * the same length meet with probability at most 2^-64 over the choice of the
 * key (Black et al. 1999, theorem 4.2). The 128 bits are then folded to 64 by
 * one more keyed multiplication.
 */
#include "mm/hash.h"

#include "mm/hash_key.h"
#include "mm/machine.h"

struct hash_key hash_key;

typedef unsigned __int128 wide_t;

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline wide_t pair(const uint8_t *p, uint32_t word)
{
    return (wide_t)(load64(p + 8 * word) + hash_key.words[word]) *
           (load64(p + 8 * word + 8) + hash_key.words[word + 1]);
}

static inline uint64_t fold(wide_t sum)
{
    uint64_t low = (uint64_t)sum ^ hash_key.fold[0], high = (uint64_t)(sum >> 64);
    wide_t product = (wide_t)low * (high ^ hash_key.fold[1]);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

void hash_init(void)
{
    machine_entropy(&hash_key, sizeof(hash_key));
    hash_bytes_choose();
}

uint64_t hash_page(const void *page)
{
    const uint8_t *p = page;
    wide_t sum = 0;
    for (uint32_t word = 0; word < PAGE_WORDS; word += 2)
        sum += pair(p, word);
    return fold(sum);
}

bool hash_page_uniform(const void *page, uint64_t *word)
{
    const uint8_t *p = page;
    uint64_t first = load64(p);
    /* Most pages differ at once: look at the second and the last word first. */
    if (load64(p + 8) != first || load64(p + PAGE_SIZE - 8) != first)
        return false;
    for (uint32_t i = 0; i < PAGE_SIZE; i += 32) {
        uint64_t difference = (load64(p + i) ^ first) | (load64(p + i + 8) ^ first) |
                              (load64(p + i + 16) ^ first) | (load64(p + i + 24) ^ first);
        if (difference)
            return false;
    }
    *word = first;
    return true;
}
