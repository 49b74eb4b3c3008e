/*
 * Pages the hypervisor holds a pointer to. Verbs that would move a page ask
 * here first.
 */
#ifndef MM_PIN_H
#define MM_PIN_H

#include "mm/home.h"

/* Is the page pinned? The leaf is locked and present. */
bool pin_holds(const struct leaf *leaf);
/* Forgets every pin of a VM that ends. */
void pin_drop_all(struct mm_vm *vm);
/* Calls visit for every merged frame that a pin keeps alive. */
void pin_audit(struct mm_vm *vm, void (*visit)(void *context, pfn_t merged), void *context);

#endif
