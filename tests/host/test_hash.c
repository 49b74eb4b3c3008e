/*
 * The keyed hash: keyed, sensitive to every bit and to length, spread evenly;
 * and the test for uniform pages.
 */
#include "tests/host/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rng.h"
#include "mm/hash.h"
#include "mm/hash_key.h"
#include "mm/machine.h"
#include "tests/host/fake_guard.h"

static struct rng entropy;

void machine_entropy(void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)rng_next(&entropy);
}

static uint8_t *page;

static uint32_t early[2];

static int set_up(void **state)
{
    static uint8_t bytes[PAGE_SIZE];
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    early[0] = hash_bytes(bytes, 1000);
    hash_bytes_choose();
    early[1] = hash_bytes(bytes, 1000); /* the key is all zeros still */
    (void)state;
    page = fake_guard_end(PAGE_SIZE);
    rng_seed(&entropy, 1);
    hash_init();
    return 0;
}

static void test_keyed(void **state)
{
    (void)state;
    memset(page, 0, PAGE_SIZE);
    uint64_t before = hash_page(page);
    uint32_t bytes_before = hash_bytes(page, 100);
    assert_true(before == hash_page(page));
    hash_init();
    assert_true(before != hash_page(page));
    assert_true(bytes_before != hash_bytes(page, 100));
}

