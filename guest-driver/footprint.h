/*
 * A set of pages with known content that a workload holds: written, rewritten
 * (a new version), verified. Counts and reports what it checked.
 */
#ifndef GUEST_FOOTPRINT_H
#define GUEST_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>

#include "guest-driver/content.h"

struct footprint {
    uint32_t *pages;   /* by index; pages[i] is PAGE_NONE where i is not held */
    uint8_t *versions; /* of the content, modulo 256 */
    uint32_t capacity;
    uint64_t seed;
    uint64_t first_seed; /* of version 1; the same as seed unless changed */
    struct content_mix mix;
};

/* False: no memory for the tables. */
bool footprint_init(struct footprint *footprint, uint32_t capacity, uint64_t seed,
                    const struct content_mix *mix);
/* Allocates page i if it is not held, and writes the next version of its content.
 * False: no page to be had. */
bool footprint_write(struct footprint *footprint, uint32_t i);
/* Checks page i, which must be held. Mismatches are counted and the first few
 * printed; see footprint_finish(). */
void footprint_verify(struct footprint *footprint, uint32_t i);
void footprint_verify_all(struct footprint *footprint);
/* Verifies page i and gives it back. */
void footprint_drop(struct footprint *footprint, uint32_t i);
/* Changes one byte in each of the first `count` held pages behind its back. */
void footprint_corrupt(struct footprint *footprint, uint64_t count);

/* For content that is checked elsewhere (the page cache): counts one page. */
void footprint_count(bool same, uint32_t index);

/* Sends what was counted since the last time to the report ports. */
void footprint_report(void);
/* The last line, "NAME: N pages checked, M mismatches", and the status. */
int footprint_finish(const char *name);

#endif
