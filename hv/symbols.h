/*
 * Names for addresses in the hypervisor's text, from .symtab of the ELF file
 * that the loader kept in memory.
 */
#ifndef HV_SYMBOLS_H
#define HV_SYMBOLS_H

#include "lib/types.h"

/* file: the whole ELF file, or NULL. A file that is no ELF64 with symbols is
 * ignored: addresses then stay numbers. */
void symbols_init(const void *file, size_t size);

/* Name of the function that holds address, and the offset in it; NULL: none. */
const char *symbols_find(uint64_t address, uint64_t *offset);

#endif
