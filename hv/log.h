/* The hypervisor's own side of lib/log.h: its level, and lines from a va_list. */
#ifndef HV_LOG_H
#define HV_LOG_H

#include <stdarg.h>

#include "lib/log.h"

void log_vline(enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
