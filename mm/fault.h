/*
 * Bringing a page to where an access can use it.
 */
#ifndef MM_FAULT_H
#define MM_FAULT_H

#include "mm/home.h"

/* Resolves an access to a page. On DONE the leaf is locked and present with the
 * rights asked for; else nothing is held. *spurious: it was so from the start. */
enum mm_answer fault_resolve(struct mm_vm *vm, struct mm_vcpu *vcpu, gfn_t page, unsigned access,
                             struct leaf *leaf, bool *spurious);

#endif
