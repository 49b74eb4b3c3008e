/*
 * The guest's other processors: started by INIT and start-up messages to all
 * others (Intel SDM volume 3A, 8.4.4).
 */
#ifndef GUEST_SMP_H
#define GUEST_SMP_H

/* The first processor's number is 0. */
#define SMP_CPU_MAX 4u

/*
 * Starts all others; each calls function(number), number from 1 on, with
 * interrupts off, and halts for good when that returns. Returns when `count` have
 * come, or after a bounded wait: how many have.
 */
unsigned smp_start(unsigned count, void (*function)(unsigned number));

#endif
