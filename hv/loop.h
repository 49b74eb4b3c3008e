/*
 * The loop of every CPU: takes recorded interrupts, runs deadlines, gives the memory
 * core a step, does a bounded share of every VM's device work, picks a vCPU, runs
 * it and handles its exit; idles when nobody can do anything.
 *
 * Interrupts are taken at VM exits, at the top of a turn and in idle only, and
 * handlers just record. Nothing waits in here: a vCPU that has to wait sleeps and
 * others run. At the top of a turn, in a guest and in idle a CPU holds no lock.
 *
 * Disks, the tick and the end of the run are the boot CPU's; a VM's device work is done
 * by any CPU that can have the VM's first vCPU, so that this one is not inside its
 * guest meanwhile.
 */
#ifndef HV_LOOP_H
#define HV_LOOP_H

#include "lib/types.h"

struct config_host;
struct vcpu;

/* What an interrupt of the host does: a device's is recorded, the timer's and
 * another CPU's wake-up have done their work by coming. */
void loop_interrupt(uint8_t vector);

void loop_init(const struct config_host *config);

/* The boot CPU: lets the others go, and runs until every VM has ended and its
 * memory is given back. */
void loop_run(void);

/* Every other CPU: for ever. */
_Noreturn void loop_join(void);

/* One turn without running a guest, interrupts taken: for boot time (images are
 * being loaded and wait for memory). */
void loop_service(void);

/* The run's time was over before all VMs had ended. */
bool loop_timed_out(void);

/* Time in which nothing could run, ns, of all CPUs. */
uint64_t loop_idle_ns(void);

#endif
