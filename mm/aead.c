/*
 * ChaCha20-Poly1305 as RFC 8439, section 2.8, puts it together: block 0 of the
 * key stream makes the one-time Poly1305 key, blocks 1 and up encrypt, the tag
 * covers the extra data and the ciphertext, each padded to 16, and both lengths.
 */
#include "mm/aead.h"

#include "lib/assert.h"
#include "lib/string.h"
#include "mm/chacha20.h"
#include "mm/poly1305.h"

static_assert(AEAD_TAG_BYTES == POLY1305_TAG_BYTES, "the tag is Poly1305's");

void aead_key_load(struct aead_key *key, const uint8_t bytes[AEAD_KEY_BYTES])
{
    memcpy(key->words, bytes, AEAD_KEY_BYTES);
}

/* The cipher at block 1, and the authenticator keyed from block 0. */
static void start(const struct aead_key *key, uint64_t nonce, struct chacha20 *cipher,
                  struct poly1305 *mac)
{
    memcpy(cipher->key, key->words, AEAD_KEY_BYTES);
    cipher->counter = 0;
    cipher->nonce[0] = 0;
    cipher->nonce[1] = (uint32_t)nonce;
    cipher->nonce[2] = (uint32_t)(nonce >> 32);
    uint32_t first[16];
    chacha20_block(cipher, first);
    poly1305_init(mac, (const uint8_t *)first);
}

static void authenticate(struct poly1305 *mac, const void *extra, size_t extra_size,
                         const void *cipher, size_t size, uint8_t tag[AEAD_TAG_BYTES])
{
    uint64_t lengths[2] = { extra_size, size };
    poly1305_padded(mac, extra, extra_size);
    poly1305_padded(mac, cipher, size);
    poly1305_blocks(mac, lengths, sizeof(lengths));
    poly1305_tag(mac, tag);
}

void aead_seal(const struct aead_key *key, uint64_t nonce, const void *extra, size_t extra_size,
               const void *plain, void *cipher, size_t size, uint8_t tag[AEAD_TAG_BYTES])
{
    struct chacha20 stream;
    struct poly1305 mac;
    start(key, nonce, &stream, &mac);
    chacha20_xor(&stream, plain, cipher, size);
    authenticate(&mac, extra, extra_size, cipher, size, tag);
}

bool aead_open(const struct aead_key *key, uint64_t nonce, const void *extra, size_t extra_size,
               const void *cipher, void *plain, size_t size, const uint8_t tag[AEAD_TAG_BYTES])
{
    struct chacha20 stream;
    struct poly1305 mac;
    uint8_t wanted[AEAD_TAG_BYTES];
    start(key, nonce, &stream, &mac);
    authenticate(&mac, extra, extra_size, cipher, size, wanted);
    uint8_t difference = 0;
    for (unsigned i = 0; i < AEAD_TAG_BYTES; i++)
        difference |= wanted[i] ^ tag[i];
    if (difference)
        return false;
    chacha20_xor(&stream, cipher, plain, size);
    return true;
}
