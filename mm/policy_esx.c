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

/*
 * The VMs above their reservations, the one to revoke from first: a binary heap, since
 * a revocation takes up to PARTS rounds and more. Under core.step_lock, like all
 * policies.
 */
static struct heap {
    const struct policy_view *view;
    const uint32_t *targets;
    unsigned count;
    uint16_t vms[MM_VM_MAX];
    uint64_t costs[MM_VM_MAX]; /* by VM */
} heap;

/* Fewer shares for its cost; of two alike, the one with the lower index. */
static bool comes_first(unsigned a, unsigned b)
{
    const struct policy_vm *vms = heap.view->vms;
    /* shares_a / cost_a < shares_b / cost_b, multiplied out */
    unsigned __int128 left = (unsigned __int128)vms[a].shares * heap.costs[b];
    unsigned __int128 right = (unsigned __int128)vms[b].shares * heap.costs[a];
    return left < right || (left == right && a < b);
}

static void sink(unsigned place)
{
    uint16_t vm = heap.vms[place];
    for (unsigned child; (child = 2 * place + 1) < heap.count; place = child) {
        if (child + 1 < heap.count && comes_first(heap.vms[child + 1], heap.vms[child]))
            child++;
        if (!comes_first(heap.vms[child], vm))
            break;
        heap.vms[place] = heap.vms[child];
    }
    heap.vms[place] = vm;
}

static void heap_fill(const struct policy_view *view, const uint32_t *targets)
{
    heap.view = view;
    heap.targets = targets;
    heap.count = 0;
    for (unsigned i = 0; i < view->vm_count; i++) {
        if (targets[i] <= view->vms[i].reserve)
            continue;
        heap.costs[i] = cost(&view->vms[i], targets[i], view->idle_tax_percent);
        heap.vms[heap.count++] = (uint16_t)i;
    }
    for (unsigned place = heap.count / 2; place-- > 0;)
        sink(place);
}

/* The first one's target has changed. */
static void heap_update_first(void)
{
    unsigned first = heap.vms[0];
    const struct policy_vm *vm = &heap.view->vms[first];
    if (heap.targets[first] > vm->reserve)
        heap.costs[first] = cost(vm, heap.targets[first], heap.view->idle_tax_percent);
    else
        heap.vms[0] = heap.vms[--heap.count];
    if (heap.count > 0)
        sink(0);
}

static void esx_targets(const struct policy_view *view, uint32_t *targets)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < view->vm_count; i++)
        sum += targets[i] = demand(&view->vms[i]);
    uint64_t part = (sum > view->capacity ? sum - view->capacity : 0) / PARTS + 1;
    if (sum > view->capacity)
        heap_fill(view, targets);
    /* Every round revokes a part or brings a VM to its reservation. */
    while (sum > view->capacity && heap.count > 0) {
        unsigned i = heap.vms[0];
        uint64_t most = targets[i] - view->vms[i].reserve;
        uint64_t less = part < most ? part : most;
        if (less > sum - view->capacity)
            less = sum - view->capacity;
        targets[i] -= (uint32_t)less;
        sum -= less;
        heap_update_first();
    }
}

const struct policy policy_esx = { "esx", esx_targets };
