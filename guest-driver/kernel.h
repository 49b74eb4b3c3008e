/*
 * What the minimal guest offers to its workloads.
 */
#ifndef GUEST_KERNEL_H
#define GUEST_KERNEL_H

#include <stdint.h>

/* Serves the balloon if there is something to do. Cheap; called between pages. */
void kernel_poll(void);
/* Sleeps for a number of ticks, serving the balloon. */
void kernel_sleep(uint64_t ticks);

#endif
