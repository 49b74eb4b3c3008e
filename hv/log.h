/* The hypervisor's own side of lib/log.h: its level, and lines from a va_list. */
#ifndef HV_LOG_H
#define HV_LOG_H

#include <stdarg.h>

#include "lib/log.h"

/* Lines below this level are dropped; LOG_INFO until set. */
void log_set_level(enum log_level level);

void log_vline(enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
