/*
 * For tests: a small machine under the test's control, and ways to bring a page
 * into each home through nothing but guests' accesses, pressure and time.
 */
#ifndef TESTS_HOST_HOMES_H
#define TESTS_HOST_HOMES_H

#include "mm/home.h"
#include "tests/host/sim.h"

/* Home of a page as its leaf entry has it. */
enum home homes_of(struct sim_vm *vm, uint32_t gfn);

/* The machine for one home: tiers such that reclaim leads there. */
void homes_start(enum home home, uint64_t seed);

/*
 * On a machine started for that home: two pages of content that can get there
 * are written by `vm` (gfn and gfn + 1), and pressure is kept up by a second VM
 * until both are there (for BUSY_OUT: the first); the VM's last SIM_ROLL_PAGES pages are used up.
 * False when that did not happen within a bound; disks complete nothing while a page is to stay
 * BUSY.
 */
bool homes_reach(struct sim_vm *vm, uint32_t gfn, enum home home);

/* The VM that makes pressure; made by homes_reach(). */
struct sim_vm *homes_squeezer(void);

#endif
