/*
 * The decoder that ships: one LZ4 block to exactly one page, or nothing. On every
 * input it answers as the plain one in codec_decode.c does, which is proved.
 *
 * Two loops over the same state, `in` and `out`. While both are far enough from
 * their ends (IN_ROOM, OUT_ROOM), the first takes whole sequences with copies of
 * fixed size, and at most one byte more for each length. What it does not take it
 * leaves untouched: the second decodes one sequence with every check, and the
 * first goes on. Most of the time goes into branches that guess wrong, so there
 * are few of them, and each one is for what is rare. A block is seldom in the cache:
 * its first lines are asked for at once, so that nobody waits for each of them.
 *
 * Invariants: in <= end, out <= limit, each read of the block is below end, each
 * read and write of the page is inside it. Every turn consumes at least the
 * token, so every input ends (P9). Copies may write some bytes beyond their end
 * inside the page: these are overwritten by what follows, since an accepted block
 * fills the page.
 */
#include "mm/codec.h"

#include "lib/string.h"

#define MIN_MATCH     4u
#define LAST_LITERALS 5u
#define MATCH_LIMIT   12u
/* From here on copies that do not overlap are memcpy()'s. */
#define LONG_COPY 64u
/* Of the block, bytes that are asked for ahead. */
#define PREFETCH   1536u
#define CACHE_LINE 64u

/* The first loop reads at most a token, 16 bytes for up to 14 literals, distance
 * and a length byte ... */
#define IN_ROOM 24u
/* ... and writes at most 14 literals and 18 bytes for a match of up to 18. */
#define OUT_ROOM 48u
/* Copies of more literals or longer matches stop this far before either end. */
#define LONG_ROOM 32u

struct decoder {
    const uint8_t *in, *end; /* of the block: the next byte, behind the last */
    uint8_t *page, *out;     /* the next byte to write */
};

