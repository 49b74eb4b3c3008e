/*
 * What guests of test_threads write, and how they check it: contents that merge,
 * compress, are uniform, or do none of it. Hidden from the sanitizer, as guests'
 * accesses are from any lock.
 */
#ifndef TESTS_HOST_THREADS_CONTENT_H
#define TESTS_HOST_THREADS_CONTENT_H

#include "lib/types.h"

#if defined(__clang__)
#define GUEST_CODE __attribute__((no_sanitize("thread"), noinline, unused))
#else
#define GUEST_CODE __attribute__((unused))
#endif
#define COMMONS 12u

enum content { ZERO, UNIFORM, COMMON, TEXT, NOISE, CONTENT_COUNT };

GUEST_CODE static uint64_t word_of(enum content kind, uint64_t salt, unsigned i)
{
    uint64_t mixed = (salt + 1) * 0x9e3779b97f4a7c15ull + i * 0xbf58476d1ce4e5b9ull;
    switch (kind) {
    case ZERO:
        return 0;
    case UNIFORM:
        return salt % 40 * 0x0101010101010101ull;
    case COMMON: /* the same in all VMs */
        return (salt % COMMONS + 1) * 0x517cc1b727220a95ull + i;
    case TEXT: /* compresses to a fourth */
        return i % 8 == 0 ? mixed : 0x2020202074786574ull + salt % 3;
    default:
        return mixed ^ mixed >> 29;
    }
}

/* The words a write touches and a read looks at: the ends and some between. */
#define STEP 7u

GUEST_CODE static void fill(uint8_t *page, enum content kind, uint64_t salt)
{
    uint64_t *words = (uint64_t *)page;
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        *(volatile uint64_t *)&words[i] = word_of(kind, salt, i);
}

GUEST_CODE static bool holds(const uint8_t *page, enum content kind, uint64_t salt)
{
    const uint64_t *words = (const uint64_t *)page;
    for (unsigned i = 0; i < PAGE_WORDS; i += STEP)
        if (*(const volatile uint64_t *)&words[i] != word_of(kind, salt, i))
            return false;
    return true;
}

#endif
