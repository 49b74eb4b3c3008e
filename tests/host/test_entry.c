/*
 * Entries of nested tables: round trip, and P15: no entry that is not present
 * can be taken for the address of cacheable memory (L1TF).
 */
#include <stdio.h>

#include "mm/entry_ept.h"
#include "mm/entry_npt.h"
#include "tests/host/sim.h"

static const enum home away_homes[] = { HOME_ZERO,    HOME_FILL,    HOME_POOL,     HOME_SWAP,
                                        HOME_COUNTED, HOME_BALLOON, HOME_BUSY_OUT, HOME_BUSY_IN };
#define AWAY_HOMES (sizeof away_homes / sizeof away_homes[0])

static uint64_t tried;

/* What hardware makes of the bits; written down apart from entry.c. */
static void check_away(enum home home, uint64_t payload, unsigned bits, uint64_t memory_end)
{
    entry_t e = entry_away(home, payload);
    tried++;
    assert_int_equal(e.v & 7, 0); /* not present */
    assert_int_equal(e.v & (1ull << 10 | 1ull << 63), 0);
    assert_false(entry_is_present(e));
    assert_int_equal(entry_home(e), home);
    assert_int_equal(entry_payload(e), payload);
    assert_true(entry_is_safe(e));
    uint64_t address = e.v & 0x000ffffffffff000ull;
    /* However many address bits a part uses inside, from `bits` to 52. */
    for (unsigned used = bits; used <= 52; used++)
        assert_true((address & ((1ull << used) - 1)) >= memory_end);
}

static void one_width(unsigned bits)
{
    /* The largest memory this width may have: everything below half. */
    uint64_t half = 1ull << (bits - 1);
    uint64_t highest = (half >> PAGE_SHIFT) - 1;
    if (highest > UINT32_MAX - 1)
        highest = UINT32_MAX - 1;
    assert_true(entry_init(bits, (uint32_t)highest));
    uint64_t limit = entry_payload_limit();
    struct rng rng;
    rng_seed(&rng, bits);
    for (unsigned i = 0; i < AWAY_HOMES; i++) {
        enum home home = away_homes[i];
        for (uint64_t payload = 0; payload < 3000; payload++)
            check_away(home, payload, bits, half);
        for (uint64_t back = 1; back < 3000; back++)
            check_away(home, limit - back, bits, half);
        for (unsigned bit = 0; 1ull << bit < limit; bit++)
            for (int64_t near = -2; near <= 2; near++) {
                uint64_t payload = (1ull << bit) + (uint64_t)near;
                if (payload < limit)
                    check_away(home, payload, bits, half);
            }
        for (unsigned n = 0; n < 2000; n++)
            check_away(home, rng_below(&rng, limit), bits, half);
    }
}

static void every_width(void **state)
{
    (void)state;
    unsigned widths = 0;
    for (unsigned bits = 30; bits <= 52; bits++)
        if (entry_init(bits, 0x1000)) {
            one_width(bits);
            widths++;
        }
    assert_true(widths >= 17); /* 36 to 52 at least */
    printf("figure: P15: %llu entries over %u address widths\n", (unsigned long long)tried, widths);
}

/* Small widths as a whole: every payload. */
static void exhaustive(void **state)
{
    (void)state;
    unsigned bits = 30;
    while (!entry_init(bits, 0x1000))
        bits++;
    uint64_t limit = entry_payload_limit();
    uint64_t step = limit > 1u << 24 ? limit >> 24 : 1;
    uint64_t half = 1ull << (bits - 1), count = 0;
    for (uint64_t payload = 0; payload < limit; payload += step) {
        entry_t e = entry_away(HOME_SWAP, payload);
        /* One comparison: this loop is long. */
        if ((e.v & (7 | 1ull << 10 | 1ull << 63)) != 0 ||
            (e.v & 0x000ffffffffff000ull & ((1ull << bits) - 1)) < half ||
            entry_payload(e) != payload)
            fail_msg("payload %llx", (unsigned long long)payload);
        count++;
    }
    printf("figure: P15: %llu payloads at %u bits\n", (unsigned long long)count, bits);
}

/* What both formats have in common. */
static void check_present(uint32_t n, entry_t mine, entry_t merged, entry_t table)
{
    assert_int_equal(entry_home(mine), HOME_PRIVATE);
    assert_int_equal(entry_home(merged), HOME_SHARED);
    assert_int_equal(mine.v & 7, 7);
    assert_int_equal(merged.v & 7, 5);
    assert_int_equal(table.v & 7, 7);
    assert_int_equal(entry_frame(mine).v, n);
    assert_int_equal(entry_frame(merged).v, n);
    assert_int_equal(entry_frame(table).v, n);
    assert_true(entry_is_present(mine) && entry_is_present(merged));
    assert_true(entry_is_writable(mine) && !entry_is_writable(merged));
    assert_int_equal((mine.v | merged.v | table.v) & (1ull << 7 | 1ull << 63), 0);
    assert_false(entry_is_accessed(mine) || entry_is_dirty(mine) || entry_is_accessed(merged));
}

