/*
 * 16550 at GUEST_CONSOLE_PORT, polled. Source: National Semiconductor PC16550D
 * data sheet, register table. A line is formatted first and sent in one go, so
 * that the host sees whole lines.
 */
#include "guest-driver/console.h"

#include <stdarg.h>

#include "abi/machine.h"
#include "guest-driver/cpu.h"
#include "lib/fmt.h"

#define UART_DATA          (GUEST_CONSOLE_PORT + 0)
#define UART_INTERRUPTS    (GUEST_CONSOLE_PORT + 1)
#define UART_FIFO          (GUEST_CONSOLE_PORT + 2)
#define UART_LINE_CONTROL  (GUEST_CONSOLE_PORT + 3)
#define UART_MODEM_CONTROL (GUEST_CONSOLE_PORT + 4)
#define UART_LINE_STATUS   (GUEST_CONSOLE_PORT + 5)

#define LINE_CONTROL_8N1     0x03
#define LINE_CONTROL_DIVISOR 0x80
#define LINE_STATUS_EMPTY    0x20
#define FIFO_ENABLE_CLEAR    0x07
#define MODEM_READY          0x03 /* DTR, RTS; no loopback */

/* A host that never drains the transmitter must not hang the guest. */
#define UART_POLL_MAX 10000

void console_init(void)
{
    port_write8(UART_INTERRUPTS, 0);
    port_write8(UART_LINE_CONTROL, LINE_CONTROL_DIVISOR);
    port_write8(UART_DATA, 1); /* divisor 1: 115200 baud */
    port_write8(UART_INTERRUPTS, 0);
    port_write8(UART_LINE_CONTROL, LINE_CONTROL_8N1);
    port_write8(UART_FIFO, FIFO_ENABLE_CLEAR);
    port_write8(UART_MODEM_CONTROL, MODEM_READY);
}

static void console_char(char c)
{
    for (int i = 0; i < UART_POLL_MAX; i++)
        if (port_read8(UART_LINE_STATUS) & LINE_STATUS_EMPTY)
            break;
    port_write8(UART_DATA, (uint8_t)c);
}

void console_line(const char *format, ...)
{
    char line[CONSOLE_LINE_MAX];
    va_list args;
    va_start(args, format);
    fmt_vprint(line, sizeof(line), format, args);
    va_end(args);
    for (const char *p = line; *p; p++)
        console_char(*p >= ' ' && *p <= '~' ? *p : '?');
    console_char('\n');
}
