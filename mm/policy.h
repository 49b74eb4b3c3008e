/*
 * Policies: what each VM should have in RAM. A policy reads a view and answers;
 * it touches nothing. The mechanism checks the answers: a target below the
 * reservation or above the limit is corrected and counted. A new policy is one
 * file and one line in policies[] (mm/policy.c).
 */
#ifndef MM_POLICY_H
#define MM_POLICY_H

#include "mm/mm.h"

struct policy_vm {
    uint32_t pages;    /* configured */
    uint32_t resident; /* in RAM now */
    uint32_t reserve, limit;
    uint32_t shares;
    uint32_t active; /* estimated working set, pages; at most resident */
    uint32_t ballooned;
};

struct policy_view {
    uint32_t capacity; /* frames for guests' pages, reserve and minFree taken out */
    unsigned idle_tax_percent;
    unsigned vm_count;
    struct policy_vm vms[MM_VM_MAX];
};

struct policy {
    const char *name;
    /* Fills targets[0 .. view->vm_count - 1], pages. */
    void (*targets)(const struct policy_view *view, uint32_t *targets);
};

extern const struct policy policy_esx, policy_fixed;

/* False: no policy of that name. */
bool policy_init(const char *name);
/* Asks the policy and sets the VMs' targets. */
void policy_apply(void);

#endif
