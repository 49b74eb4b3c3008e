/*
 * The compressor: LZ4 block format, one page at a time.
 *
 * One pass, greedy. A table remembers for each hash of five bytes the position
 * where they were last seen; a candidate counts only when the five bytes there
 * are equal, so the table is a hint and its collisions cost ratio, never
 * correctness. Matches of four bytes would save one byte and cost a sequence
 * each. Without a match the search takes longer and longer steps.
 *
 * A probe is ten instructions, and a page has a thousand of them; a match costs
 * some fifty cycles of waiting, for the candidate and for branches that guessed
 * wrong. So positions are numbers, which the table holds and addresses take as
 * they are, the five bytes are cut out of a word by the multiplier and by a mask,
 * the search takes four steps a turn with one check of the bounds, what goes
 * backwards is found without a loop, and the common sequence is written with
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

/* What a probe finds: so many equal bytes. */
#define FOUND      5u
#define FIVE_BYTES 0xffffffffffull

#define TABLE_BITS 12u
static_assert((sizeof(uint16_t) << TABLE_BITS) == CODEC_WORK_BYTES, "the table is the work area");
/* Turns of four probes in vain: so many with steps of one byte, up to so many of
 * two; then the step grows by one every second turn. */
#define TURNS_BY_ONE 4u
#define TURNS_BY_TWO 12u

/* Room in the block and in the page with which the common sequence needs no
 * other check: token, 16 bytes copied for up to 14 literals, distance, and a byte
 * for the match's length. */
#define COMMON_ROOM (1u + 16u + 2u + 1u)
#define COMMON_COPY 16u
/* More literals than that are memcpy()'s. */
#define LONG_COPY 128u

/* Where a page is judged when long blocks are refused (at the first match that ends
 * there or later), and what part of it must be saved by then: see is_hopeless(). */
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

/* A hash of the word's first five bytes: multiplicative (Knuth, TAOCP 3, 6.4) by
 * the golden ratio, whose shift drops the bytes behind them. */