/* Bytes of the page from `out` on. */
static inline uint32_t room_at(const struct decoder *d, const uint8_t *out)
{
    return PAGE_SIZE - (uint32_t)(out - d->page);
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

/* Little-endian, like the processor. */
static inline uint32_t load16(const uint8_t *p)
{
    uint16_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline void store64(uint8_t *p, uint64_t v)
{
    __builtin_memcpy(p, &v, sizeof(v));
}

static inline void copy8(uint8_t *to, const uint8_t *from)
{
    store64(to, load64(from));
}

static inline void copy2(uint8_t *to, const uint8_t *from)
{
    uint16_t v;
    __builtin_memcpy(&v, from, sizeof(v));
    __builtin_memcpy(to, &v, sizeof(v));
}

static inline void copy16(uint8_t *to, const uint8_t *from)
{
    copy8(to, from);
    copy8(to + 8, from + 8);
}

/*
 * The last `distance` bytes (1 to 7) repeated for count bytes and up to 8 more: a
 * word holds the pattern, which is stored every so many bytes as whole patterns
 * fit into it. Multiplying by 1 + 2^8d + 2^16d ... makes copies.
 */
static void repeat_pattern(uint8_t *to, uint32_t distance, uint32_t count)
{
    static const uint64_t copies[8] = { 0,
                                        0x0101010101010101ull,
                                        0x0001000100010001ull,
                                        0x0001000001000001ull,
                                        0x0000000100000001ull,
                                        0x0000010000000001ull,
                                        0x0001000000000001ull,
                                        0x0100000000000001ull };
    static const uint8_t steps[8] = { 0, 8, 8, 6, 8, 5, 6, 7 };
    uint64_t pattern = load64(to - distance) & (~0ull >> (64 - 8 * distance));
    pattern *= copies[distance];
    for (uint32_t i = 0; i < count; i += steps[distance])
        store64(to + i, pattern);
}

/* ---- far from the ends ------------------------------------------------------------ */

/* The rest of a match whose length has taken its byte or whose distance is below 8,
 * in steps that do not read what they write. The match ends LONG_ROOM before the
 * page does. False: distance 0. */
static inline bool copy_rare_match(uint8_t *to, size_t distance, size_t length)
{
    const uint8_t *from = to - distance;
    if (distance >= 16)
        for (size_t i = 0; i < length; i += 16)
            copy16(to + i, from + i);
    else if (distance >= 8)
        for (size_t i = 0; i < length; i += 8)
            copy8(to + i, from + i);
    else if (distance > 0)
        repeat_pattern(to, (uint32_t)distance, (uint32_t)length);
    return distance > 0;
}

/* As many sequences as are for here: what is left to the other loop has consumed
 * nothing. Positions are kept in locals, which no store into the page changes. */
static void take_sequences(struct decoder *d)
{
    if (d->end - d->in < (ptrdiff_t)IN_ROOM)
        return;
    const uint8_t *in = d->in, *const in_last = d->end - IN_ROOM;
    uint8_t *const page = d->page, *out = d->out, *const out_last = page + PAGE_SIZE - OUT_ROOM;
    while (in <= in_last && out <= out_last) {
        const uint8_t *next = in;
        uint8_t *to = out;
        size_t token = *next++, literals = token >> 4, extra = token & 15u;
        if (__builtin_expect(literals == 15, 0)) {
            literals += *next++;
            /* 255 says that more follow. */
            if (literals == 15 + 255 || next + literals > in_last || to + literals > out_last)
                break;
            for (size_t i = 16; i < literals; i += 16)
                copy16(to + i, next + i);
        }
        copy16(to, next);
        next += literals;
        to += literals;
        size_t distance = load16(next);
        const uint8_t *from = to - distance;
        next += 2;
        if (__builtin_expect(from < page, 0))
            break;
        if (__builtin_expect(extra != 15, 1) && __builtin_expect(distance >= 8, 1)) {
            copy8(to, from);
            copy8(to + 8, from + 8);
            copy2(to + 16, from + 16);
            in = next;
            out = to + extra + MIN_MATCH;
            continue;
        }
        size_t more = extra == 15 ? *next++ : 0, length = extra + MIN_MATCH + more;
        if (more == 255 || to + length > out_last + (OUT_ROOM - LONG_ROOM) ||
            !copy_rare_match(to, distance, length))
            break;
        in = next;
        out = to + length;
    }
    d->in = in;
    d->out = out;
}

/* ---- anywhere ----------------------------------------------------------------------- */

/* Adds the bytes that continue a length of 15; false when the block ends in
 * them or the length passes a page, which bounds the sum. */
static bool read_length(struct decoder *d, uint32_t *length)
{
    uint8_t byte;
    do {
        if (d->in == d->end || *length > PAGE_SIZE)
            return false;
        byte = *d->in++;
        *length += byte;
    } while (byte == 255);
    return true;
}

/* Copies count bytes, count <= room, sixteen at a time within the room. `to` may
 * overlap the end of `from` when it lies at least eight bytes behind its start. */
static inline void copy_wide(uint8_t *to, const uint8_t *from, uint32_t count, uint32_t room)
{
    uint32_t i = 0;
    for (; i < count && i + 16 <= room; i += 16)
        copy16(to + i, from + i);
    for (; i < count; i++)
        to[i] = from[i];
}

/* count <= what is left of the block and of the page. */
static inline void copy_literals(const struct decoder *d, uint32_t count, uint32_t room)
{
    uint32_t left = (uint32_t)(d->end - d->in);
    if (count >= LONG_COPY)
        memcpy(d->out, d->in, count);
    else
        copy_wide(d->out, d->in, count, left < room ? left : room);
}

/* 1 <= distance <= what was written, count <= room - LAST_LITERALS. A distance
 * below count repeats what this very copy writes. */
static inline void copy_match(uint8_t *to, uint32_t distance, uint32_t count, uint32_t room)
{
    uint32_t patterned = count < room - 8 ? count : room - 8; /* MATCH_LIMIT <= room */
    if (count >= LONG_COPY && distance >= count) {
        memcpy(to, to - distance, count);
    } else if (distance >= 8) {
        copy_wide(to, to - distance, count, room);
    } else {
        repeat_pattern(to, distance, patterned);
        for (uint32_t i = patterned; i < count; i++)
            to[i] = (to - distance)[i];
    }
}

enum turn { TURN_GO_ON, TURN_WHOLE, TURN_DAMAGED };

/* One sequence with every check of the format. */
static enum turn check_sequence(struct decoder *d)
{
    uint32_t room = room_at(d, d->out);
    if (d->in == d->end)
        return TURN_DAMAGED;
    uint8_t token = *d->in++;
    uint32_t literals = token >> 4, length = token & 15u;
    if (literals == 15 && !read_length(d, &literals))
        return TURN_DAMAGED;
    if (literals > (uint32_t)(d->end - d->in) || literals > room)
        return TURN_DAMAGED;
    copy_literals(d, literals, room);
    d->in += literals;
    d->out += literals;
    room -= literals;
    if (d->in == d->end)
        return room == 0 ? TURN_WHOLE : TURN_DAMAGED;

    if (d->end - d->in < 2 || room < MATCH_LIMIT)
        return TURN_DAMAGED;
    uint32_t distance = load16(d->in);
    d->in += 2;
    if (length == 15 && !read_length(d, &length))
        return TURN_DAMAGED;
    length += MIN_MATCH;
    if (distance == 0 || distance > PAGE_SIZE - room || length > room - LAST_LITERALS)
        return TURN_DAMAGED;
    copy_match(d->out, distance, length, room);
    d->out += length;
    return TURN_GO_ON;
}

/* By the time these are decoded the processor has seen that it goes on upwards. */
static void prefetch(const uint8_t *block, uint32_t size)
{
    for (uint32_t i = 0; i < size && i < PREFETCH; i += CACHE_LINE)
        __builtin_prefetch(block + i);
}

bool codec_decompress(const void *block, uint32_t size, void *page)
{
    struct decoder d = { block, (const uint8_t *)block + size, page, page };
    enum turn turn;
    prefetch(block, size);
    do {
        take_sequences(&d);
        turn = check_sequence(&d);
    } while (turn == TURN_GO_ON);
    return turn == TURN_WHOLE;
}
