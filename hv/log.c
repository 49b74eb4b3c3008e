/*
 * The log on the host console. A line is formatted whole and handed to the
 * serial ring and to the screen, where there is one, under a lock of its own, so that
 * lines of several writers do not mix. A panic takes no lock.
 */
#include "lib/log.h"
#include "drivers/screen.h"
#include "drivers/serial.h"
#include "hv/locks.h"
#include "hv/log.h"
#include "lib/fmt.h"

#define LINE_MAX 512u

static struct spinlock lock = SPINLOCK(RANK_LOG);
static bool seized; /* by a panic: all other CPUs have stopped, wherever they were */

/* Lines below this level are dropped. */
static const enum log_level lowest = LOG_INFO;
static const char *const prefixes[] = { "debug: ", "", "warning: ", "error: " };

void log_vline(enum log_level level, const char *format, va_list args)
{
    if (level < lowest)
        return;
    char line[LINE_MAX];
    int start = fmt_print(line, sizeof(line), "%s", prefixes[level]);
    int length = start + fmt_vprint(line + start, sizeof(line) - (size_t)start, format, args);
    size_t size = (size_t)length < sizeof(line) - 1 ? (size_t)length : sizeof(line) - 1;
    line[size++] = '\n';
    if (!seized)
        spin_lock(&lock);
    serial_write(SERIAL_CONSOLE, line, size);
    screen_write(line, size);
    if (!seized)
        spin_unlock(&lock);
}

void log_seize(void)
{
    seized = true;
    serial_seize();
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_vline(level, format, args);
    va_end(args);
}
