/*
 * What the hostile guests share: numbers from the command line, and memory that
 * is filled and verified.
 */
#ifndef TESTS_GUEST_HOSTILE_H
#define TESTS_GUEST_HOSTILE_H

#include <stdbool.h>
#include <stdint.h>

#include "guest-driver/guest.h"

/* The decimal number in a word KEY=NUMBER of the command line, or `otherwise`. */
uint64_t hostile_number(const struct guest_boot *boot, const char *key, uint64_t otherwise);

/* The pages [first, end), from the end of the image to the end of memory. */
struct hostile_memory {
    uint32_t first, end;
    uint64_t seed;
    uint32_t version;
    uint64_t checked, mismatched;
};
void hostile_memory_init(struct hostile_memory *memory, const struct guest_boot *boot);
/* Every page must read as zero (nobody wrote to it since it was fresh). */
void hostile_memory_check_zero(struct hostile_memory *memory);
/* Writes the next version of all pages. */
void hostile_memory_fill(struct hostile_memory *memory);
void hostile_memory_verify(struct hostile_memory *memory);
/* "NAME: N pages checked, M mismatches", the reports, and the status. */
int hostile_memory_finish(struct hostile_memory *memory, const char *name);

#endif