static void test_every_bit_counts(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 2);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        page[i] = (uint8_t)rng_next(&rng);
    uint64_t whole = hash_page(page);
    for (unsigned bit = 0; bit < PAGE_SIZE * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(hash_page(page) != whole);
        page[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (uint32_t size = 1; size <= 200; size++) {
        uint8_t *bytes = page + PAGE_SIZE - size;
        uint32_t check = hash_bytes(bytes, size);
        for (unsigned bit = 0; bit < size * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(hash_bytes(bytes, size) != check);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* Zero bytes at the end are not free. */
/* Words that change places are another page. */
static void test_order_counts(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    uint64_t *words = (uint64_t *)page;
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        words[i] = rng_next(&rng);
    uint64_t whole = hash_page(page);
    for (unsigned apart = 1; apart <= 8; apart++)
        for (unsigned i = 0; i + apart < PAGE_WORDS; i++) {
            uint64_t first = words[i], second = words[i + apart];
            words[i] = second, words[i + apart] = first;
            assert_true(hash_page(page) != whole);
            words[i] = first, words[i + apart] = second;
        }
}

static void test_length_counts(void **state)
{
    (void)state;
    memset(page, 0, PAGE_SIZE);
    uint32_t seen[PAGE_SIZE + 1];
    unsigned equal = 0;
    for (uint32_t size = 0; size <= PAGE_SIZE; size++) {
        seen[size] = hash_bytes(page, size);
        if (size && seen[size] == seen[size - 1])
            equal++;
    }
    assert_int_equal(equal, 0);
    expect_panic(hash_bytes(page, PAGE_SIZE + 1));
}

static void fill(uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        page[i] = (uint8_t)rng_next(&rng);
}

/* The product over GF(2)[x], bit by bit, added to sum. */
static void add_product(uint64_t a, uint64_t b, uint64_t sum[2])
{
    for (unsigned bit = 0; bit < 64; bit++)
        if (b >> bit & 1) {
            sum[0] ^= a << bit;
            sum[1] ^= bit ? a >> (64 - bit) : 0;
        }
}

/* The check as mm/hash_bytes.c defines it. */
static uint32_t reference(const uint8_t *bytes, uint32_t size)
{
    static uint8_t padded[PAGE_SIZE];
    uint64_t sum[2] = { 0, 0 };
    uint32_t length = size < 128 ? 128 : size, chunks = (length + 127) / 128;
    memset(padded, 0, 128);
    memcpy(padded, bytes, size);
    for (uint32_t chunk = 0; chunk < chunks; chunk++)
        for (uint32_t pair = 0; pair < 8; pair++) {
            uint64_t m[2], at = chunk + 1 == chunks ? length - 128 : chunk * 128;
            const uint64_t *key = &hash_key.words[chunk * 16 + pair * 2];
            memcpy(m, padded + at + pair * 16, sizeof(m));
            add_product(m[0] ^ key[0], m[1] ^ key[1], sum);
        }
    uint64_t value = hash_key.check[0] + hash_key.check[5] * size;
    for (unsigned i = 0; i < 4; i++)
        value += hash_key.check[1 + i] * (uint32_t)(sum[i / 2] >> 32 * (i % 2));
    return (uint32_t)(value >> 32);
}

/* With and without the CPU's multiplier, at every size, aligned or not. */
static void test_both_ways_agree(void **state)
{
    (void)state;
    fill(3);
    for (uint32_t size = 0; size <= PAGE_SIZE; size++) {
        const uint8_t *bytes = page + PAGE_SIZE - size;
        uint32_t check = hash_bytes(bytes, size);
        assert_true(check == hash_bytes_plain(bytes, size));
        if (size % 37 == 0 || size < 300)
            assert_true(check == reference(bytes, size));
    }
}

/*
 * The strength as it is stated: two objects that differ in the way of an adversary
 * who knows everything but the key. Over many keys the difference of their checks takes
 * each of 256 values of its top byte as often (chi-square with 255 degrees of freedom
 * below 340) and is never 0.
 */
static void differ(uint8_t *other, unsigned how)
{
    memcpy(other, page, PAGE_SIZE);
    switch (how) {
    case 0: /* one bit */
        other[777] ^= 4;
        break;
    case 1: /* words of a pair exchanged */
        memcpy(other + 256, page + 264, 8);
        memcpy(other + 264, page + 256, 8);
        break;
    case 2: /* the same difference in all first words of pairs */
        for (unsigned i = 0; i < PAGE_SIZE; i += 16)
            other[i] ^= 1;
        break;
    case 3: /* chunks exchanged */
        memcpy(other, page + 128, 128);
        memcpy(other + 128, page, 128);
        break;
    default: /* all of it */
        memset(other, 0, PAGE_SIZE);
    }
}

static void test_strength(void **state)
{
    enum { KEYS = 4000, SIZE = 1707 };
    (void)state;
    uint8_t *other = malloc(PAGE_SIZE);
    fill(4);
    for (unsigned how = 0; how < 5; how++) {
        unsigned seen[256] = { 0 };
        double sum = 0, mean = KEYS / 256.0;
        differ(other, how);
        for (unsigned i = 0; i < KEYS; i++) {
            hash_init();
            uint32_t difference = hash_bytes(page, SIZE) - hash_bytes(other, SIZE);
            assert_true(difference != 0);
            seen[difference >> 24]++;
        }
        for (unsigned i = 0; i < 256; i++)
            sum += (seen[i] - mean) * (seen[i] - mean) / mean;
        assert_true(sum < 340);
    }
    free(other);
}

/* It only says what may leave the caches: nothing changes. */
static void test_forget(void **state)
{
    (void)state;
    fill(5);
    for (uint32_t size = 0; size <= PAGE_SIZE; size += 64) {
        uint32_t check = hash_bytes(page, size);
        hash_bytes_forget(size);
        assert_true(check == hash_bytes(page, size));
    }
}

/* Near-equal pages fill 256 buckets evenly, by the low and by the high bits:
 * chi-square with 255 degrees of freedom stays below 340 (p about 0.0003). */
static void test_spread(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    unsigned low[256] = { 0 }, high[256] = { 0 };
    memset(page, 0, PAGE_SIZE);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        memcpy(page + 64, &i, sizeof(i));
        uint64_t h = hash_page(page);
        low[h & 255]++;
        high[h >> 56]++;
    }
    double sum_low = 0, sum_high = 0, mean = ROUNDS / 256.0;
    for (unsigned i = 0; i < 256; i++) {
        sum_low += (low[i] - mean) * (low[i] - mean) / mean;
        sum_high += (high[i] - mean) * (high[i] - mean) / mean;
    }
    assert_true(sum_low < 340 && sum_high < 340);
}

static void test_uniform(void **state)
{
    (void)state;
    uint64_t word, pattern = 0x0123456789abcdefull;
    for (unsigned i = 0; i < PAGE_SIZE; i += 8)
        memcpy(page + i, &pattern, 8);
    assert_true(hash_page_uniform(page, &word));
    assert_true(word == pattern);
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        page[i] ^= 0x10;
        word = 77;
        assert_false(hash_page_uniform(page, &word));
        assert_true(word == 77);
        page[i] ^= 0x10;
    }
    memset(page, 0, PAGE_SIZE);
    assert_true(hash_page_uniform(page, &word));
    assert_true(word == 0);
}

/* Before the processor was asked what it has, and on one that lacks it. */
static void without_the_multiplier(void **state)
{
    (void)state;
    assert_int_equal(early[0], early[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_multiplier), cmocka_unit_test(test_keyed),
        cmocka_unit_test(test_every_bit_counts),  cmocka_unit_test(test_order_counts),
        cmocka_unit_test(test_length_counts),     cmocka_unit_test(test_spread),
        cmocka_unit_test(test_uniform),           cmocka_unit_test(test_both_ways_agree),
        cmocka_unit_test(test_strength),          cmocka_unit_test(test_forget),
    };
    return cmocka_run_group_tests_name("hash", tests, set_up, NULL);
}
