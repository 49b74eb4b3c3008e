/*
 * The little of a PC that boot code probes for: the two 8259A (masks only, they
 * never interrupt), the 8254 timer (counters 0 and 2 count, no interrupt), port
 * 0x61 and the CMOS clock's index and data ports.
 */
#ifndef HV_DEV_LEGACY_H
#define HV_DEV_LEGACY_H

#include "lib/types.h"

struct vm;

struct legacy_counter {
    uint16_t reload, latch;
    bool latched, high_next, write_high;
    uint8_t mode, access;
    uint8_t low; /* first byte of a two-byte write */
    uint64_t started_at;
};

struct legacy {
    uint8_t pic_mask[2];
    uint8_t cmos_index, port61;
    struct legacy_counter counters[3];
};

void dev_legacy_init(struct legacy *legacy);
uint8_t dev_legacy_read(struct vm *vm, uint16_t port);
void dev_legacy_write(struct vm *vm, uint16_t port, uint8_t value);

#endif
