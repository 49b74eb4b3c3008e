/*
 * Fuzzers whose input decides what a test's own machinery does: the numbers it
 * draws come from the input. Include after lib/rng.h has been included, before the
 * source that draws.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *fuzz_at;
static size_t fuzz_left;

static inline uint64_t fuzz_bytes(unsigned count)
{
    uint64_t value = 0;
    for (; count > 0 && fuzz_left > 0; count--, fuzz_left--)
        value = value << 8 | *fuzz_at++;
    return value;
}

static inline uint64_t fuzz_below(uint64_t bound)
{
    return fuzz_bytes(bound <= 256 ? 1 : bound <= 65536 ? 2 : 8) % bound;
}

#define rng_below(rng, bound) ((void)(rng), fuzz_below(bound))
#define rng_next(rng)         ((void)(rng), fuzz_bytes(8))

static inline void fuzz_require(bool condition)
{
    if (!condition)
        abort();
}

#endif
