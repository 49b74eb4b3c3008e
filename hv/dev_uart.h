/*
 * A guest's 16550 (PC16550D data sheet) at 0x3f8. What the guest sends appears
 * on the host's console as lines `[vm] text`: control characters replaced, lines
 * bounded, and a guest that floods loses lines (counted), not the host its time.
 */
#ifndef HV_DEV_UART_H
#define HV_DEV_UART_H

#include "lib/types.h"

struct vm;

#define UART_LINE_MAX  200u
#define UART_BURST_MAX 200u /* lines a guest may print at once */

struct uart {
    uint8_t ier, lcr, mcr, scr, fcr;
    uint16_t divisor;
    bool transmit_pending; /* THR empty, not yet acknowledged by reading IIR */
    char line[UART_LINE_MAX + 1];
    unsigned used;
    unsigned credit;        /* lines it may print now */
    uint64_t dropped_count; /* lines lost, in all */
    uint64_t dropped_told;  /* of those, the ones the console was told about */
    uint64_t byte_count;
};

void dev_uart_init(struct uart *uart);
/* offset: register 0-7. */
uint8_t dev_uart_read(struct vm *vm, unsigned offset);
void dev_uart_write(struct vm *vm, unsigned offset, uint8_t value);
/* Gives the guest credit for more lines; called at a fixed rate. */
void dev_uart_tick(struct vm *vm);
/* Prints what is left of a line, when the VM ends. */
void dev_uart_flush(struct vm *vm);

#endif
