/*
 * Choosing a policy, showing it the view, checking its answers; see policy.h.
 */
#include "mm/policy.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/vm.h"

static const struct policy *const policies[] = { &policy_esx, &policy_fixed };
static const struct policy *policy;

bool policy_init(const char *name)
{
    policy = NULL;
    for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
        if (strcmp(policies[i]->name, name) == 0)
            policy = policies[i];
    return policy != NULL;
}

/* Frames that are not for guests' pages: tables, books, and minFree. */
static uint32_t capacity(void)
{
    uint32_t taken =
        frame_kind_count(FRAME_TABLE) + frame_kind_count(FRAME_BOOK) +
        (frame_kind_count(FRAME_FIXED) - (frame_total_count() - frame_managed_count())) +
        core.min_free;
    return taken < frame_managed_count() ? frame_managed_count() - taken : 0;
}

static void show(const struct mm_vm *vm, struct policy_vm *view)
{
    uint32_t resident = vm_resident(vm), keep = vm_floor(&vm->config);
    if (vm->config.reserve_pages > keep)
        keep = vm->config.reserve_pages;
    *view = (struct policy_vm){
        .pages = vm->config.pages,
        .resident = resident,
        .reserve = keep < vm->config.limit_pages ? keep : vm->config.limit_pages,
        .limit = vm->config.limit_pages,
        .shares = vm->config.shares,
        .active = vm->active_known && vm->active < resident ? vm->active : resident,
        .ballooned = vm_pages_in(vm, HOME_BALLOON),
    };
}

static void set_target(struct mm_vm *vm, uint32_t target, const struct policy_vm *view)
{
    uint32_t checked = target < view->reserve ? view->reserve
                       : target > view->limit ? view->limit
                                              : target;
    if (checked != target)
        core_count(MM_HOST_policy_corrected, 1);
    if (checked != vm->target)
        machine_event(MM_EVENT_TARGET, vm, vm->target, checked);
    atomic_set(vm->target, checked);
}

void policy_apply(void)
{
    static struct policy_view view;
    static uint32_t targets[MM_VM_MAX];
    static struct mm_vm *vms[MM_VM_MAX];
    view.capacity = capacity();
    view.idle_tax_percent = core.config.idle_tax_percent;
    view.vm_count = 0;
    for (unsigned i = 0; i < vm_live_count(); i++) {
        struct mm_vm *vm = vm_live(i);
        if (vm_is_stopped(vm))
            continue;
        vms[view.vm_count] = vm;
        targets[view.vm_count] = vm->target;
        show(vm, &view.vms[view.vm_count++]);
    }
    policy->targets(&view, targets);
    for (unsigned i = 0; i < view.vm_count; i++)
        set_target(vms[i], targets[i], &view.vms[i]);
}
