/*
 * panic() and log_line() for tests; see support.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include <sched.h>

#include "lib/assert.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "tests/host/support.h"

static jmp_buf *expected;
static char text[512];
static unsigned log_counts[LOG_ERROR + 1];
void (*support_panic_hook)(void);

void support_panic_expect(jmp_buf *where)
{
    expected = where;
}

const char *support_panic_text(void)
{
    return text;
}

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (expected) {
        jmp_buf *where = expected;
        expected = NULL;
        lock_forget_all();
        longjmp(*where, 1);
    }
    fflush(stdout);
    fprintf(stderr, "panic: %s\n", text);
    if (support_panic_hook)
        support_panic_hook();
    abort();
}

void (*support_wait_hook)(void);

/* There may be more threads than processors: the holder has to get on. */
void lock_relax(unsigned turns)
{
    if (support_wait_hook)
        support_wait_hook();
    if (turns % 64 == 63)
        sched_yield();
    else
        __builtin_ia32_pause();
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    static int shown = -1;
    if (shown < 0)
        shown = getenv("BALLAST_LOG") != NULL;
    log_counts[level]++;
    if (!shown)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", names[level]);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

unsigned support_log_count(int level)
{
    return log_counts[level];
}

uint64_t support_number(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);
    return value && *value ? strtoull(value, NULL, 0) : otherwise;
}
