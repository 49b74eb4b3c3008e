/*
 * The guest's console: whole lines to the 16550.
 */
#ifndef GUEST_CONSOLE_H
#define GUEST_CONSOLE_H

#define CONSOLE_LINE_MAX 160

void console_init(void);
/* One line, without its newline; cut at CONSOLE_LINE_MAX - 1 characters. */
void console_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
