/*
 * ChaCha20: the block function on sixteen 32-bit words kept in locals, so that
 * the compiler holds as many in registers as there are.
 */
#include "mm/chacha20.h"

#include "lib/string.h"

#define ROTATE(v, n) (((v) << (n)) | ((v) >> (32 - (n))))
/* RFC 8439, section 2.1. */
#define QUARTER(a, b, c, d)                                                                        \
    do {                                                                                           \
        a += b, d ^= a, d = ROTATE(d, 16);                                                         \
        c += d, b ^= c, b = ROTATE(b, 12);                                                         \
        a += b, d ^= a, d = ROTATE(d, 8);                                                          \
        c += d, b ^= c, b = ROTATE(b, 7);                                                          \
    } while (0)

/* "expand 32-byte k" */
#define CONSTANT_0 0x61707865u
#define CONSTANT_1 0x3320646eu
#define CONSTANT_2 0x79622d32u
#define CONSTANT_3 0x6b206574u

void chacha20_block(struct chacha20 *s, uint32_t out[16])
{
    const uint32_t *k = s->key, *n = s->nonce;
    uint32_t x0 = CONSTANT_0, x1 = CONSTANT_1, x2 = CONSTANT_2, x3 = CONSTANT_3;
    uint32_t x4 = k[0], x5 = k[1], x6 = k[2], x7 = k[3];
    uint32_t x8 = k[4], x9 = k[5], x10 = k[6], x11 = k[7];
    uint32_t x12 = s->counter, x13 = n[0], x14 = n[1], x15 = n[2];
    for (int round = 0; round < 20; round += 2) {
        QUARTER(x0, x4, x8, x12);
        QUARTER(x1, x5, x9, x13);
        QUARTER(x2, x6, x10, x14);
        QUARTER(x3, x7, x11, x15);
        QUARTER(x0, x5, x10, x15);
        QUARTER(x1, x6, x11, x12);
        QUARTER(x2, x7, x8, x13);
        QUARTER(x3, x4, x9, x14);
    }
    out[0] = x0 + CONSTANT_0, out[1] = x1 + CONSTANT_1;
    out[2] = x2 + CONSTANT_2, out[3] = x3 + CONSTANT_3;
    out[4] = x4 + k[0], out[5] = x5 + k[1], out[6] = x6 + k[2], out[7] = x7 + k[3];
    out[8] = x8 + k[4], out[9] = x9 + k[5], out[10] = x10 + k[6], out[11] = x11 + k[7];
    out[12] = x12 + s->counter, out[13] = x13 + n[0], out[14] = x14 + n[1], out[15] = x15 + n[2];
    s->counter++;
}

static inline void xor8(const uint8_t *from, uint8_t *to, const uint8_t *stream)
{
    uint64_t a, b;
    __builtin_memcpy(&a, from, 8);
    __builtin_memcpy(&b, stream, 8);
    a ^= b;
    __builtin_memcpy(to, &a, 8);
}

void chacha20_xor(struct chacha20 *s, const void *from_, void *to_, size_t size)
{
    const uint8_t *from = from_;
    uint8_t *to = to_;
    uint32_t words[16];
    const uint8_t *stream = (const uint8_t *)words;
    for (; size >= CHACHA20_BLOCK_BYTES; size -= CHACHA20_BLOCK_BYTES) {
        chacha20_block(s, words);
        for (unsigned i = 0; i < CHACHA20_BLOCK_BYTES; i += 8)
            xor8(from + i, to + i, stream + i);
        from += CHACHA20_BLOCK_BYTES;
        to += CHACHA20_BLOCK_BYTES;
    }
    if (!size)
        return;
    chacha20_block(s, words);
    for (size_t i = 0; i < size; i++)
        to[i] = from[i] ^ stream[i];
}
