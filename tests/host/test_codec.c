/*
 * The codec against liblz4 both ways, at every limit, and the decoder against
 * damaged blocks (P9, P14; PROMISES.md, "Codec and pool").
 */
#include "tests/host/support.h"

#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/codec.h"
#include "tests/host/fake_guard.h"
#include "tests/host/fake_pages.h"

/* What LZ4 may need for a page of literals only: 1 + 16 + 4096, rounded up. */
#define BLOCK_ROOM 4200u

static uint64_t work[CODEC_WORK_BYTES / 8];
static uint8_t *page;    /* ends before a guard page */
static uint8_t *output;  /* the same */
static uint8_t *output2; /* begins after one */

static int set_up(void **state)
{
    (void)state;
    page = fake_guard_end(PAGE_SIZE);
    output = fake_guard_end(PAGE_SIZE);
    output2 = fake_guard_start(PAGE_SIZE);
    return 0;
}

/* A copy of the block that ends at a guard page, so that a read past it faults. */
static const uint8_t *guarded_block(const void *block, uint32_t size)
{
    static uint8_t *room;
    if (!room)
        room = fake_guard_end(2 * PAGE_SIZE);
    memcpy(room + 2 * PAGE_SIZE - size, block, size);
    return room + 2 * PAGE_SIZE - size;
}

/* By the decoder that ships and by the plain one, which have to agree (P9). */
static bool decompress(const void *block, uint32_t size, void *result)
{
    static uint8_t plain[PAGE_SIZE];
    bool good = codec_decompress(block, size, result);
    assert_int_equal(codec_decompress_plain(block, size, plain), good);
    if (good)
        assert_memory_equal(plain, result, PAGE_SIZE);
    return good;
}

/*
 * Whatever the block, our decoder and liblz4 agree, with one exception: a match
 * at distance 0, which the format forbids, liblz4 does not look for it.
 */
static bool decodes_like_peer(const void *block, uint32_t size)
{
    static uint8_t peer[PAGE_SIZE];
    memset(output, 0xa5, PAGE_SIZE);
    bool ours = decompress(guarded_block(block, size), size, output);
    bool theirs = LZ4_decompress_safe(block, (char *)peer, (int)size, PAGE_SIZE) == (int)PAGE_SIZE;
    if (ours) {
        assert_true(theirs);
        assert_memory_equal(output, peer, PAGE_SIZE);
    }
    return ours == theirs;
}

static uint64_t our_bytes, their_bytes;

static void both_ways(void)
{
    static uint8_t block[BLOCK_ROOM], theirs[BLOCK_ROOM];
    uint32_t size = codec_compress(page, block, BLOCK_ROOM, work);
    assert_in_range(size, 1, BLOCK_ROOM);
    assert_int_equal(LZ4_decompress_safe((char *)block, (char *)output2, (int)size, PAGE_SIZE),
                     PAGE_SIZE);
    assert_memory_equal(output2, page, PAGE_SIZE);
    memset(output2, 0x5a, PAGE_SIZE);
    assert_true(decompress(guarded_block(block, size), size, output2));
    assert_memory_equal(output2, page, PAGE_SIZE);

    int their_size = LZ4_compress_default((char *)page, (char *)theirs, PAGE_SIZE, BLOCK_ROOM);
    assert_true(their_size > 0);
    our_bytes += size;
    their_bytes += (uint64_t)their_size;
    assert_true(
        decompress(guarded_block(theirs, (uint32_t)their_size), (uint32_t)their_size, output));
    assert_memory_equal(output, page, PAGE_SIZE);
}

static void test_round_trips(void **state)
{
    (void)state;
    uint64_t rounds = support_number("BALLAST_ROUNDS", 300);
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    for (uint64_t i = 0; i < rounds; i++)
        for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
            fake_page_make((enum page_kind)kind, &rng, page);
            both_ways();
        }
    /* As small as liblz4's, within two in a hundred. */
    assert_true(our_bytes * 100 <= their_bytes * 102);
    printf("figure: codec: %llu pages both ways with liblz4\n",
           (unsigned long long)rounds * PAGE_KIND_COUNT);
}

/* One byte differs at every position: every length of run on both sides of it. */
static void test_every_position(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < PAGE_SIZE; i++) {
        memset(page, 7, PAGE_SIZE);
        page[i] = 8;
        both_ways();
    }
}

/* Copies at each small distance, where a match overlaps itself. */
static void test_overlapping_matches(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 2);
    for (uint32_t distance = 1; distance <= 64; distance++)
        for (uint32_t end = 0; end < 24; end++) {
            for (uint32_t i = 0; i < distance; i++)
                page[i] = (uint8_t)rng_next(&rng);
            for (uint32_t i = distance; i < PAGE_SIZE; i++)
                page[i] = page[i - distance];
            for (uint32_t i = PAGE_SIZE - end; i < PAGE_SIZE; i++)
                page[i] = (uint8_t)rng_next(&rng);
            both_ways();
        }
}

