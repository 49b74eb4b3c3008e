/*
 * Formatted print into a buffer: the subset of C's snprintf that this project
 * uses. %d %i %u %x %X %p %s %c %%, with l, ll, z; width, precision for %s,
 * flags '-', '0'. Anything else prints the directive itself.
 */
#ifndef LIB_FMT_H
#define LIB_FMT_H

#include <stdarg.h>
#include <stddef.h>

/* Both write at most size bytes, terminator included, and return the length
 * the whole text has (as snprintf does). */
int fmt_print(char *buffer, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int fmt_vprint(char *buffer, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

#endif
