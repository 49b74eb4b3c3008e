/*
 * The host's serial ports (16550, PC16550D data sheet): COM1 console, COM2
 * telemetry. Output goes through a ring and is moved along by serial_poll(), so
 * that nobody waits for the line; serial_flush() waits.
 */
#ifndef DRIVERS_SERIAL_H
#define DRIVERS_SERIAL_H

#include "lib/types.h"

/* The innermost lock: any CPU may write, under any other (lib/lock.h). */
#define SERIAL_LOCK_RANK 92u

enum serial_port { SERIAL_CONSOLE, SERIAL_TELEMETRY, SERIAL_PORT_COUNT };

/* 115200 8N1, FIFOs on. False when no UART answers there. Before it is called,
 * and on a port that does not answer, output is dropped. */
bool serial_init(enum serial_port port);

/* A UART answered at serial_init() and has not been given up since. */
bool serial_is_present(enum serial_port port);

/* Appends to the port's ring. When the ring is full it waits for the line: no
 * byte is ever lost. */
void serial_write(enum serial_port port, const char *bytes, size_t size);

/* Bytes that the ring takes now without waiting, as far as others leave them. */
size_t serial_room(enum serial_port port);

/* Moves what the FIFO takes now; called from the main loop and in idle. True
 * while something is left. */
bool serial_poll(void);
void serial_flush(void);

/* From now on no lock is taken: for a panic, which has stopped all other CPUs. */
void serial_seize(void);

#endif