static inline size_t hash_of(uint64_t word)
{
    return (size_t)((word * (11400714819323198485ull << 24)) >> (64u - TABLE_BITS));
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

/* Literals in steps of 32 where both sides have the room. */
static inline void put_literals(const struct encoder *e, uint8_t *out, uint32_t count)
{
    const uint8_t *from = e->page + e->anchor;
    uint32_t rounded = (count + 31u) & ~31u;
    if (count > LONG_COPY || rounded > e->limit - (uint32_t)(out - e->block) ||
        e->anchor + rounded > PAGE_SIZE) {
        memcpy(out, from, count);
        return;
    }
    for (uint32_t i = 0; i < count; i += 32)
        for (uint32_t k = 0; k < 32; k += 8)
            copy8(out + i + k, from + i + k);
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
    uint64_t word = load64(page + position);
    size_t hash = hash_of(word);
    *before = table[hash];
    table[hash] = (uint16_t)position;
    return ((load64(page + *before) ^ word) & FIVE_BYTES) == 0;
}

/* Bytes from one probe to the next after so many turns in vain. */
static inline size_t step_after(uint32_t turns)
{
    if (turns < TURNS_BY_TWO)
        return turns < TURNS_BY_ONE ? 1 : 2;
    return 3 + (turns - TURNS_BY_TWO) / 2;
}

static __attribute__((noinline)) uint32_t long_backward(const struct encoder *e, uint32_t at,
                                                        uint32_t from, uint32_t known)
{
    uint32_t most = at - e->anchor < from ? at - e->anchor : from, count = known;
    while (count < most && e->page[at - count - 1] == e->page[from - count - 1])
        count++;
    return count;
}

/* Equal bytes before `at` and `from`, at most to the anchor. */
static inline uint32_t backward(const struct encoder *e, const uint8_t *page, uint32_t at,
                                uint32_t from)
{
    if (__builtin_expect(from < 8, 0))
        return long_backward(e, at, from, 0);
    uint64_t difference = load64(page + at - 8) ^ load64(page + from - 8);
    uint32_t equal = (uint32_t)__builtin_clzll(difference | 1) >> 3, room = at - e->anchor;
    uint32_t count = equal < room ? equal : room;
    /* Seven: there may be more. */
    return __builtin_expect(count == 7, 0) ? long_backward(e, at, from, 7) : count;
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

/* One sequence, by copies of fixed size where literals are few, the match takes at
 * most one more byte for its length, and both sides have the room. */
static inline bool put_common(struct encoder *e, uint32_t at, uint32_t distance, uint32_t length)
{
    uint32_t literals = at - e->anchor, extra = length - MIN_MATCH;
    if (literals >= 15 || extra >= 15 + 255 || e->limit - e->out < COMMON_ROOM ||
        e->anchor > PAGE_SIZE - COMMON_COPY)
        return put_sequence(e, at, distance, length);
    const uint8_t *from = e->page + e->anchor;
    uint8_t *token = e->block + e->out, *out = token + 1;
    copy8(out, from);
    copy8(out + 8, from + 8);
    out += literals;
    out[0] = (uint8_t)distance;
    out[1] = (uint8_t)(distance >> 8);
    /* Overwritten by the next token when it does not count. */
    out[2] = (uint8_t)(extra - 15);
    *token = (uint8_t)(literals << 4 | (extra < 15 ? extra : 15));
    e->out = (uint32_t)(out + 2 + (extra >= 15) - e->block);
    e->anchor = at + length;
    return true;
}

/*
 * Where long blocks are refused, a page that has saved almost nothing of its
 * beginning is given up, unless words that repeat their neighbour say that
 * the rest is of another kind. It is a guess: it may refuse what would have just
 * fitted, and always decides the same for the same page and limit.
 */
static bool is_hopeless(const struct encoder *e, uint32_t saved)
{
    uint32_t at = e->anchor, repeated = 0, looked = 0;
    if (e->out < at - at / saved)
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

/* Encodes the match of five bytes and more at `at` and `from`; where it ends, or 0:
 * the block is too long. */
static inline uint32_t put_match(struct encoder *e, const uint8_t *page, uint32_t at, uint32_t from)
{
    uint32_t end = at + FOUND + match_length(page, at + FOUND, from + FOUND);
    uint32_t back = backward(e, page, at, from);
    return put_common(e, at - back, at - from, end - at + back) ? end : 0;
}

/* Encodes all matches; false: the block is too long, or will be. */
static __attribute__((noinline)) bool encode(struct encoder *e)
{
    /* Copies: what is stored into table and block could be a part of *e, for a compiler. */
    const uint8_t *page = e->page;
    uint16_t *table = e->table;
    unsigned judgement = e->limit < PAGE_SIZE ? 0 : JUDGEMENTS;
    size_t at = 1, before;
    for (;;) {
        size_t last = last_start(e), step = 1;
        uint32_t turns = 0;
        while (at + 3 * step <= last) {
#pragma GCC unroll 4
            for (unsigned i = 0; i < 4; i++, at += step)
                if (probe(page, table, at, &before))
                    goto found;
            step = step_after(++turns);
        }
        for (; at <= last; at += step)
            if (probe(page, table, at, &before))
                goto found;
        return true;
    found:;
        uint32_t end = put_match(e, page, (uint32_t)at, (uint32_t)before);
        if (end == 0 || (judgement < JUDGEMENTS && end >= judgements[judgement].at &&
                         is_hopeless(e, judgements[judgement++].saved)))
            return false;
        if (end <= LAST_START)
            table[hash_of(load64(page + end - 2))] = (uint16_t)(end - 2);
        at = end;
    }
}

uint32_t codec_compress(const void *page, void *block, uint32_t limit, void *work)
{
    /* Twice a page is more than any block takes, and keeps sums far from 2^32. */
    uint32_t cap = limit < 2 * PAGE_SIZE ? limit : 2 * PAGE_SIZE;
    struct encoder e = { .page = page, .table = work, .block = block, .limit = cap };
    memset(e.table, 0, CODEC_WORK_BYTES);
    return encode(&e) && put_last_literals(&e) ? e.out : 0;
}
