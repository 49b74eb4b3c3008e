#include "hv/dev_uart.h"
#include "abi/machine.h"
#include "hv/vm.h"
#include "lib/log.h"

/* Registers and bits: PC16550D data sheet, table II. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };
#define IER_TRANSMIT 0x02u
#define IIR_NONE     0x01u
#define IIR_TRANSMIT 0x02u
#define IIR_FIFOS    0xc0u
#define FCR_ENABLE   0x01u
#define LCR_DIVISOR  0x80u
#define LSR_IDLE     0x60u /* transmitter and its FIFO are empty, nothing received */
#define MSR_PRESENT  0xb0u /* carrier, data set ready, clear to send */
#define MCR_LOOP     0x10u

void dev_uart_init(struct uart *uart)
{
    *uart = (struct uart){ .divisor = 1, .credit = UART_BURST_MAX };
}

static void line_print(struct vm *vm)
{
    struct uart *uart = &vm->uart;
    uart->line[uart->used] = 0;
    uart->used = 0;
    if (!uart->credit) {
        uart->dropped_count++;
        return;
    }
    uart->credit--;
    log_info("[%s] %s", vm_name(vm), uart->line);
}

static void byte_send(struct vm *vm, uint8_t byte)
{
    struct uart *uart = &vm->uart;
    uart->byte_count++;
    if (byte == '\r')
        return;
    if (byte == '\n' || uart->used == UART_LINE_MAX)
        line_print(vm);
    if (byte == '\n')
        return;
    if (byte == '\t')
        byte = ' ';
    uart->line[uart->used++] = byte >= ' ' && byte < 0x7f ? (char)byte : '?';
}

/* The transmitter is always empty: the interrupt is pending as soon as it is
 * enabled, and again after every byte. */
static void transmit_update(struct vm *vm)
{
    vm->uart.transmit_pending = true;
    if (vm->uart.ier & IER_TRANSMIT)
        dev_ioapic_raise(vm, GUEST_CONSOLE_GSI);
}

uint8_t dev_uart_read(struct vm *vm, unsigned offset)
{
    struct uart *uart = &vm->uart;
    bool divisor = uart->lcr & LCR_DIVISOR;
    uint8_t value = 0;
    switch (offset) {
    case REG_DATA:
        return divisor ? (uint8_t)uart->divisor : 0;
    case REG_IER:
        return divisor ? (uint8_t)(uart->divisor >> 8) : uart->ier;
    case REG_IIR_FCR:
        value = uart->fcr & FCR_ENABLE ? IIR_FIFOS : 0;
        if (!uart->transmit_pending || !(uart->ier & IER_TRANSMIT))
            return value | IIR_NONE;
        uart->transmit_pending = false;
        dev_ioapic_lower(vm, GUEST_CONSOLE_GSI);
        return value | IIR_TRANSMIT;
    case REG_LCR:
        return uart->lcr;
    case REG_MCR:
        return uart->mcr;
    case REG_LSR:
        return LSR_IDLE;
    case REG_MSR:
        /* In loop-back mode the modem outputs appear as the inputs. */
        return uart->mcr & MCR_LOOP ? (uint8_t)((uart->mcr & 0x0c) << 4 | (uart->mcr & 2) << 3 |
                                                (uart->mcr & 1) << 5)
                                    : MSR_PRESENT;
    case REG_SCR:
        return uart->scr;
    }
    return 0xff;
}

void dev_uart_write(struct vm *vm, unsigned offset, uint8_t value)
{
    struct uart *uart = &vm->uart;
    bool divisor = uart->lcr & LCR_DIVISOR;
    switch (offset) {
    case REG_DATA:
        if (divisor) {
            uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
        } else if (!(uart->mcr & MCR_LOOP)) {
            byte_send(vm, value);
            transmit_update(vm);
        }
        break;
    case REG_IER:
        if (divisor) {
            uart->divisor = (uint16_t)((uart->divisor & 0xff) | value << 8);
        } else {
            uart->ier = value & 0x0f;
            transmit_update(vm);
        }
        break;
    case REG_IIR_FCR:
        uart->fcr = value;
        break;
    case REG_LCR:
        uart->lcr = value;
        break;
    case REG_MCR:
        uart->mcr = value & 0x1f;
        break;
    case REG_SCR:
        uart->scr = value;
        break;
    }
}

void dev_uart_tick(struct vm *vm)
{
    struct uart *uart = &vm->uart;
    if (uart->credit < UART_BURST_MAX)
        uart->credit++;
    if (uart->dropped_count != uart->dropped_told && uart->credit > UART_BURST_MAX / 2) {
        log_info("[%s] (%llu lines lost: it prints too fast)", vm_name(vm),
                 (unsigned long long)(uart->dropped_count - uart->dropped_told));
        uart->dropped_told = uart->dropped_count;
    }
}

void dev_uart_flush(struct vm *vm)
{
    struct uart *uart = &vm->uart;
    if (uart->used)
        line_print(vm);
    if (uart->dropped_count != uart->dropped_told)
        log_info("[%s] (%llu lines lost: it printed too fast)", vm_name(vm),
                 (unsigned long long)(uart->dropped_count - uart->dropped_told));
    uart->dropped_told = uart->dropped_count;
}
