/*
 * ChaCha20-Poly1305 (RFC 8439), in place, integer registers only.
 * The 96-bit nonce is 32 zero bits and a 64-bit number that never repeats
 * under one key.
 */
#ifndef MM_AEAD_H
#define MM_AEAD_H

#include "lib/types.h"

#define AEAD_KEY_BYTES 32u
#define AEAD_TAG_BYTES 16u

struct aead_key {
    uint32_t words[8];
};

void aead_key_load(struct aead_key *key, const uint8_t bytes[AEAD_KEY_BYTES]);

/* Encrypts size bytes from plain to cipher (may be the same memory). */
void aead_seal(const struct aead_key *key, uint64_t nonce, const void *extra, size_t extra_size,
               const void *plain, void *cipher, size_t size, uint8_t tag[AEAD_TAG_BYTES]);

/* Verifies the tag first, in constant time; decrypts only when it holds. */
bool aead_open(const struct aead_key *key, uint64_t nonce, const void *extra, size_t extra_size,
               const void *cipher, void *plain, size_t size, const uint8_t tag[AEAD_TAG_BYTES]);

#endif
