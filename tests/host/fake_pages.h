/*
 * Pages as guests have them, made from a seed: for tests and benchmarks of the
 * stores.
 */
#ifndef TESTS_HOST_FAKE_PAGES_H
#define TESTS_HOST_FAKE_PAGES_H

#include "lib/rng.h"
#include "lib/types.h"

enum page_kind {
    PAGE_ZERO,
    PAGE_WORD,     /* one word repeated */
    PAGE_RANDOM,   /* incompressible */
    PAGE_TEXT,     /* words of a small vocabulary */
    PAGE_POINTERS, /* a heap: pointers of one region, small integers, zeros */
    PAGE_CODE,     /* few byte values often, runs of common sequences */
    PAGE_RECORDS,  /* an array of structs that differ in few fields */
    PAGE_SPARSE,   /* mostly zero */
    PAGE_FEW_BITS, /* random bytes of a small alphabet */
    PAGE_HALF,     /* half random, half zero */
    PAGE_RUNS,     /* runs of every length */
    PAGE_REPEATS,  /* copies at every distance */
    PAGE_KIND_COUNT
};

void fake_page_make(enum page_kind kind, struct rng *rng, void *page);
const char *fake_page_kind_name(enum page_kind kind);

#endif
