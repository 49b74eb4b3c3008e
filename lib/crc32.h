/*
 * CRC-32 as UEFI, GPT and Ethernet use it: reflected polynomial 0xedb88320,
 * initial value and final inversion all ones (UEFI 2.10, 4.2 and 5.3.2). It
 * detects damage, not intent.
 */
#ifndef LIB_CRC32_H
#define LIB_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of more bytes; crc is 0 for the first, or the result so far. */
uint32_t crc32_add(uint32_t crc, const void *bytes, size_t size);

#endif
