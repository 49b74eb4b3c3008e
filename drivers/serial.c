/*
 * 16550 driver, see serial.h. One ring for each port; the transmitter is fed a
 * FIFO at a time whenever somebody polls. No interrupts are used. Each port has a
 * lock, which is held while a full ring waits for the line.
 */
#include "drivers/serial.h"

#include "drivers/port.h"
#include "lib/assert.h"
#include "lib/lock.h"
#include "lib/string.h"

/* Registers, as offsets from the base port (PC16550D, table II). */
#define REG_DATA    0 /* divisor, low byte, while LINE_DIVISOR is set */
#define REG_ENABLE  1 /* divisor, high byte */
#define REG_FIFO    2 /* write: FIFO control; read: interrupt identification */
#define REG_LINE    3
#define REG_MODEM   4
#define REG_STATUS  5
#define REG_SCRATCH 7

#define FIFO_ON_CLEAR  0x07
#define FIFO_IS_ON     0xc0
#define FIFO_BYTES     16
#define LINE_8N1       0x03
#define LINE_DIVISOR   0x80
#define MODEM_READY    0x03 /* DTR, RTS */
#define STATUS_DATA    0x01
#define STATUS_EMPTY   0x20 /* the FIFO takes bytes */
#define STATUS_IDLE    0x40 /* and the last bit is on the line */
#define DIVISOR_115200 1

/* A power of two, so that free-running counters index it. */
#define RING_BYTES 65536u
static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "a power of two");

/* A transmitter that stays busy for this many reads of its status is broken: at
 * 115200 baud a FIFO takes 1.4 ms. */
#define BUSY_TRIES 100000000u

struct serial {
    struct spinlock lock;
    uint16_t base;
    bool present;
    unsigned burst;      /* bytes taken when the transmitter says it is empty */
    uint32_t head, tail; /* written and sent so far; head - tail <= RING_BYTES */
    char ring[RING_BYTES];
};

static struct serial ports[SERIAL_PORT_COUNT] = {
    [SERIAL_CONSOLE] = { .base = 0x3f8, .lock = SPINLOCK(SERIAL_LOCK_RANK) },
    [SERIAL_TELEMETRY] = { .base = 0x2f8, .lock = SPINLOCK(SERIAL_LOCK_RANK) },
};
static bool seized;

static void port_lock(struct serial *port)
{
    if (!seized)
        spin_lock(&port->lock);
}

static void port_unlock(struct serial *port)
{
    if (!seized)
        spin_unlock(&port->lock);
}

void serial_seize(void)
{
    seized = true;
}

static bool answers(uint16_t base)
{
    port_write8(base + REG_SCRATCH, 0x5a);
    if (port_read8(base + REG_SCRATCH) != 0x5a)
        return false;
    port_write8(base + REG_SCRATCH, 0xa5);
    return port_read8(base + REG_SCRATCH) == 0xa5;
}

bool serial_init(enum serial_port index)
{
    struct serial *port = &ports[index];
    uint16_t base = port->base;
    if (!answers(base))
        return false;
    port_write8(base + REG_ENABLE, 0);
    port_write8(base + REG_LINE, LINE_8N1 | LINE_DIVISOR);
    port_write8(base + REG_DATA, DIVISOR_115200 & 0xff);
    port_write8(base + REG_ENABLE, DIVISOR_115200 >> 8);
    port_write8(base + REG_LINE, LINE_8N1);
    port_write8(base + REG_FIFO, FIFO_ON_CLEAR);
    port_write8(base + REG_MODEM, MODEM_READY);
    port->burst = (port_read8(base + REG_FIFO) & FIFO_IS_ON) == FIFO_IS_ON ? FIFO_BYTES : 1;
    port->present = true;
    return true;
}

static bool port_poll(struct serial *port)
{
    if (port->head == port->tail)
        return false;
    if (!(port_read8(port->base + REG_STATUS) & STATUS_EMPTY))
        return true;
    for (unsigned i = 0; i < port->burst && port->head != port->tail; i++)
        port_write8(port->base + REG_DATA, (uint8_t)port->ring[port->tail++ % RING_BYTES]);
    return port->head != port->tail;
}

/* Waits until at most `left` bytes are in the ring. A line that does not move is
 * given up, so that a broken UART stops nobody. */
static void port_drain(struct serial *port, uint32_t left)
{
    uint32_t tail = port->tail;
    unsigned tries = 0;
    while (port->head - port->tail > left) {
        port_poll(port);
        tries = port->tail == tail ? tries + 1 : 0;
        tail = port->tail;
        if (tries > BUSY_TRIES) {
            port->present = false;
            port->tail = port->head;
        }
    }
}

void serial_write(enum serial_port index, const char *bytes, size_t size)
{
    struct serial *port = &ports[index];
    port_lock(port);
    for (size_t i = 0; i < size && port->present; i++) {
        if (port->head - port->tail == RING_BYTES)
            port_drain(port, RING_BYTES - FIFO_BYTES);
        port->ring[port->head++ % RING_BYTES] = bytes[i];
    }
    port_unlock(port);
}

bool serial_is_present(enum serial_port index)
{
    return ports[index].present;
}

size_t serial_room(enum serial_port index)
{
    const struct serial *port = &ports[index];
    return port->present ? RING_BYTES - (port->head - port->tail) : RING_BYTES;
}

bool serial_poll(void)
{
    bool left = false;
    for (unsigned i = 0; i < SERIAL_PORT_COUNT; i++) {
        port_lock(&ports[i]);
        left |= port_poll(&ports[i]);
        port_unlock(&ports[i]);
    }
    return left;
}

void serial_flush(void)
{
    for (unsigned i = 0; i < SERIAL_PORT_COUNT; i++) {
        port_lock(&ports[i]);
        port_drain(&ports[i], 0);
        port_unlock(&ports[i]);
        for (unsigned t = 0; ports[i].present && t < BUSY_TRIES; t++)
            if (port_read8(ports[i].base + REG_STATUS) & STATUS_IDLE)
                break;
    }
}
