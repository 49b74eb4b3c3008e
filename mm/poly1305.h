/*
 * Poly1305 (RFC 8439, section 2.5), 64-bit integers. For the AEAD construction:
 * messages are whole blocks, what is shorter is filled up with zero bytes.
 */
#ifndef MM_POLY1305_H
#define MM_POLY1305_H

#include "lib/types.h"

#define POLY1305_KEY_BYTES   32u
#define POLY1305_TAG_BYTES   16u
#define POLY1305_BLOCK_BYTES 16u

struct poly1305 {
    uint64_t r[2]; /* clamped multiplier */
    uint64_t s[2]; /* added at the end */
    uint64_t h[3]; /* accumulator, h[2] stays below 8 between blocks */
};

/* key: r and s as the RFC lays them out; used for one message only. */
void poly1305_init(struct poly1305 *state, const uint8_t key[POLY1305_KEY_BYTES]);

/* Whole blocks; size is a multiple of 16. */
void poly1305_blocks(struct poly1305 *state, const void *bytes, size_t size);

/* A stretch of any size, filled up with zero bytes to whole blocks, as the AEAD
 * construction pads (RFC 8439, section 2.8). */
void poly1305_padded(struct poly1305 *state, const void *bytes, size_t size);

void poly1305_tag(const struct poly1305 *state, uint8_t tag[POLY1305_TAG_BYTES]);

#endif
