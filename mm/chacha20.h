/*
 * ChaCha20 (RFC 8439, section 2.3 and 2.4), integer registers only.
 */
#ifndef MM_CHACHA20_H
#define MM_CHACHA20_H

#include "lib/types.h"

#define CHACHA20_BLOCK_BYTES 64u

/* 256-bit key, 32-bit block counter, 96-bit nonce, all as the RFC lays them out. */
struct chacha20 {
    uint32_t key[8];
    uint32_t counter;
    uint32_t nonce[3];
};

/* The next block of the key stream; the counter moves on. */
void chacha20_block(struct chacha20 *state, uint32_t out[16]);

/* Encrypts or decrypts size bytes (`from` and `to` may be the same memory, not
 * otherwise overlap). A last partial block uses up its whole counter value. */
void chacha20_xor(struct chacha20 *state, const void *from, void *to, size_t size);

#endif
