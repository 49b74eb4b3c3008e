/*
 * The loop of a CPU: takes recorded interrupts, runs deadlines, gives the memory
 * core a step, does a bounded share of every VM's device work, picks a vCPU, runs
 * it and handles its exit; idles when nobody can do anything.
 *
 * Interrupts are taken at VM exits, at the top of a turn and in idle only, and
 * handlers just record. Nothing waits in here: a vCPU that has to wait sleeps and
 * others run.
 */
#ifndef HV_LOOP_H
#define HV_LOOP_H

#include "lib/types.h"

struct config_host;

void loop_init(const struct config_host *config);

/* Runs until every VM has ended and its memory is given back. */
void loop_run(void);

/* One turn without running a guest, interrupts taken: for boot time (images are
 * being loaded and wait for memory). */
void loop_service(void);

/* The run's time was over before all VMs had ended. */
bool loop_timed_out(void);

/* Time in which nothing could run, ns. */
uint64_t loop_idle_ns(void);

#endif
