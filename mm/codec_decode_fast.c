/*
 * The decoder that ships: one LZ4 block to exactly one page, or nothing. On every
 * input it answers as the plain one in codec_decode.c does, which is proved.
 *
 * Invariants, kept by every step below: in <= size, out <= PAGE_SIZE, each read
 * of the block is below size, each read and write of the page is below
 * PAGE_SIZE. Every turn of the loop consumes at least the token, so every input
 * ends (P9). The rules of the format are required, not assumed: a match begins
 * inside what was written, ends at least 5 bytes before the end of the page and
 * starts at least 12 before it, and the block ends with the literals that
 * complete the page.
 *
 * Copies run in steps of eight or sixteen bytes where the room allows, and may
 * then write some bytes beyond their end inside the page: these are overwritten
 * by what follows, since an accepted block fills the page.
 */
#include "mm/codec.h"

#include "lib/string.h"

#define MIN_MATCH     4u
#define LAST_LITERALS 5u
#define MATCH_LIMIT   12u
/* From here on copies that do not overlap are memcpy()'s. */
#define LONG_COPY 64u

struct decoder {
    const uint8_t *block;
    uint32_t size;
    uint32_t in; /* bytes of the block consumed */
};

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static inline void store64(uint8_t *p, uint64_t v)
{
    __builtin_memcpy(p, &v, sizeof(v));
}

/* Adds the bytes that continue a length of 15; false when the block ends in
 * them or the length passes a page, which bounds the sum. */
static bool read_length(struct decoder *d, uint32_t *length)
{
    uint8_t byte;
    do {
        if (d->in >= d->size || *length > PAGE_SIZE)
            return false;
        byte = d->block[d->in++];
        *length += byte;
    } while (byte == 255);
    return true;
}

/* Copies count bytes, count <= room, sixteen at a time within the room. `to` may
 * overlap the end of `from` when it lies at least eight bytes behind its start. */
static inline void copy_wide(uint8_t *to, const uint8_t *from, uint32_t count, uint32_t room)
{
    uint32_t i = 0;
    for (; i < count && i + 16 <= room; i += 16) {
        store64(to + i, load64(from + i));
        store64(to + i + 8, load64(from + i + 8));
    }
    for (; i < count; i++)
        to[i] = from[i];
}

/* count <= what is left of the block and of the page. */
static inline void copy_literals(const struct decoder *d, uint8_t *page, uint32_t out,
                                 uint32_t count)
{
    uint32_t left = d->size - d->in, room = PAGE_SIZE - out;
    if (count >= LONG_COPY)
        memcpy(page + out, d->block + d->in, count);
    else
        copy_wide(page + out, d->block + d->in, count, left < room ? left : room);
}

/* Repeats the last 1 to 7 bytes: a word holds the pattern, stored every so many
 * bytes as whole patterns fit into it. */
static void repeat_pattern(uint8_t *page, uint32_t out, uint32_t distance, uint32_t count)
{
    uint32_t from = out - distance, bits = 8 * distance, step = 8 / distance * distance, i = 0;
    uint64_t pattern = load64(page + from) & ((1ull << bits) - 1);
    for (; bits < 64; bits *= 2)
        pattern |= pattern << bits;
    for (; i < count && out + i + 8 <= PAGE_SIZE; i += step)
        store64(page + out + i, pattern);
    for (; i < count; i++)
        page[out + i] = page[from + i];
}

/* 1 <= distance <= out, out + count <= PAGE_SIZE - LAST_LITERALS. A distance
 * below count repeats what this very copy writes. */
static inline void copy_match(uint8_t *page, uint32_t out, uint32_t distance, uint32_t count)
{
    if (distance < 8)
        repeat_pattern(page, out, distance, count);
    else if (count >= LONG_COPY && distance >= count)
        memcpy(page + out, page + out - distance, count);
    else
        copy_wide(page + out, page + out - distance, count, PAGE_SIZE - out);
}

/*
 * The common sequence: both lengths within the token, a match at a distance of 8
 * or more, and all of it far enough from both ends for copies of fixed size: 16
 * bytes for up to 14 literals, 24 for a match of up to 18. True when it was such
 * a one and is done; else nothing was consumed.
 */
static inline bool short_sequence(struct decoder *d, uint8_t *page, uint32_t *out)
{
    if (d->size - d->in < 32 || *out > PAGE_SIZE - 64)
        return false;
    const uint8_t *in = d->block + d->in;
    uint32_t token = *in++, literals = token >> 4, extra = token & 15u, at = *out + literals;
    if (literals == 15 || extra == 15)
        return false;
    uint32_t distance = in[literals] + 256u * in[literals + 1];
    if (distance < 8 || distance > at)
        return false;
    store64(page + *out, load64(in));
    store64(page + *out + 8, load64(in + 8));
    const uint8_t *from = page + at - distance;
    store64(page + at, load64(from));
    store64(page + at + 8, load64(from + 8));
    store64(page + at + 16, load64(from + 16));
    d->in += 1 + literals + 2;
    *out = at + MIN_MATCH + extra;
    return true;
}

bool codec_decompress(const void *block, uint32_t size, void *page_)
{
    struct decoder d = { .block = block, .size = size };
    uint8_t *page = page_;
    uint32_t out = 0;
    while (d.in < d.size) {
        if (short_sequence(&d, page, &out))
            continue;
        uint8_t token = d.block[d.in++];
        uint32_t literals = token >> 4;
        if (literals == 15 && !read_length(&d, &literals))
            return false;
        if (literals > d.size - d.in || literals > PAGE_SIZE - out)
            return false;
        copy_literals(&d, page, out, literals);
        d.in += literals;
        out += literals;
        if (d.in == d.size)
            return out == PAGE_SIZE;

        if (d.size - d.in < 2 || out > PAGE_SIZE - MATCH_LIMIT)
            return false;
        uint32_t distance = d.block[d.in] + 256u * d.block[d.in + 1];
        d.in += 2;
        uint32_t length = token & 15u;
        if (length == 15 && !read_length(&d, &length))
            return false;
        length += MIN_MATCH;
        if (distance == 0 || distance > out || length > PAGE_SIZE - LAST_LITERALS - out)
            return false;
        copy_match(page, out, distance, length);
        out += length;
    }
    return false;
}
