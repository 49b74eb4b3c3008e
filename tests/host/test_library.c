/*
 * The library as its users get it: the example, built against each of the two
 * libraries and the copied headers alone, ends well; both show the public
 * symbols and no other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/host/support.h"

/* Runs a command; its first line of output. */
static int run(const char *command, char *line, size_t size)
{
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    if (!fgets(line, (int)size, pipe))
        *line = 0;
    while (fgetc(pipe) != EOF)
        ;
    return pclose(pipe);
}

static void example_runs(void **state)
{
    static const char *const programs[] = { "build/example_lib", "build/example_lib_shared" };
    char first[2][256], command[128];
    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof(command), "%s | tail -1", programs[i]);
        assert_int_equal(run(programs[i], first[i], sizeof(first[i])), 0);
        run(command, first[i], sizeof(first[i]));
        assert_non_null(strstr(first[i], "0 pages of 3072 were wrong; the audit found 0"));
    }
}

/* Neither shows a symbol outside of the families of the public header. */
static void symbols_are_hidden(void **state)
{
    static const char *const lists[] = {
        "nm -D --defined-only build/libballast-mm.so.1 | grep -v ' A BALLAST_MM_1'",
        "nm -g --defined-only build/libballast-mm.a | grep ' [A-Z] '",
    };
    char command[512], line[256];
    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof(command), "%s | grep -Ev ' T (codec|frame|hash|mm|pool)_' | wc -l",
                 lists[i]);
        assert_int_equal(run(command, line, sizeof(line)), 0);
        assert_int_equal(atoi(line), 0);
        snprintf(command, sizeof(command), "%s | grep -c ' T mm_init'", lists[i]);
        assert_int_equal(run(command, line, sizeof(line)), 0);
        assert_int_equal(atoi(line), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_runs),
        cmocka_unit_test(symbols_are_hidden),
    };
    return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