/* Blocks made by hand: each distance 1..16 with each match length. */
static void test_hand_made_matches(void **state)
{
    (void)state;
    uint8_t block[BLOCK_ROOM];
    for (uint32_t distance = 1; distance <= 16; distance++)
        for (uint32_t length = 4; length <= 300; length++) {
            uint32_t at = 0, literals = 16, rest = PAGE_SIZE - literals - length;
            block[at++] = (uint8_t)(15 << 4 | (length - 4 < 15 ? length - 4 : 15));
            block[at++] = 1; /* 15 + 1 literals */
            for (uint32_t i = 0; i < literals; i++)
                block[at++] = (uint8_t)(i * 37 + 1);
            block[at++] = (uint8_t)distance;
            block[at++] = 0;
            if (length - 4 >= 15) {
                uint32_t more = length - 4 - 15;
                for (; more >= 255; more -= 255)
                    block[at++] = 255;
                block[at++] = (uint8_t)more;
            }
            block[at++] = 15 << 4;
            uint32_t more = rest - 15;
            for (; more >= 255; more -= 255)
                block[at++] = 255;
            block[at++] = (uint8_t)more;
            memset(block + at, 0xcc, rest);
            at += rest;
            assert_true(decodes_like_peer(block, at));
            for (uint32_t i = 0; i < length; i++)
                assert_int_equal(output[literals + i], output[literals + i - distance]);
        }
}

/* Every limit: the block or nothing, and no byte written beyond the limit. */
static void test_limits(void **state)
{
    (void)state;
    static uint8_t whole[BLOCK_ROOM];
    struct rng rng;
    rng_seed(&rng, 3);
    uint8_t *room = fake_guard_end(BLOCK_ROOM);
    uint32_t early = 0;
    for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
        fake_page_make((enum page_kind)kind, &rng, page);
        uint32_t size = codec_compress(page, whole, BLOCK_ROOM, work);
        for (uint32_t limit = 0; limit <= BLOCK_ROOM; limit++) {
            uint8_t *block = room + BLOCK_ROOM - limit;
            if (limit < BLOCK_ROOM)
                block[-1] = 0x77;
            uint32_t got = codec_compress(page, block, limit, work);
            /* Below a page's length a page may be refused early, all kinds but a few. */
            if (got || limit < size || limit >= PAGE_SIZE)
                assert_int_equal(got, limit >= size ? size : 0);
            early += !got && limit >= size;
            if (got)
                assert_memory_equal(block, whole, size);
            if (limit < BLOCK_ROOM)
                assert_int_equal(block[-1], 0x77);
        }
    }
    assert_true(codec_compress(page, whole, UINT32_MAX, work) <= BLOCK_ROOM);
    /* Only pages that hardly compress. */
    assert_in_range(early, 0, PAGE_SIZE / 16 * 2);
}

/* A page whose first half says nothing about the second is still stored. */
static void test_half_pages(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_ROOM];
    struct rng rng;
    rng_seed(&rng, 8);
    for (uint32_t start = 0; start <= 2560; start += 128) {
        memset(page, 0, PAGE_SIZE);
        for (uint32_t i = 0; i < start; i++)
            page[i] = (uint8_t)rng_next(&rng);
        assert_in_range(codec_compress(page, block, 3072, work), 1, 3072);
    }
}

/* The work area's content does not matter. */
static void test_work_area(void **state)
{
    (void)state;
    static uint8_t a[BLOCK_ROOM], b[BLOCK_ROOM];
    struct rng rng;
    rng_seed(&rng, 4);
    for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
        fake_page_make((enum page_kind)kind, &rng, page);
        memset(work, 0, sizeof(work));
        uint32_t size = codec_compress(page, a, BLOCK_ROOM, work);
        memset(work, 0xff, sizeof(work));
        assert_int_equal(codec_compress(page, b, BLOCK_ROOM, work), size);
        assert_memory_equal(a, b, size);
    }
}

/* A block cut at any byte, or with bytes behind it, is refused. */
static void test_truncation(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_ROOM + 16];
    struct rng rng;
    rng_seed(&rng, 5);
    for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
        fake_page_make((enum page_kind)kind, &rng, page);
        uint32_t size = codec_compress(page, block, BLOCK_ROOM, work);
        for (uint32_t cut = 0; cut < size; cut++) {
            assert_false(decompress(guarded_block(block, cut), cut, output));
            assert_false(decompress(guarded_block(block, cut), cut, output2));
        }
        for (uint32_t more = 1; more <= 16; more++)
            assert_false(decompress(guarded_block(block, size + more), size + more, output));
    }
}

