/*
 * The compressor: LZ4 block format, one page at a time.
 *
 * A table remembers for each hash of six bytes the position where they were last
 * seen; a candidate counts only when the six bytes there are equal, so the table is
 * a hint and its collisions cost ratio, never correctness. Without a match the
 * search takes longer and longer steps. With one that is short, the next three
 * positions are asked for a longer one, which is then taken instead.
 *
 * What costs time is the sequence, not the probe: some sixty cycles of waiting, for
 * the candidate and for branches that guessed wrong, and again when the page is
 * read back. So matches of four and five bytes are left alone, which would save a
 * byte or two each, and the three positions win back what that loses: a quarter
 * fewer sequences for the same ratio. They are asked with eight bytes around the
 * end that they have to pass, which is one branch each and seldom a wrong guess.
 *
 * Most of the page is encoded where no load and no copy needs a check of bounds,
 * in stretches between which the page is judged; the last bytes without haste.
 *
 * Rules of the format kept here (lz4_Block_format.md, "End of block restrictions"): the
 * last 5 bytes are literals, the last match starts at least 12 bytes before the end.
 * Bytes are read only inside the page and written only inside the block.
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
/* No block is shorter: a match as long as the page has 16 bytes of length. */
#define BLOCK_MIN 26u

/* What a probe finds: so many equal bytes, and the bits of a word behind them. */
#define FOUND  6u
#define BEHIND (64u - 8u * FOUND)

#define TABLE_BITS 12u
static_assert((sizeof(uint16_t) << TABLE_BITS) == CODEC_WORK_BYTES, "the table is the work area");
/* Turns of four probes in vain: so many with steps of one byte, up to so many of
 * two; then the step grows by one every second turn. */
#define TURNS_BY_ONE 6u
#define TURNS_BY_TWO 12u
/* A match of up to so many bytes is short, and so many positions behind its start
 * are asked for a better one: one that ends further away by more than it starts. */
#define SHORT_MATCH 12u
#define LATER       3u

/* Up to here a match needs no checks: all that is loaded around it lies in the page,
 * and a length found at once ends where a match may. */
#define FAST_LAST (PAGE_SIZE - 32u)
static_assert(FAST_LAST + FOUND + 16 <= MATCH_END && FAST_LAST + LATER <= LAST_START, "lengths");
static_assert(FAST_LAST + SHORT_MATCH + LATER + 2 <= PAGE_SIZE && SHORT_MATCH >= FOUND, "loads");
/* A search that starts before this one ends its steps of one byte before the other. */
#define FAST_STOP (FAST_LAST - 4u * TURNS_BY_ONE)

/* Room for the common sequence: token, 16 bytes copied for up to 14 literals,
 * distance, and a byte for the match's length. */
#define COMMON_ROOM (1u + 16u + 2u + 1u)
#define LONG_COPY   128u /* more literals than that are memcpy()'s */

/* Where a page is judged when long blocks are refused, and what part of it must be
 * saved by then: see is_hopeless(). */
static const struct {
    uint32_t at, saved;
} judgements[] = { { 768, 16 }, { 2048, 8 } };
#define JUDGEMENTS   (sizeof(judgements) / sizeof(*judgements))
#define JUDGE_STRIDE 48u
#define JUDGE_FEW    4u /* of the words looked at, one in so many is repeated */

struct encoder {
    const uint8_t *page;
    uint16_t *table;
    uint8_t *block, *end; /* of the block: its limit */
    uint8_t *out;         /* the next byte of it */
    size_t anchor;        /* first byte of the page not yet encoded */
    size_t at;            /* the next position to probe */
};

/* page[at .. end) is the same as what begins at `from`, which lies before. */
struct match {
    size_t at, from, end;
};

