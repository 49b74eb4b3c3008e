/*
 * The compressor: LZ4 block format, one page at a time.
 *
 * One pass, greedy. A table remembers for each hash of four bytes the position
 * where they were last seen; a candidate counts only when the four bytes there
 * are equal, so the table is a hint and its collisions cost ratio, never
 * correctness. Without a match the search takes longer and longer steps, so a
 * page that does not compress is given up on after some six hundred probes.
 *
 * Rules of the format kept here (lz4_Block_format.md, "End of block
 * restrictions"): the last 5 bytes are literals, the last match starts at least
 * 12 bytes before the end. Bytes are read only inside the page and written only
 * inside the block.
 */
#include "mm/codec.h"

#include "lib/assert.h"
#include "lib/string.h"

#define MIN_MATCH     4u
#define LAST_LITERALS 5u
#define MATCH_LIMIT   12u
/* The last position where a match may start, and where one must end. */
#define LAST_START (PAGE_SIZE - MATCH_LIMIT)
#define MATCH_END  (PAGE_SIZE - LAST_LITERALS)

#define TABLE_BITS 12u
static_assert((sizeof(uint16_t) << TABLE_BITS) == CODEC_WORK_BYTES, "the table is the work area");
/* The step grows by one byte after this many probes in vain. */
#define PROBES_PER_STEP 64u

struct encoder {
    const uint8_t *page;
    uint16_t *table;
    uint8_t *block;
    uint32_t limit;
    uint32_t out;    /* bytes of the block written */
    uint32_t anchor; /* first byte of the page not yet encoded */
};

static inline uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline void copy8(uint8_t *to, const uint8_t *from)
{
    uint64_t v = load64(from);
    __builtin_memcpy(to, &v, sizeof(v));
}

/* Multiplicative hashing (Knuth, TAOCP 3, 6.4) by the golden ratio. */
static inline uint32_t hash_at(uint32_t four_bytes)
{
    return (four_bytes * 2654435769u) >> (32u - TABLE_BITS);
}

/* Notes position and returns where the same hash was noted before. */
static inline uint32_t table_exchange(uint16_t *table, uint32_t four_bytes, uint32_t position)
{
    uint16_t *entry = &table[hash_at(four_bytes)];
    uint32_t before = *entry;
    *entry = (uint16_t)position;
    return before;
}

/* Bytes a length takes beyond its four bits in the token. */
static inline uint32_t length_bytes(uint32_t length)
{
    return length < 15 ? 0 : (length - 15) / 255 + 1;
}

static uint8_t *put_length(uint8_t *out, uint32_t length)
{
    if (length < 15)
        return out;
    for (length -= 15; length >= 255; length -= 255)
        *out++ = 255;
    *out++ = (uint8_t)length;
    return out;
}

/* Literals in steps of eight where both sides have the room, else bytewise. */
static inline void put_literals(const struct encoder *e, uint8_t *out, uint32_t count)
{
    const uint8_t *from = e->page + e->anchor;
    uint32_t rounded = (count + 7u) & ~7u;
    if (rounded <= e->limit - (uint32_t)(out - e->block) && e->anchor + rounded <= PAGE_SIZE) {
        for (uint32_t i = 0; i < count; i += 8)
            copy8(out + i, from + i);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        out[i] = from[i];
}

/* Length of the common run at a and b < a, which ends at MATCH_END. */
static inline uint32_t match_length(const uint8_t *page, uint32_t a, uint32_t b)
{
    uint32_t start = a;
    while (a + 8 <= MATCH_END) {
        uint64_t difference = load64(page + a) ^ load64(page + b);
        if (difference)
            return a - start + ((uint32_t)__builtin_ctzll(difference) >> 3);
        a += 8;
        b += 8;
    }
    while (a < MATCH_END && page[a] == page[b]) {
        a++;
        b++;
    }
    return a - start;
}

/* Looks for a match at or after *at. False when there is none up to the end, or
 * the literals alone would break the limit. */
static bool find_match(const struct encoder *e, uint32_t *at, uint32_t *candidate)
{
    /* More literals than this before the next match, and the block is too long. */
    uint32_t give_up = e->limit - e->out + e->anchor;
    uint32_t last = give_up < LAST_START ? give_up : LAST_START;
    uint32_t position = *at, probes = PROBES_PER_STEP;
    while (position <= last) {
        uint32_t bytes = load32(e->page + position);
        uint32_t before = table_exchange(e->table, bytes, position);
        if (before < position && load32(e->page + before) == bytes) {
            *at = position;
            *candidate = before;
            return true;
        }
        position += probes++ / PROBES_PER_STEP;
    }
    return false;
}

/* One sequence: literals from the anchor up to `at`, then a match. */
static bool put_sequence(struct encoder *e, uint32_t at, uint32_t distance, uint32_t length)
{
    uint32_t literals = at - e->anchor, extra = length - MIN_MATCH;
    uint32_t size = 1 + length_bytes(literals) + literals + 2 + length_bytes(extra);
    if (size > e->limit - e->out)
        return false;
    uint8_t *out = e->block + e->out;
    *out++ = (uint8_t)((literals < 15 ? literals : 15) << 4 | (extra < 15 ? extra : 15));
    out = put_length(out, literals);
    put_literals(e, out, literals);
    out += literals;
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    put_length(out, extra);
    e->out += size;
    e->anchor = at + length;
    return true;
}

static bool put_last_literals(struct encoder *e)
{
    uint32_t literals = PAGE_SIZE - e->anchor;
    uint32_t size = 1 + length_bytes(literals) + literals;
    if (size > e->limit - e->out)
        return false;
    uint8_t *out = e->block + e->out;
    *out++ = (uint8_t)((literals < 15 ? literals : 15) << 4);
    out = put_length(out, literals);
    put_literals(e, out, literals);
    e->out += size;
    return true;
}

uint32_t codec_compress(const void *page, void *block, uint32_t limit, void *work)
{
    /* Twice a page is more than any block takes, and keeps sums far from 2^32. */
    uint32_t cap = limit < 2 * PAGE_SIZE ? limit : 2 * PAGE_SIZE;
    struct encoder e = { .page = page, .table = work, .block = block, .limit = cap };
    memset(e.table, 0, CODEC_WORK_BYTES);
    uint32_t at = 1, candidate;
    while (find_match(&e, &at, &candidate)) {
        uint32_t length = MIN_MATCH + match_length(e.page, at + MIN_MATCH, candidate + MIN_MATCH);
        while (at > e.anchor && candidate > 0 && e.page[at - 1] == e.page[candidate - 1]) {
            at--;
            candidate--;
            length++;
        }
        if (!put_sequence(&e, at, at - candidate, length))
            return 0;
        at = e.anchor;
        if (at <= LAST_START)
            table_exchange(e.table, load32(e.page + at - 2), at - 2);
    }
    return put_last_literals(&e) ? e.out : 0;
}
