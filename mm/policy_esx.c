/*
 * The policy of the ESX paper (Waldspurger, "Memory Resource Management in
 * VMware ESX Server", OSDI 2002, sections 5.1 to 5.3): min-funding revocation
 * with an idle memory tax. While more is wanted than there is, pages are revoked
 * from the VM with the lowest
 *
 *      rho = S / (P * (f + k * (1 - f))),   k = 1 / (1 - tax)
 *
 * S: shares, P: pages it would keep, f: active part of its pages.
 */
#include "mm/policy.h"

/* Steps of a revocation: with 512 parts, a target is exact to 0.2 percent. */
#define PARTS 512u

/* P * (f + k (1 - f)), in hundredths: active pages count once, idle ones k
 * times. A VM that keeps fewer pages than it has keeps its active ones first. */
static uint64_t cost(const struct policy_vm *vm, uint32_t pages, unsigned tax_percent)
{
    uint64_t active = vm->active < pages ? vm->active : pages, idle = pages - active;
    return active * 100 + idle * 100 * 100 / (100 - tax_percent);
}

/* What the VM asks for before anything is revoked. */
static uint32_t demand(const struct policy_vm *vm)
{
    uint32_t pages = vm->pages - (vm->ballooned < vm->pages ? vm->ballooned : vm->pages);
    uint32_t wish = vm->resident > pages ? vm->resident : pages;
    wish = wish < vm->limit ? wish : vm->limit;
    return wish > vm->reserve ? wish : vm->reserve;
}

/* The VM to revoke from: lowest shares per cost, above its reservation. */
static unsigned lowest(const struct policy_view *view, const uint32_t *targets)
{
    unsigned best = view->vm_count;
    uint64_t best_cost = 0;
    for (unsigned i = 0; i < view->vm_count; i++) {
        const struct policy_vm *vm = &view->vms[i];
        if (targets[i] <= vm->reserve)
            continue;
        uint64_t c = cost(vm, targets[i], view->idle_tax_percent);
        /* shares_i / c < shares_best / best_cost, multiplied out */
        if (best == view->vm_count || (unsigned __int128)vm->shares * best_cost <
                                          (unsigned __int128)view->vms[best].shares * c) {
            best = i;
            best_cost = c;
        }
    }
    return best;
}

static void esx_targets(const struct policy_view *view, uint32_t *targets)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < view->vm_count; i++)
        sum += targets[i] = demand(&view->vms[i]);
    uint64_t part = (sum > view->capacity ? sum - view->capacity : 0) / PARTS + 1;
    /* Every round revokes a part or brings a VM to its reservation. */
    for (unsigned round = 0; sum > view->capacity && round < PARTS + MM_VM_MAX; round++) {
        unsigned i = lowest(view, targets);
        if (i == view->vm_count)
            return;
        uint64_t most = targets[i] - view->vms[i].reserve;
        uint64_t less = part < most ? part : most;
        if (less > sum - view->capacity)
            less = sum - view->capacity;
        targets[i] -= (uint32_t)less;
        sum -= less;
    }
}

const struct policy policy_esx = { "esx", esx_targets };
