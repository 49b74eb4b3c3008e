/* The test ports of abi/machine.h: the exit port and the two report ports. */
#ifndef HV_DEV_EXIT_H
#define HV_DEV_EXIT_H

#include "lib/types.h"

struct vm;

void dev_exit_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value);

#endif
