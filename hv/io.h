/*
 * I/O ports as guests see them. A table of ranges; what is in none reads as all
 * ones and ignores writes, as an empty bus does, and is counted.
 */
#ifndef HV_IO_H
#define HV_IO_H

#include "hv/vcpu.h"

/* String instructions move at most this many elements an exit. */
#define IO_STRING_MAX 64u

void io_handle(struct vcpu *vcpu);

/* One access of 1, 2 or 4 bytes. */
uint32_t io_read(struct vm *vm, uint16_t port, unsigned size);
void io_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value);

#endif
