/*
 * vCPUs that wait for memory: for a free frame, for their VM to come below its
 * limit, for the pressure to ease, or for an in-flight record. First come, first
 * woken.
 *
 * Lock: one, the core's innermost: machine_vcpu_wake() is called with it held.
 */
#ifndef MM_WAIT_H
#define MM_WAIT_H

#include "mm/mm.h"

void wait_init(void);

/* Puts the vCPU on the list (NULL: the list of those who wait for a frame, which
 * wait_wake_frames() serves). vcpu NULL: nothing. Always answers MM_WAIT. */
enum mm_answer wait_enlist(struct mm_vcpu *vcpu, enum mm_wait why, struct list_node *list);

/* The vCPU waits for nothing any more, without being woken (it faults again, or
 * its VM ends). */
void wait_cancel(struct mm_vcpu *vcpu);

/* The same for a vCPU that goes away: nobody is at it any more afterwards. */
void wait_forget(struct mm_vcpu *vcpu);

/* Wakes everyone on an in-flight record's list. */
void wait_wake_all(struct list_node *list);
/* Is anyone on it? */
bool wait_anyone(const struct list_node *list);

/* A record or a buffer for page-ins became free: wakes those on its list. */
struct list_node *wait_io_list(void);

/* Wakes those who can go on, in order of arrival; returns how many were woken. */
unsigned wait_wake_frames(void);

/* Someone waits for a frame (or is held)? */
bool wait_for_frames(void);
/* Does a vCPU of this VM? */
bool wait_of_vm(struct mm_vm *vm);

#endif