static inline struct match longer_by(struct match m, size_t back)
{
    return (struct match){ m.at - back, m.from - back, m.end };
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

/* A hash of the word's first six bytes: multiplicative (Knuth, TAOCP 3, 6.4) by
 * the golden ratio, whose shift drops the bytes behind them. */
static inline size_t hash_of(uint64_t word)
{
    return (size_t)((word * (11400714819323198485ull << BEHIND)) >> (64u - TABLE_BITS));
}

/* Notes the position; where its hash was last seen. */
static inline size_t note(uint16_t *table, uint64_t word, size_t position)
{
    size_t hash = hash_of(word), before = table[hash];
    table[hash] = (uint16_t)position;
    return before;
}

/* ---- writing sequences -------------------------------------------------------------- */

/* Bytes a length takes beyond its four bits in the token. */
static inline size_t length_bytes(size_t length)
{
    return length < 15 ? 0 : (length - 15) / 255 + 1;
}

static uint8_t *put_length(uint8_t *out, size_t length)
{
    if (length < 15)
        return out;
    for (length -= 15; length >= 255; length -= 255)
        *out++ = 255;
    *out++ = (uint8_t)length;
    return out;
}

/* Literals in steps of 32 where both sides have the room. */
static inline void put_literals(const struct encoder *e, uint8_t *out, size_t anchor, size_t count)
{
    const uint8_t *from = e->page + anchor;
    size_t rounded = (count + 31u) & ~(size_t)31;
    if (count > LONG_COPY || rounded > (size_t)(e->end - out) || anchor + rounded > PAGE_SIZE) {
        memcpy(out, from, count);
        return;
    }
    for (size_t i = 0; i < count; i += 32)
        for (size_t k = 0; k < 32; k += 8)
            copy8(out + i + k, from + i + k);
}

/* Any sequence at `out`: literals from the anchor on, then the match. Where the next
 * one goes, or NULL: the block is too long. */
static __attribute__((noinline)) uint8_t *put_sequence(const struct encoder *e, uint8_t *out,
                                                       size_t anchor, struct match m)
{
    size_t literals = m.at - anchor, extra = m.end - m.at - MIN_MATCH, distance = m.at - m.from;
    size_t size = 1 + length_bytes(literals) + literals + 2 + length_bytes(extra);
    if (size > (size_t)(e->end - out))
        return NULL;
    *out++ = (uint8_t)((literals < 15 ? literals : 15) << 4 | (extra < 15 ? extra : 15));
    out = put_length(out, literals);
    put_literals(e, out, anchor, literals);
    out += literals;
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    return put_length(out, extra);
}

/* The same, by copies of fixed size where literals are few, the match takes at most
 * one more byte for its length, and the block has room, as the page always has. */
static inline uint8_t *put_common(const struct encoder *e, uint8_t *out, size_t anchor,
                                  struct match m)
{
    size_t literals = m.at - anchor, extra = m.end - m.at - MIN_MATCH, distance = m.at - m.from;
    if (literals >= 15 || extra >= 15 + 255 || e->end - out < (ptrdiff_t)COMMON_ROOM)
        return put_sequence(e, out, anchor, m);
    const uint8_t *from = e->page + anchor;
    uint8_t *token = out++;
    copy8(out, from);
    copy8(out + 8, from + 8);
    out += literals;
    out[0] = (uint8_t)distance;
    out[1] = (uint8_t)(distance >> 8);
    /* Overwritten by the next token when it does not count. */
    out[2] = (uint8_t)(extra - 15);
    *token = (uint8_t)(literals << 4 | (extra < 15 ? extra : 15));
    return out + 2 + (extra >= 15);
}

static bool put_last_literals(struct encoder *e)
{
    size_t literals = PAGE_SIZE - e->anchor, size = 1 + length_bytes(literals) + literals;
    if (size > (size_t)(e->end - e->out))
        return false;
    *e->out++ = (uint8_t)((literals < 15 ? literals : 15) << 4);
    e->out = put_length(e->out, literals);
    put_literals(e, e->out, e->anchor, literals);
    e->out += literals;
    return true;
}

/* ---- lengths ---------------------------------------------------------------------------- */

/* Where the common run at a and b < a ends, at most MATCH_END. */
static __attribute__((noinline)) size_t long_match_end(const uint8_t *page, size_t a, size_t b)
{
    while (a + 8 <= MATCH_END) {
        uint64_t difference = load64(page + a) ^ load64(page + b);
        if (difference)
            return a + ((unsigned)__builtin_ctzll(difference) >> 3);
        a += 8;
        b += 8;
    }
    while (a < MATCH_END && page[a] == page[b]) {
        a++;
        b++;
    }
    return a;
}

/* The same; up to 15 bytes without a loop, which lie before MATCH_END. */
static inline size_t match_end(const uint8_t *page, size_t a, size_t b)
{
    uint64_t difference = load64(page + a) ^ load64(page + b);
    if (difference)
        return a + ((unsigned)__builtin_ctzll(difference) >> 3);
    difference = load64(page + a + 8) ^ load64(page + b + 8);
    if (difference)
        return a + 8 + ((unsigned)__builtin_ctzll(difference) >> 3);
    return long_match_end(page, a + 16, b + 16);
}

/* Equal bytes before `at` and `from`, at most to the anchor. */
static __attribute__((noinline)) size_t long_backward(const uint8_t *page, size_t anchor, size_t at,
                                                      size_t from)
{
    size_t count = 0;
    while (at - count > anchor && from > count && page[at - count - 1] == page[from - count - 1])
        count++;
    return count;
}

/* The same; up to six bytes without a loop. */
static inline size_t backward(const uint8_t *page, size_t anchor, size_t at, size_t from)
{
    if (__builtin_expect(from < 8, 0))
        return long_backward(page, anchor, at, from);
    /* The bytes next to both come first when swapped. Seven: there may be more. */
    uint64_t difference = __builtin_bswap64(load64(page + at - 8) ^ load64(page + from - 8));
    size_t equal = (unsigned)__builtin_ctzll(difference | 1ull << 63) >> 3, room = at - anchor;
    size_t count = equal < room ? equal : room;
    return __builtin_expect(count == 7, 0) ? long_backward(page, anchor, at, from) : count;
}

/* ---- searching ---------------------------------------------------------------------------- */

/* Notes the position and tells whether the same six bytes were seen before, where. */
static inline bool probe(const uint8_t *page, uint16_t *table, size_t position, size_t *before)
{
    uint64_t word = load64(page + position);
    *before = note(table, word, position);
    return ((load64(page + *before) ^ word) << BEHIND) == 0;
}

/* By steps of one byte; 0: nothing found. */
static inline size_t find_near(const uint8_t *page, uint16_t *table, size_t at, size_t *from)
{
    for (unsigned turn = 0; turn < TURNS_BY_ONE; turn++)
#pragma GCC unroll 4
        for (unsigned i = 0; i < 4; i++, at++)
            if (probe(page, table, at, from))
                return at;
    return 0;
}

/* And from then on, up to `last`. */
static __attribute__((noinline)) size_t find_far(const uint8_t *page, uint16_t *table, size_t at,
                                                 size_t last, size_t *from)
{
    size_t step = 2;
    for (unsigned turn = TURNS_BY_ONE + 1; at + 3 * step <= last; turn++) {
#pragma GCC unroll 4
        for (unsigned i = 0; i < 4; i++, at += step)
            if (probe(page, table, at, from))
                return at;
        step = turn < TURNS_BY_TWO ? 2 : 3 + (turn - TURNS_BY_TWO) / 2;
    }
    for (; at <= last; at += step)
        if (probe(page, table, at, from))
            return at;
    return 0;
}

/* A short match, or the first better one behind its start, which has to pass its end
 * by what it starts later and one more: the eight bytes up to there tell. */
static inline struct match prefer_later(const uint8_t *page, uint16_t *table, struct match m)
{
    if (m.end - m.at > SHORT_MATCH)
        return m;
#pragma GCC unroll 3
    for (size_t later = 1; later <= LATER; later++) {
        size_t at = m.at + later, from = note(table, load64(page + at), at);
        size_t last8 = m.end + later + 2 - 8;
        if (__builtin_expect(load64(page + last8) == load64(page + from + last8 - at), 0)) {
            size_t end = long_match_end(page, at, from);
            if (end > m.end + later + 1)
                return (struct match){ at, from, end };
        }
    }
    return m;
}

/*
 * Encodes matches until one ends at `stop` or behind, or the search passes FAST_LAST;
 * stop <= FAST_STOP. False: the block is too long, or will be.
 */
static __attribute__((noinline)) bool encode_until(struct encoder *e, size_t stop)
{
    /* Copies: for a compiler what is stored into table and block could be *e. */
    const uint8_t *page = e->page;
    uint16_t *table = e->table;
    uint8_t *out = e->out;
    size_t anchor = e->anchor, at = e->at;
    while (at < stop) {
        struct match m;
        m.at = find_near(page, table, at, &m.from);
        if (__builtin_expect(m.at == 0, 0)) {
            /* With more literals than these the block would be too long. */
            size_t give_up = (size_t)(e->end - out) + anchor;
            size_t last = give_up < FAST_LAST ? give_up : FAST_LAST;
            size_t from; /* m with its address taken would live in memory */
            m.at = find_far(page, table, at + 4 * TURNS_BY_ONE, last, &from);
            m.from = from;
            if (m.at == 0) {
                if (last < FAST_LAST)
                    return false;
                at = FAST_LAST + 1;
                break;
            }
        }
        m.end = match_end(page, m.at + FOUND, m.from + FOUND);
        m = prefer_later(page, table, m);
        out = put_common(e, out, anchor, longer_by(m, backward(page, anchor, m.at, m.from)));
        if (!out)
            return false;
        at = anchor = m.end;
        if (at <= FAST_LAST)
            note(table, load64(page + at - 2), at - 2);
    }
    e->out = out;
    e->anchor = anchor;
    e->at = at;
    return true;
}

/* The end of the page. */
static bool encode_rest(struct encoder *e)
{
    while (e->at <= LAST_START) {
        struct match m = { .at = e->at++ };
        if (!probe(e->page, e->table, m.at, &m.from))
            continue;
        m.end = long_match_end(e->page, m.at, m.from);
        m = longer_by(m, long_backward(e->page, e->anchor, m.at, m.from));
        e->out = put_sequence(e, e->out, e->anchor, m);
        if (!e->out)
            return false;
        e->at = e->anchor = m.end;
    }
    return put_last_literals(e);
}

/*
 * Where long blocks are refused, a page that has saved almost nothing of its
 * beginning is given up, unless words that repeat their neighbour say that
 * the rest is of another kind. It is a guess: it may refuse what would have just
 * fitted, and always decides the same for the same page and limit.
 */
static bool is_hopeless(const struct encoder *e, uint32_t saved)
{
    size_t at = e->anchor, repeated = 0, looked = 0;
    if ((size_t)(e->out - e->block) < at - at / saved)
        return false;
    for (size_t i = (at + 7u) & ~(size_t)7; i + 16 <= PAGE_SIZE; i += JUDGE_STRIDE, looked++)
        repeated += load64(e->page + i) == load64(e->page + i + 8);
    return repeated * JUDGE_FEW < looked;
}

uint32_t codec_compress(const void *page, void *block, uint32_t limit, void *work)
{
    if (limit < BLOCK_MIN)
        return 0;
    /* More than any block takes, and its end an address. */
    uint32_t cap = limit < 2 * PAGE_SIZE ? limit : 2 * PAGE_SIZE;
    struct encoder e = { page, work, block, (uint8_t *)block + cap, block, 0, 1 };
    memset(e.table, 0, CODEC_WORK_BYTES);
    if (limit < PAGE_SIZE)
        for (unsigned i = 0; i < JUDGEMENTS; i++)
            if (!encode_until(&e, judgements[i].at) || is_hopeless(&e, judgements[i].saved))
                return 0;
    return encode_until(&e, FAST_STOP) && encode_rest(&e) ? (uint32_t)(e.out - e.block) : 0;
}
