/*
 * Four kinds of check, as the design has them:
 *   static_assert  what the compiler can know;
 *   assert(c)      our bugs; on in every build that is not RELEASE=1;
 *   ensure(c)      always on: going on would corrupt somebody's memory;
 *   error returns  whatever a guest, a disk or a file controls.
 *
 * panic() is provided by the stage the code runs in: the hypervisor prints a
 * register dump and a symbolized backtrace and stops, the host library aborts.
 */
#ifndef LIB_ASSERT_H
#define LIB_ASSERT_H

#define static_assert _Static_assert

_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define ensure(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            panic("%s:%d: ensure(%s) failed", __FILE__, __LINE__, #condition);                     \
    } while (0)

#ifdef RELEASE
#define assert(condition) ((void)sizeof(condition))
#else
#define assert(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            panic("%s:%d: assert(%s) failed", __FILE__, __LINE__, #condition);                     \
    } while (0)
#endif

#endif
