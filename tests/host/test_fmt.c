/*
 * lib/fmt.c against the C library's snprintf, over the subset it promises.
 */
#include <stdio.h>
#include <string.h>

#include "lib/fmt.h"
#include "tests/host/support.h"

#define same(...)                                                                                  \
    do {                                                                                           \
        char ours[128], theirs[128];                                                               \
        int length = fmt_print(ours, sizeof ours, __VA_ARGS__);                                    \
        assert_int_equal(length, snprintf(theirs, sizeof theirs, __VA_ARGS__));                    \
        assert_string_equal(ours, theirs);                                                         \
    } while (0)

static void numbers(void **state)
{
    (void)state;
    same("%d %i %u", -1, 42, 3000000000u);
    same("%d %d", INT32_MIN, INT32_MAX);
    same("%x %X %08x", 0xbeefu, 0xbeefu, 0x12u);
    same("%lx %llu %zu", 0xfedcba9876543210ul, 18446744073709551615ull, (size_t)7);
    same("%ld %lld", INT64_MIN, (long long)INT64_MAX);
    same("[%5d] [%-5d] [%05d]", 42, 42, 42);
    same("[%5d] [%-5d] [%05d]", -42, -42, -42);
    same("%c%c%%", 'a', 'b');
}

static void strings(void **state)
{
    (void)state;
    same("%s|%10s|%-10s|%.2s|", "abc", "abc", "abc", "abc");
    same("%s", "");
}

static void truncates(void **state)
{
    (void)state;
    char buffer[8];
    memset(buffer, 'x', sizeof buffer);
    assert_int_equal(fmt_print(buffer, 5, "%s", "abcdefgh"), 8);
    assert_string_equal(buffer, "abcd");
    assert_int_equal(buffer[5], 'x');
    assert_int_equal(fmt_print(buffer, 0, "%d", 12345), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(truncates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
