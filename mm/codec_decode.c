/*
 * The decoder: one LZ4 block to exactly one page, or nothing.
 *
 * Invariants, kept by every step below: in <= size, out <= PAGE_SIZE, each read
 * of the block is below size, each read and write of the page is below
 * PAGE_SIZE. Every turn of the loop consumes at least the token, so every input
 * ends (P9). The rules of the format are required, not assumed: a match begins
 * inside what was written, ends at least 5 bytes before the end of the page and
 * starts at least 12 before it, and the block ends with the literals that
 * complete the page.
 *
 * Copies run eight bytes at a time where the room allows, and may then write
 * up to seven bytes beyond their end inside the page: these are overwritten by
 * what follows, since an accepted block fills the page.
 */
#include "mm/codec.h"

#define MIN_MATCH     4u
#define LAST_LITERALS 5u
#define MATCH_LIMIT   12u

struct decoder {
    const uint8_t *block;
    uint32_t size;
    uint32_t in; /* bytes of the block consumed */
};

static inline void copy8(uint8_t *to, const uint8_t *from)
{
    uint64_t v;
    __builtin_memcpy(&v, from, sizeof(v));
    __builtin_memcpy(to, &v, sizeof(v));
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

/* count <= what is left of the block and of the page. */
static inline void copy_literals(const struct decoder *d, uint8_t *page, uint32_t out,
                                 uint32_t count)
{
    uint32_t rounded = (count + 7u) & ~7u;
    if (rounded <= d->size - d->in && rounded <= PAGE_SIZE - out) {
        for (uint32_t i = 0; i < count; i += 8)
            copy8(page + out + i, d->block + d->in + i);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        page[out + i] = d->block[d->in + i];
}

/* 1 <= distance <= out, out + count <= PAGE_SIZE. A distance below count
 * repeats what this very copy writes. */
static inline void copy_match(uint8_t *page, uint32_t out, uint32_t distance, uint32_t count)
{
    uint32_t from = out - distance, i = 0;
    if (count + 7u > PAGE_SIZE - out) {
        for (; i < count; i++)
            page[out + i] = page[from + i];
        return;
    }
    /* Near: bytewise until the pattern, doubled as often as needed, is 8 long. */
    if (distance < 8) {
        uint32_t period = distance * ((7u + distance) / distance);
        uint32_t head = period < count ? period : count;
        for (; i < head; i++)
            page[out + i] = page[from + i];
        from = out + i - period;
        for (uint32_t j = 0; i < count; i += 8, j += 8)
            copy8(page + out + i, page + from + j);
        return;
    }
    for (; i < count; i += 8)
        copy8(page + out + i, page + from + i);
}

bool codec_decompress(const void *block, uint32_t size, void *page_)
{
    struct decoder d = { .block = block, .size = size };
    uint8_t *page = page_;
    uint32_t out = 0;
    while (d.in < d.size) {
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
