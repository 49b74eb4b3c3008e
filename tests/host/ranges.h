/*
 * For tests of large mappings: ranges of 2 MiB in the states the tests begin with.
 */
#ifndef TESTS_HOST_RANGES_H
#define TESTS_HOST_RANGES_H

#include "tests/host/sim.h"

#define RANGE_PAGES 512u

/* A machine with large mappings on, three CPUs and this much memory. */
void ranges_start(uint32_t frames, bool execute);
/* A VM of salt 1 with two vCPUs. */
struct sim_vm *ranges_vm(uint32_t pages, uint32_t limit);

/* Level of the entry that maps the page, or would: 2 is a large mapping. */
unsigned ranges_level(struct sim_vm *vm, uint32_t page);
/* Writes noise to all pages of the range that begins at `first`. */
void ranges_fill(struct sim_vm *vm, uint32_t first);
/* The page is given up, which cuts its range, and written again in another frame; the
 * former one has gone to a VM made for that, of 64 pages. */
void ranges_replace(struct sim_vm *vm, uint32_t page);
/* Pumps until the page's range is large, `steps` at most; is it? */
bool ranges_wait_large(struct sim_vm *vm, uint32_t page, unsigned steps);

#endif
