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
#include "mm/machine.h"
#include "tests/host/fake_guard.h"

static struct rng entropy;

void machine_entropy(void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)rng_next(&entropy);
}

static uint8_t *page;

static int set_up(void **state)
{
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
    assert_true(hash_bytes(page, PAGE_SIZE) == (uint32_t)(hash_page(page) >> 32));
    expect_panic(hash_bytes(page, PAGE_SIZE + 1));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyed),         cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_length_counts), cmocka_unit_test(test_spread),
        cmocka_unit_test(test_uniform),
    };
    return cmocka_run_group_tests_name("hash", tests, set_up, NULL);
}