/* Each single bit flipped: refused, or a page liblz4 would give as well. */
static void test_bit_flips(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_ROOM];
    struct rng rng;
    rng_seed(&rng, 6);
    for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
        fake_page_make((enum page_kind)kind, &rng, page);
        uint32_t size = codec_compress(page, block, BLOCK_ROOM, work);
        for (uint32_t bit = 0; bit < size * 8; bit++) {
            block[bit / 8] ^= (uint8_t)(1 << bit % 8);
            decodes_like_peer(block, size);
            block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* Inputs without sense, and blocks with a few bytes replaced. */
static void test_garbage(void **state)
{
    (void)state;
    static uint8_t block[BLOCK_ROOM];
    uint64_t rounds = support_number("BALLAST_ROUNDS", 300) * 100, differ = 0, accepted = 0;
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 7));
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t size = (uint32_t)rng_below(&rng, 1u << (1 + rng_below(&rng, 12)));
        if (i % 2) {
            fake_page_make((enum page_kind)rng_below(&rng, PAGE_KIND_COUNT), &rng, page);
            size = codec_compress(page, block, BLOCK_ROOM, work);
            for (uint64_t n = 1 + rng_below(&rng, 4); n; n--)
                block[rng_below(&rng, size)] = (uint8_t)rng_next(&rng);
        } else {
            for (uint32_t b = 0; b < size; b++)
                block[b] = (uint8_t)(rng_next(&rng) & (i % 4 ? 0xff : 0x1f));
        }
        memset(output, 0xa5, PAGE_SIZE);
        accepted += decompress(guarded_block(block, size), size, output);
        differ += !decodes_like_peer(block, size);
    }
    printf("figure: codec: %llu damaged blocks, %llu still a page, %llu refused by us alone\n",
           (unsigned long long)rounds, (unsigned long long)accepted, (unsigned long long)differ);
}

/* Every block of up to two bytes, and of three whose token says much. */
static void test_short_inputs(void **state)
{
    (void)state;
    uint8_t block[3] = { 0 };
    assert_false(decompress(block, 0, output));
    for (uint32_t v = 0; v < 1u << 16; v++) {
        block[0] = (uint8_t)v, block[1] = (uint8_t)(v >> 8);
        assert_false(decompress(guarded_block(block, 1), 1, output));
        assert_false(decompress(guarded_block(block, 2), 2, output2));
    }
    for (uint32_t v = 0; v < 1u << 20; v++) {
        block[0] = (uint8_t)(v & 0xf ? v : 0xf0), block[1] = (uint8_t)(v >> 4),
        block[2] = (uint8_t)(v >> 12);
        assert_false(decompress(guarded_block(block, 3), 3, output));
    }
}

static void test_rules_of_the_format(void **state)
{
    (void)state;
    /* 16 literals, a match to `out`, then the rest as literals. */
    struct {
        uint16_t distance;
        uint32_t match;
        bool good;
    } cases[] = {
        { 1, PAGE_SIZE - 16 - 5, true },    { 16, PAGE_SIZE - 16 - 5, true },
        { 17, PAGE_SIZE - 16 - 5, false },  { 0, PAGE_SIZE - 16 - 5, false },
        { 1, PAGE_SIZE - 16 - 4, false },   { 1, PAGE_SIZE - 16, false },
        { 1, PAGE_SIZE - 16 + 100, false }, { 0xffff, 100, false },
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        uint8_t block[BLOCK_ROOM];
        uint32_t at = 0, more = cases[c].match - 4 - 15;
        block[at++] = 0xff;
        block[at++] = 1;
        memset(block + at, 0x11, 16);
        at += 16;
        block[at++] = (uint8_t)cases[c].distance;
        block[at++] = (uint8_t)(cases[c].distance >> 8);
        for (; more >= 255; more -= 255)
            block[at++] = 255;
        block[at++] = (uint8_t)more;
        int rest = (int)PAGE_SIZE - 16 - (int)cases[c].match;
        if (rest < 0)
            rest = 0;
        if (rest < 15) {
            block[at++] = (uint8_t)(rest << 4);
        } else {
            block[at++] = 0xf0;
            more = (uint32_t)rest - 15;
            for (; more >= 255; more -= 255)
                block[at++] = 255;
            block[at++] = (uint8_t)more;
        }
        memset(block + at, 0x22, (size_t)rest);
        at += (uint32_t)rest;
        assert_int_equal(decompress(guarded_block(block, at), at, output), cases[c].good);
    }
}

/* A length that goes on and on neither overflows nor runs long. */
static void test_endless_lengths(void **state)
{
    (void)state;
    static uint8_t block[2 * PAGE_SIZE];
    memset(block, 255, sizeof(block));
    assert_false(decompress(guarded_block(block, sizeof(block)), sizeof(block), output));
    block[0] = 0x1f;
    block[2] = 1;
    block[3] = 0;
    assert_false(decompress(guarded_block(block, sizeof(block)), sizeof(block), output));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_every_position),
        cmocka_unit_test(test_overlapping_matches),
        cmocka_unit_test(test_hand_made_matches),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_half_pages),
        cmocka_unit_test(test_work_area),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_short_inputs),
        cmocka_unit_test(test_rules_of_the_format),
        cmocka_unit_test(test_endless_lengths),
    };
    return cmocka_run_group_tests_name("codec", tests, set_up, NULL);
}
