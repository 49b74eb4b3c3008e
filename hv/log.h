/* The hypervisor's own side of lib/log.h: its level, and lines from a va_list. */
#ifndef HV_LOG_H
#define HV_LOG_H

#include <stdarg.h>

#include "lib/log.h"

void log_vline(enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* From now on no lock is taken for the log: for a panic, which has stopped all others. */
void log_seize(void);

#endif
