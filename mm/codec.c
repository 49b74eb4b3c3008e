/*
 * The compressor: LZ4 block format, one page at a time.
 *
 * One pass, greedy. A table remembers for each hash of five bytes the position
 * where they were last seen; a candidate counts only when the five bytes there
 * are equal, so the table is a hint and its collisions cost ratio, never
 * correctness. Matches of four bytes would save one byte and cost a sequence
 * each. Without a match the search takes longer and longer steps.
 *
 * What costs is mispredicted branches and the chain from one match to the next,
 * not arithmetic. So the search takes four steps a turn with one check of the
 * bounds, a length is found in words, and the common sequence is written with
 * copies of fixed size.
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
/* The step grows by one byte after this many turns of four probes in vain. */
#define TURNS_PER_STEP 8u

/* Room in the block and in the page with which the common sequence needs no
 * other check: token, 16 bytes copied for up to 14 literals, distance, and what
 * the longest match takes for its length. */
#define COMMON_ROOM (1u + 16u + 2u + PAGE_SIZE / 255u + 1u)
#define COMMON_COPY 16u

/* Where a page is judged when long blocks are refused, and what part of it must
 * be saved by then: see is_hopeless(). */
static const struct {
    uint32_t at, saved;
} judgements[] = { { 768, 16 }, { 2048, 8 } };
#define JUDGEMENTS   (sizeof(judgements) / sizeof(*judgements))
#define JUDGE_STRIDE 48u
#define JUDGE_FEW    4u /* of the words looked at, one in so many is repeated */

struct encoder {
    const uint8_t *page;
    uint16_t *table;
    uint8_t *block;
    uint32_t limit;
    uint32_t out;    /* bytes of the block written */
    uint32_t anchor; /* first byte of the page not yet encoded */
};

struct match {
    uint32_t at, from; /* positions of the two equal runs, from < at */
};

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

/* The five bytes at p, in the high part of a word. */
static inline uint64_t five_at(const uint8_t *p)
{
    return load64(p) << 24;
}

