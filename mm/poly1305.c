/*
 * Poly1305 over two 64-bit limbs and a small third.
 *
 * h = (h + block) * r mod 2^130 - 5. Clamping makes r[0] and r[1] multiples of
 * 4 or less than 2^60 so that r[1] * 2^128 = r[1] / 4 * 2^130 = 5 * r[1] / 4:
 * the high product folds back by one multiplication with r1 + r1 / 4.
 *
 * Bounds: h[2] < 8 before a block, at most 8 after the addition; r < 2^60 and
 * folded r1 < 2^61, so each 128-bit sum below is under 2^126.
 */
#include "mm/poly1305.h"

#include "lib/assert.h"
#include "lib/string.h"

typedef unsigned __int128 wide_t;

/* RFC 8439, section 2.5.1 */
#define CLAMP_0 0x0ffffffc0fffffffull
#define CLAMP_1 0x0ffffffc0ffffffcull

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

void poly1305_init(struct poly1305 *state, const uint8_t key[POLY1305_KEY_BYTES])
{
    state->r[0] = load64(key) & CLAMP_0;
    state->r[1] = load64(key + 8) & CLAMP_1;
    state->s[0] = load64(key + 16);
    state->s[1] = load64(key + 24);
    state->h[0] = state->h[1] = state->h[2] = 0;
}

static inline void absorb(struct poly1305 *state, const uint8_t *p, size_t size)
{
    const uint64_t r0 = state->r[0], r1 = state->r[1], folded = r1 + (r1 >> 2);
    uint64_t h0 = state->h[0], h1 = state->h[1], h2 = state->h[2];
    for (; size >= POLY1305_BLOCK_BYTES; p += 16, size -= 16) {
        wide_t sum = (wide_t)h0 + load64(p);
        h0 = (uint64_t)sum;
        sum = (wide_t)h1 + load64(p + 8) + (uint64_t)(sum >> 64);
        h1 = (uint64_t)sum;
        h2 += (uint64_t)(sum >> 64) + 1;

        wide_t low = (wide_t)h0 * r0 + (wide_t)h1 * folded;
        wide_t middle = (wide_t)h0 * r1 + (wide_t)h1 * r0 + h2 * folded + (uint64_t)(low >> 64);
        h0 = (uint64_t)low;
        h1 = (uint64_t)middle;
        h2 = h2 * r0 + (uint64_t)(middle >> 64);

        /* What lies above 2^130 comes back times five. */
        uint64_t carry = (h2 >> 2) + (h2 & ~3ull);
        h2 &= 3;
        sum = (wide_t)h0 + carry;
        h0 = (uint64_t)sum;
        sum = (wide_t)h1 + (uint64_t)(sum >> 64);
        h1 = (uint64_t)sum;
        h2 += (uint64_t)(sum >> 64);
    }
    state->h[0] = h0;
    state->h[1] = h1;
    state->h[2] = h2;
}

void poly1305_blocks(struct poly1305 *state, const void *bytes, size_t size)
{
    assert(size % POLY1305_BLOCK_BYTES == 0);
    absorb(state, bytes, size);
}

void poly1305_padded(struct poly1305 *state, const void *bytes, size_t size)
{
    size_t whole = size & ~(size_t)15;
    absorb(state, bytes, whole);
    if (size == whole)
        return;
    uint8_t block[POLY1305_BLOCK_BYTES] = { 0 };
    memcpy(block, (const uint8_t *)bytes + whole, size - whole);
    absorb(state, block, sizeof(block));
}

void poly1305_tag(const struct poly1305 *state, uint8_t tag[POLY1305_TAG_BYTES])
{
    /* h - (2^130 - 5) = h + 5 - 2^130: taken, without a branch, when h + 5
     * reaches 2^130. One subtraction is enough, since h[2] <= 4 bounds h. */
    uint64_t h0 = state->h[0], h1 = state->h[1], h2 = state->h[2];
    wide_t sum = (wide_t)h0 + 5;
    uint64_t g0 = (uint64_t)sum;
    sum = (wide_t)h1 + (uint64_t)(sum >> 64);
    uint64_t g1 = (uint64_t)sum;
    uint64_t g2 = h2 + (uint64_t)(sum >> 64);
    uint64_t take = 0 - (uint64_t)(g2 >> 2 != 0);
    h0 = (h0 & ~take) | (g0 & take);
    h1 = (h1 & ~take) | (g1 & take);

    sum = (wide_t)h0 + state->s[0];
    h0 = (uint64_t)sum;
    h1 += state->s[1] + (uint64_t)(sum >> 64);
    memcpy(tag, &h0, 8);
    memcpy(tag + 8, &h1, 8);
}