static void present_entries(void **state)
{
    (void)state;
    assert_true(entry_init(39, 0x1000));
    entry_format_choose(&entry_ept);
    for (uint32_t n = 1; n < 0x100000; n += 4093) {
        entry_t mine = entry_private(pfn(n)), merged = entry_shared(pfn(n)),
                table = entry_table(pfn(n));
        check_present(n, mine, merged, table);
        assert_int_equal(mine.v >> 3 & 7, 6); /* write-back */
        assert_int_equal(merged.v >> 3 & 7, 6);
        /* Reserved in upper levels: bits 3 to 7 (SDM table 29-1). */
        assert_int_equal(table.v & 0xf8, 0);
        assert_true(entry_is_accessed((entry_t){ mine.v | 1ull << 8 }));
        assert_true(entry_is_dirty((entry_t){ mine.v | 1ull << 9 }));
    }
}

static void present_entries_npt(void **state)
{
    (void)state;
    assert_true(entry_init(48, 0x1000));
    entry_format_choose(&entry_npt);
    for (uint32_t n = 1; n < 0x100000; n += 4093) {
        entry_t mine = entry_private(pfn(n)), merged = entry_shared(pfn(n)),
                table = entry_table(pfn(n));
        check_present(n, mine, merged, table);
        /* PWT, PCD, PAT 0: write-back; global and software bits 9 to 11 clear. */
        assert_int_equal((mine.v | merged.v | table.v) & 0xf98, 0);
        assert_true(entry_is_accessed((entry_t){ mine.v | 1ull << 5 }));
        assert_true(entry_is_dirty((entry_t){ mine.v | 1ull << 6 }));
    }
    /* Where memory is encrypted or keys protect pages, bits 59 to 62 have a
     * meaning in present entries. */
    assert_int_equal((entry_private(pfn(1)).v | entry_shared(pfn(1)).v) >> 59, 0);
    entry_format_choose(&entry_ept);
}

static void large_entries(void **state)
{
    (void)state;
    for (unsigned npt = 0; npt < 2; npt++) {
        assert_true(entry_init(48, 0x1000));
        entry_format_choose(npt ? &entry_npt : &entry_ept);
        for (uint32_t n = 512; n < 0x1000000; n += 512 * 511) {
            entry_t all = entry_large(pfn(n), true), data = entry_large(pfn(n), false);
            assert_true(entry_is_large(all) && entry_is_large(data));
            assert_false(entry_is_large(entry_table(pfn(n))));
            assert_int_equal(entry_frame(all).v, n);
            assert_int_equal(entry_frame(data).v, n);
            assert_int_equal(all.v & ~(1ull << 7), entry_private(pfn(n)).v);
            /* Reserved in a large leaf: address bits 12 to 20 (NPT: 12 is PAT, 13 to 20). */
            assert_int_equal((all.v | data.v) & 0x1ff000, 0);
            assert_int_equal(data.v & 3, 3);
            /* No execution: bit 2 clear, or bit 63 set and still the user's. */
            assert_int_equal(all.v ^ data.v, npt ? 1ull << 63 : 4);
            assert_true(entry_is_safe(all) && entry_is_safe(data));
        }
    }
    assert_false(entry_is_large(entry_away(HOME_ZERO, 0)));
    assert_false(entry_is_large((entry_t){ 1ull << 7 }));
    entry_format_choose(&entry_ept);
}

static void nothing_there(void **state)
{
    (void)state;
    entry_t none = { 0 };
    assert_int_equal(entry_home(none), HOME_NONE);
    assert_false(entry_is_present(none));
    assert_true(entry_is_safe(none));
}

static void unsafe_entries(void **state)
{
    (void)state;
    assert_true(entry_init(39, 0x1000));
    for (unsigned i = 0; i < AWAY_HOMES; i++) {
        entry_t e = entry_away(away_homes[i], 77);
        for (unsigned bit = 10; bit < 64; bit += 53)
            assert_false(entry_is_safe((entry_t){ e.v | 1ull << bit }));
        /* Pointing into memory. */
        assert_false(entry_is_safe((entry_t){ (e.v & ~0x000ffffffffff000ull) | 0x123000 }));
    }
}

static void payloads_out_of_range(void **state)
{
    (void)state;
    assert_true(entry_init(39, 0x1000));
    expect_panic(entry_away(HOME_SWAP, entry_payload_limit()));
    expect_panic(entry_away(HOME_SWAP, UINT64_MAX));
    expect_panic(entry_away(HOME_PRIVATE, 1));
    expect_panic(entry_away(HOME_SHARED, 1));
}

static void machines_refused(void **state)
{
    (void)state;
    assert_false(entry_init(0, 0x1000));
    assert_false(entry_init(20, 0x1000));
    /* Memory in the half that payloads point to. */
    assert_false(entry_init(36, 1u << 23));
    assert_true(entry_init(36, (1u << 23) - 1));
    assert_true(entry_init(64, 0x1000)); /* nonsense, taken for 52 */
    for (uint64_t payload = 1; payload < entry_payload_limit(); payload *= 3)
        check_away(HOME_POOL, payload, 52, (uint64_t)0x1001 << PAGE_SHIFT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width),      cmocka_unit_test(exhaustive),
        cmocka_unit_test(present_entries),  cmocka_unit_test(present_entries_npt),
        cmocka_unit_test(large_entries),    cmocka_unit_test(nothing_there),
        cmocka_unit_test(unsafe_entries),   cmocka_unit_test(payloads_out_of_range),
        cmocka_unit_test(machines_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
