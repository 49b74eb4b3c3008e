/*
 * ChaCha20, Poly1305 and the AEAD against the vectors of RFC 8439, and every
 * kind of damage against the tag (P5).
 */
#include "tests/host/support.h"

#include <stdio.h>
#include <string.h>

#include "lib/rng.h"
#include "mm/aead.h"
#include "mm/chacha20.h"
#include "mm/poly1305.h"

static size_t unhex(const char *text, uint8_t *out)
{
    size_t n = 0;
    unsigned byte;
    int used;
    while (sscanf(text, " %2x%n", &byte, &used) == 1) {
        out[n++] = (uint8_t)byte;
        text += used;
        if (*text == ':')
            text++;
    }
    return n;
}

static const char sunscreen[] =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
    "future, sunscreen would be it.";

/* RFC 8439, section 2.3.2 */
static void test_chacha20_block(void **state)
{
    (void)state;
    struct chacha20 s = { .counter = 1, .nonce = { 0x09000000, 0x4a000000, 0 } };
    uint8_t key[32], wanted[64];
    for (unsigned i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    memcpy(s.key, key, 32);
    uint32_t out[16];
    chacha20_block(&s, out);
    assert_int_equal(unhex("10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                           "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
                           wanted),
                     64);
    assert_memory_equal(out, wanted, 64);
    assert_int_equal(s.counter, 2);
}

/* RFC 8439, section 2.4.2 */
static void test_chacha20_encryption(void **state)
{
    (void)state;
    struct chacha20 s = { .counter = 1, .nonce = { 0, 0x4a000000, 0 } };
    uint8_t key[32], wanted[128], out[128];
    for (unsigned i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    memcpy(s.key, key, 32);
    size_t n = unhex("6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"
                     "f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8"
                     "07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
                     "5af90bbf74a35be6b40b8eedf2785e42874d",
                     wanted);
    assert_int_equal(n, sizeof(sunscreen) - 1);
    chacha20_xor(&s, sunscreen, out, n);
    assert_memory_equal(out, wanted, n);
}

static void poly1305(const char *key_text, const void *message, size_t size, uint8_t tag[16])
{
    uint8_t key[32];
    assert_int_equal(unhex(key_text, key), 32);
    struct poly1305 mac;
    poly1305_init(&mac, key);
    poly1305_blocks(&mac, message, size);
    poly1305_tag(&mac, tag);
}

/* RFC 8439, section A.3, tests 7 to 11: carries and the final reduction. */
static void test_poly1305(void **state)
{
    (void)state;
    static const struct {
        const char *key, *message, *tag;
    } cases[] = {
        { "0200000000000000000000000000000000000000000000000000000000000000",
          "ffffffffffffffffffffffffffffffff", "03000000000000000000000000000000" },
        { "02000000000000000000000000000000ffffffffffffffffffffffffffffffff",
          "02000000000000000000000000000000", "03000000000000000000000000000000" },
        { "0100000000000000000000000000000000000000000000000000000000000000",
          "fffffffffffffffffffffffffffffffff0ffffffffffffffffffffffffffffff"
          "11000000000000000000000000000000",
          "05000000000000000000000000000000" },
        { "0100000000000000000000000000000000000000000000000000000000000000",
          "fffffffffffffffffffffffffffffffffbfefefefefefefefefefefefefefefe"
          "01010101010101010101010101010101",
          "00000000000000000000000000000000" },
        { "0200000000000000000000000000000000000000000000000000000000000000",
          "fdffffffffffffffffffffffffffffff", "faffffffffffffffffffffffffffffff" },
        { "0100000000000000040000000000000000000000000000000000000000000000",
          "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000"
          "0000000000000000000000000000000001000000000000000000000000000000",
          "14000000000000005500000000000000" },
        { "0100000000000000040000000000000000000000000000000000000000000000",
          "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000"
          "00000000000000000000000000000000",
          "13000000000000000000000000000000" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint8_t message[256], tag[16], wanted[16];
        size_t size = unhex(cases[i].message, message);
        assert_int_equal(unhex(cases[i].tag, wanted), 16);
        poly1305(cases[i].key, message, size, tag);
        assert_memory_equal(tag, wanted, 16);
    }
}

/* RFC 8439, section A.5 has a 64-bit nonce behind 32 zero bits, as ours are. */
static void test_rfc_decryption(void **state)
{
    (void)state;
    uint8_t key_bytes[32], cipher[512], plain[512], tag[16], extra[16];
    unhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0", key_bytes);
    size_t n = unhex("64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
                     "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
                     "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
                     "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
                     "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
                     "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
                     "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
                     "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
                     "a6ad5cb4022b02709b",
                     cipher);
    assert_int_equal(n, 265);
    size_t extra_size = unhex("f33388860000000000004e91", extra);
    unhex("eead9d67890cbb22392336fea1851f38", tag);
    struct aead_key key;
    aead_key_load(&key, key_bytes);
    uint64_t nonce = 0x0807060504030201ull; /* 00 00 00 00 01 02 .. 08 */
    assert_true(aead_open(&key, nonce, extra, extra_size, cipher, plain, n, tag));
    static const char start[] = "Internet-Drafts are draft documents valid for a maximum of six ";
    assert_memory_equal(plain, start, sizeof(start) - 1);

    uint8_t again[512], again_tag[16];
    aead_seal(&key, nonce, extra, extra_size, plain, again, n, again_tag);
    assert_memory_equal(again, cipher, n);
    assert_memory_equal(again_tag, tag, 16);
}

/* Any single flipped bit of tag, ciphertext, extra data or nonce: refused, and
 * the output left alone. */
static void test_damage(void **state)
{
    (void)state;
    static uint8_t text[PAGE_SIZE], cipher[PAGE_SIZE], plain[PAGE_SIZE], untouched[PAGE_SIZE];
    uint8_t extra[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, tag[16], key_bytes[32];
    struct rng rng;
    rng_seed(&rng, 1);
    for (unsigned i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)rng_next(&rng);
    for (unsigned i = 0; i < 32; i++)
        key_bytes[i] = (uint8_t)rng_next(&rng);
    memset(untouched, 0x33, sizeof(untouched));
    struct aead_key key;
    aead_key_load(&key, key_bytes);
    uint64_t nonce = 0x123456789abcdef0ull;
    aead_seal(&key, nonce, extra, 8, text, cipher, PAGE_SIZE, tag);
    assert_true(aead_open(&key, nonce, extra, 8, cipher, plain, PAGE_SIZE, tag));
    assert_memory_equal(plain, text, PAGE_SIZE);
    memset(plain, 0x33, sizeof(plain));

    struct {
        uint8_t *at;
        unsigned bits;
    } places[] = {
        { tag, 128 }, { cipher, PAGE_SIZE * 8 }, { extra, 64 }, { (uint8_t *)&nonce, 64 }
    };
    for (unsigned p = 0; p < 4; p++)
        for (unsigned bit = 0; bit < places[p].bits; bit += p == 1 ? 13 : 1) {
            places[p].at[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(aead_open(&key, nonce, extra, 8, cipher, plain, PAGE_SIZE, tag));
            places[p].at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    for (unsigned size = 0; size < PAGE_SIZE; size += 7)
        assert_false(aead_open(&key, nonce, extra, 8, cipher, plain, size, tag));
    assert_false(aead_open(&key, nonce, extra, 7, cipher, plain, PAGE_SIZE, tag));
    assert_memory_equal(plain, untouched, PAGE_SIZE);
    key.words[7] ^= 1u << 31;
    assert_false(aead_open(&key, nonce, extra, 8, cipher, plain, PAGE_SIZE, tag));
}

/* Every size, in place and not. */
static void test_sizes(void **state)
{
    (void)state;
    static uint8_t text[600], cipher[600], place[600];
    struct aead_key key;
    uint8_t key_bytes[32] = { 9 }, tag[16], tag2[16];
    aead_key_load(&key, key_bytes);
    for (unsigned i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7);
    for (unsigned size = 0; size <= sizeof(text); size++) {
        memcpy(place, text, size);
        aead_seal(&key, size, text, size % 40, text, cipher, size, tag);
        aead_seal(&key, size, text, size % 40, place, place, size, tag2);
        assert_memory_equal(tag, tag2, 16);
        assert_memory_equal(place, cipher, size);
        assert_true(aead_open(&key, size, text, size % 40, place, place, size, tag));
        assert_memory_equal(place, text, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chacha20_block), cmocka_unit_test(test_chacha20_encryption),
        cmocka_unit_test(test_poly1305),       cmocka_unit_test(test_rfc_decryption),
        cmocka_unit_test(test_damage),         cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests_name("aead", tests, NULL, NULL);
}
