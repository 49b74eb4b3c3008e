/*
 * What the workloads write into pages. The content of a page follows from
 * (seed, index, version) and the mix, so it can be checked byte for byte
 * without keeping a copy. About 2000 instructions to write or to check a page.
 */
#ifndef GUEST_CONTENT_H
#define GUEST_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

/* Kinds of page, and their share of all pages in percent. */
enum content_kind {
    CONTENT_RANDOM, /* does not compress */
    CONTENT_TEXT,   /* compresses by two to three */
    CONTENT_ZERO,
    CONTENT_UNIFORM, /* one 64-bit word, of eight */
    CONTENT_KIND_COUNT
};
struct content_mix {
    uint32_t percent[CONTENT_KIND_COUNT]; /* add up to 100 */
};

/* Which page it is. Two pages with the same three numbers (and mix) hold the
 * same bytes, in every VM. */
struct content_id {
    uint64_t seed;
    uint32_t index;
    uint32_t version;
};

enum content_kind content_kind_of(const struct content_mix *mix, struct content_id id);
void content_write(uint64_t *page, const struct content_mix *mix, struct content_id id);
/* True when all 4096 bytes are what content_write() wrote. */
bool content_verify(const uint64_t *page, const struct content_mix *mix, struct content_id id);

#endif
