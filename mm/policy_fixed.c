/*
 * The plainest policy: above the reservations, memory is divided by configured
 * size alone; shares and activity count for nothing. A base line for others.
 */
#include "mm/policy.h"

static void fixed_targets(const struct policy_view *view, uint32_t *targets)
{
    uint64_t reserved = 0, rest = 0;
    for (unsigned i = 0; i < view->vm_count; i++) {
        reserved += view->vms[i].reserve;
        rest += view->vms[i].limit - view->vms[i].reserve;
    }
    uint64_t spare = view->capacity > reserved ? view->capacity - reserved : 0;
    if (spare > rest)
        spare = rest;
    for (unsigned i = 0; i < view->vm_count; i++) {
        const struct policy_vm *vm = &view->vms[i];
        uint64_t part = rest ? spare * (vm->limit - vm->reserve) / rest : 0;
        targets[i] = vm->reserve + (uint32_t)part;
    }
}

const struct policy policy_fixed = { "fixed", fixed_targets };
