/*
 * Portable parts of the minimal guest: page contents (every byte counts, kinds in
 * the stated ratio, text compresses as promised) and the command line.
 */
#include "tests/host/support.h"

#include <lz4.h>
#include <string.h>

#include "guest-driver/content.h"
#include "guest-driver/options.h"
#include "lib/types.h"

static const struct content_mix mix = { { 20, 60, 10, 10 } };
static _Alignas(16) uint64_t page[PAGE_WORDS], other[PAGE_WORDS];

static void every_byte_counts(void **state)
{
    (void)state;
    for (uint32_t index = 0; index < 16; index++) {
        struct content_id id = { 7, index, 3 };
        content_write(page, &mix, id);
        assert_true(content_verify(page, &mix, id));
        for (unsigned byte = 0; byte < PAGE_SIZE; byte++) {
            uint8_t *at = (uint8_t *)page + byte;
            *at ^= (uint8_t)(1u << byte % 8);
            assert_false(content_verify(page, &mix, id));
            *at ^= (uint8_t)(1u << byte % 8);
        }
    }
}

/* Stale, misplaced or another VM's content is noticed, for kinds that tell. */
static void contents_differ(void **state)
{
    (void)state;
    static const struct content_mix telling = { { 50, 50, 0, 0 } };
    for (uint32_t index = 0; index < 500; index++) {
        struct content_id id = { 1, index, 1 };
        content_write(page, &telling, id);
        assert_false(content_verify(page, &telling, (struct content_id){ 2, index, 1 }));
        assert_false(content_verify(page, &telling, (struct content_id){ 1, index + 1, 1 }));
        assert_false(content_verify(page, &telling, (struct content_id){ 1, index, 2 }));
        content_write(other, &telling, id);
        assert_memory_equal(page, other, PAGE_SIZE);
    }
}

static void kinds_and_compression(void **state)
{
    (void)state;
    unsigned counts[CONTENT_KIND_COUNT] = { 0 };
    uint64_t packed[CONTENT_KIND_COUNT] = { 0 };
    char block[LZ4_COMPRESSBOUND(PAGE_SIZE)];
    for (uint32_t index = 0; index < 10000; index++) {
        struct content_id id = { 99, index, 1 };
        enum content_kind kind = content_kind_of(&mix, id);
        content_write(page, &mix, id);
        counts[kind]++;
        packed[kind] +=
            (uint64_t)LZ4_compress_default((const char *)page, block, PAGE_SIZE, sizeof block);
    }
    for (unsigned kind = 0; kind < CONTENT_KIND_COUNT; kind++)
        assert_in_range(counts[kind], mix.percent[kind] * 90, mix.percent[kind] * 110);
    uint64_t text = packed[CONTENT_TEXT] / counts[CONTENT_TEXT];
    print_message("text page: %lu bytes as an LZ4 block\n", (unsigned long)text);
    assert_in_range(text, PAGE_SIZE / 3, PAGE_SIZE / 2);
    assert_true(packed[CONTENT_RANDOM] / counts[CONTENT_RANDOM] >= PAGE_SIZE);
}

static void options_good(void **state)
{
    (void)state;
    struct options o;
    char message[160];
    assert_true(options_parse(&o, "", message, sizeof message));
    assert_string_equal(o.workload, "idle");
    assert_true(options_parse(&o,
                              " workload=fill  ws=24M seed=0x10 seconds=3 mix=0:100:0:0 fpu=off ",
                              message, sizeof message));
    assert_string_equal(o.workload, "fill");
    assert_int_equal(o.ws, 24 << 20);
    assert_int_equal(o.seed, 16);
    assert_int_equal(o.ticks, 300);
    assert_int_equal(o.mix.percent[CONTENT_TEXT], 100);
    assert_false(o.fpu);
    assert_true(options_parse(&o, "seed=18446744073709551615", message, sizeof message));
    assert_true(o.seed == UINT64_MAX);
}

static void options_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "surprise=1",
        "ws",
        "=",
        "ws=",
        "ws=1X",
        "ws=1MM",
        "ws=-1",
        "ws=0x",
        "ws=5G",
        "ws=100",
        "seed=18446744073709551616",
        "ws=99999999999999999999G",
        "mix=50:50",
        "mix=50:50:0:1",
        "mix=50:50:0:0:0",
        "mix=101:0:0:0",
        "mix=",
        "balloon=yes",
        "gsi=24",
        "private=101",
        "workload=averyverylongworkloadname",
        "WS=1M",
        "wsx=1M",
        "requests=0",
        "\x01=1",
        "seed=1111111111111111111111111111111111111111111111111111111111111111111111111111",
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct options o;
        char message[160] = "";
        if (options_parse(&o, bad[i], message, sizeof message))
            fail_msg("'%s' was taken", bad[i]);
        assert_true(message[0] == '\'' && strlen(message) > 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_counts),     cmocka_unit_test(contents_differ),
        cmocka_unit_test(kinds_and_compression), cmocka_unit_test(options_good),
        cmocka_unit_test(options_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
