/*
 * Which CPU is inside which VM, and P3's rule: a translation that was revoked is
 * used by no CPU any more when machine_flush_vm() returns.
 *
 *   a CPU that enters                  a CPU that revokes
 *     publishes the VM it enters         narrows the table entries
 *     full barrier                       counts the VM's generation up
 *     compares the generation            full barrier
 *     flushes when it has moved          kicks every CPU that has published
 *     enters                             that VM, and waits for it to leave
 *
 * Whichever barrier comes first, either the one sees the new generation or the
 * other sees it inside. A CPU in root mode (halted, idle, waiting for a lock) is
 * neither kicked nor waited for. The kick is an NMI, since a guest with interrupts
 * off may keep interrupts of the host out (Bochs does); it is sent again and again,
 * since one that arrives between publishing and entering is used up.
 */
#ifndef HV_GUEST_H
#define HV_GUEST_H

#include "lib/types.h"

struct vcpu;
struct vm;

/* Around the execution of a guest, in struct vcpu_ops' run(): no lock is held. What
 * runs there touches this CPU's own state only, and the world may be stopped
 * meanwhile (hv/park.h). */
void guest_enter(struct vcpu *vcpu);
void guest_leave(void);

/* Between the two, before the entry: translations of the VM that this CPU may
 * have kept must be flushed. True once for each change. */
bool guest_flush_due(struct vcpu *vcpu);

/* Returns when no other CPU is inside the VM with what it knew before. */
void guest_evict(struct vm *vm);

/* Makes other CPUs leave the VM soon, without waiting. */
void guest_kick(struct vm *vm);

#endif