/* Multiplicative hashing (Knuth, TAOCP 3, 6.4) by the golden ratio. */
static inline size_t hash_of(uint64_t five)
{
    return (size_t)((five * 11400714819323198485ull) >> (64u - TABLE_BITS));
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
static uint32_t long_match_length(const uint8_t *page, uint32_t a, uint32_t b)
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

/* The same; up to 15 bytes without a loop. */
static inline uint32_t match_length(const uint8_t *page, uint32_t a, uint32_t b)
{
    if (a + 16 > MATCH_END)
        return long_match_length(page, a, b);
    uint64_t difference = load64(page + a) ^ load64(page + b);
    if (difference)
        return (uint32_t)__builtin_ctzll(difference) >> 3;
    difference = load64(page + a + 8) ^ load64(page + b + 8);
    if (difference)
        return 8 + ((uint32_t)__builtin_ctzll(difference) >> 3);
    return 16 + long_match_length(page, a + 16, b + 16);
}

/* Notes position and tells whether the same five bytes were seen before, where. */
static inline bool probe(const uint8_t *page, uint16_t *table, size_t position, size_t *before)
{
    uint64_t five = five_at(page + position);
    size_t hash = hash_of(five);
    *before = table[hash];
    table[hash] = (uint16_t)position;
    return five_at(page + *before) == five;
}

/* Looks for a match at or after `position`, up to `last`. When there is none,
 * match->at is where the search ended. */
static inline bool find_match(const struct encoder *e, size_t position, size_t last,
                              struct match *match)
{
    /* Copies: what is stored into the table could be a part of *e, for a compiler. */
    const uint8_t *page = e->page;
    uint16_t *table = e->table;
    size_t step = 1, turns = TURNS_PER_STEP, before;
    while (position + 3 * step <= last) {
#pragma GCC unroll 4
        for (unsigned i = 0; i < 4; i++, position += step)
            if (probe(page, table, position, &before))
                goto found;
        step = ++turns / TURNS_PER_STEP;
    }
    for (; position <= last; position += step)
        if (probe(page, table, position, &before))
            goto found;
    *match = (struct match){ (uint32_t)position, 0 };
    return false;
found:
    *match = (struct match){ (uint32_t)position, (uint32_t)before };
    return true;
}

/* Any sequence: literals from the anchor up to `at`, then a match. */
static __attribute__((noinline)) bool put_sequence(struct encoder *e, uint32_t at,
                                                   uint32_t distance, uint32_t length)
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

/* One sequence, by copies of fixed size where literals are few and both sides
 * have the room. */
static inline bool put_common(struct encoder *e, uint32_t at, uint32_t distance, uint32_t length)
{
    uint32_t literals = at - e->anchor, extra = length - MIN_MATCH;
    if (literals >= 15 || e->limit - e->out < COMMON_ROOM || e->anchor > PAGE_SIZE - COMMON_COPY)
        return put_sequence(e, at, distance, length);
    const uint8_t *from = e->page + e->anchor;
    uint8_t *token = e->block + e->out, *out = token + 1;
    copy8(out, from);
    copy8(out + 8, from + 8);
    out += literals;
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    *token = (uint8_t)(literals << 4 | (extra < 15 ? extra : 15));
    out = put_length(out, extra);
    e->out = (uint32_t)(out - e->block);
    e->anchor = at + length;
    return true;
}

/*
 * Where long blocks are refused, a page that has saved almost nothing of its
 * beginning is given up, unless words that repeat their neighbour say that
 * the rest is of another kind. It is a guess: it may refuse what would have just
 * fitted, and always decides the same for the same page and limit.
 */
static bool is_hopeless(const struct encoder *e, uint32_t at, uint32_t saved)
{
    uint32_t so_far = e->out + (at - e->anchor), repeated = 0, looked = 0;
    if (so_far < at - at / saved)
        return false;
    for (uint32_t i = (at + 7u) & ~7u; i + 16 <= PAGE_SIZE; i += JUDGE_STRIDE, looked++)
        repeated += load64(e->page + i) == load64(e->page + i + 8);
    return repeated * JUDGE_FEW < looked;
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

/* The last position at which a match is of use: with more literals before it,
 * the block would be too long. */
static inline uint32_t last_start(const struct encoder *e)
{
    uint32_t give_up = e->limit - e->out + e->anchor;
    return give_up < LAST_START ? give_up : LAST_START;
}

/* Encodes the match; where the search goes on, or 0: the block is too long. */
static inline uint32_t put_match(struct encoder *e, struct match match)
{
    const uint8_t *page = e->page;
    uint32_t end =
        match.at + MIN_MATCH + match_length(page, match.at + MIN_MATCH, match.from + MIN_MATCH);
    while (match.at > e->anchor && match.from > 0 && page[match.at - 1] == page[match.from - 1]) {
        match.at--;
        match.from--;
    }
    if (!put_common(e, match.at, match.at - match.from, end - match.at))
        return 0;
    if (end <= LAST_START)
        e->table[hash_of(five_at(page + end - 2))] = (uint16_t)(end - 2);
    return end;
}

/* Encodes matches from `at` up to `until`; where it ended, or 0: too long. */
static __attribute__((noinline)) uint32_t encode(struct encoder *e, uint32_t at, uint32_t until)
{
    for (;;) {
        uint32_t last = last_start(e);
        struct match match;
        if (!find_match(e, at, last < until ? last : until, &match))
            return match.at;
        at = put_match(e, match);
        if (at == 0)
            return 0;
    }
}

uint32_t codec_compress(const void *page, void *block, uint32_t limit, void *work)
{
    /* Twice a page is more than any block takes, and keeps sums far from 2^32. */
    uint32_t cap = limit < 2 * PAGE_SIZE ? limit : 2 * PAGE_SIZE;
    struct encoder e = { .page = page, .table = work, .block = block, .limit = cap };
    memset(e.table, 0, CODEC_WORK_BYTES);
    uint32_t at = 1;
    for (unsigned i = 0; i < JUDGEMENTS; i++) {
        at = encode(&e, at, judgements[i].at);
        if (at == 0 || (cap < PAGE_SIZE && is_hopeless(&e, at, judgements[i].saved)))
            return 0;
    }
    at = encode(&e, at, PAGE_SIZE);
    return at != 0 && put_last_literals(&e) ? e.out : 0;
}
