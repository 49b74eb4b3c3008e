/*
 * What the portable code expects of every stage it runs in, for tests: panic()
 * prints and aborts, unless the test said that it expects one; log_line() is
 * silent unless BALLAST_LOG=1 is in the environment.
 */
#ifndef TESTS_HOST_SUPPORT_H
#define TESTS_HOST_SUPPORT_H

/* cmocka wants these four before it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* The next panic() jumps here once; NULL: it aborts. */
void support_panic_expect(jmp_buf *where);
/* Text of the last panic(). */
const char *support_panic_text(void);

/* Called by panic() before it aborts (the simulated machine prints its seed). */
extern void (*support_panic_hook)(void);

/* Called in each turn of a wait for a lock. */
extern void (*support_wait_hook)(void);

/* The statement must end in panic(). */
#define expect_panic(statement)                                                                    \
    do {                                                                                           \
        jmp_buf panic_place;                                                                       \
        if (setjmp(panic_place) == 0) {                                                            \
            support_panic_expect(&panic_place);                                                    \
            statement;                                                                             \
            support_panic_expect(NULL);                                                            \
            fail_msg("no panic: %s", #statement);                                                  \
        }                                                                                          \
    } while (0)

/* A number from the environment, or the default. */
uint64_t support_number(const char *name, uint64_t otherwise);

/* The file a stage's log goes to when BALLAST_LOG is set; counts all lines. */
unsigned support_log_count(int level);

#endif
