/*
 * The log: readable lines for a person. Counters and events are other things
 * (mm/counters.h, mm/machine.h). A misbehaving guest never causes LOG_ERROR.
 *
 * log_line() is provided by the stage: the hypervisor prints to the console
 * (COM1), the host library to standard error or nowhere.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* One line, without its newline. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
