/*
 * Waiting vCPUs; see wait.h.
 */
#include "mm/wait.h"
#include "mm/core.h"
#include "mm/vm.h"

static struct spinlock lock;
static struct list_node frame_list, io_list;

void wait_init(void)
{
    lock = (struct spinlock){ 0 };
    list_init(&frame_list);
    list_init(&io_list);
}

struct list_node *wait_io_list(void)
{
    return &io_list;
}

enum mm_answer wait_enlist(struct mm_vcpu *vcpu, enum mm_wait why, struct list_node *list)
{
    if (!vcpu)
        return MM_WAIT;
    spin_lock(&lock);
    list_remove(&vcpu->wait_link);
    vcpu->waiting = why;
    vcpu->wait_since = machine_time_ns();
    list_append(list ? list : &frame_list, &vcpu->wait_link);
    spin_unlock(&lock);
    core_count(MM_HOST_waits, 1);
    return MM_WAIT;
}

/* The lock is held. */
static void finish(struct mm_vcpu *vcpu)
{
    list_remove(&vcpu->wait_link);
    uint64_t now = machine_time_ns();
    if (now > vcpu->wait_since)
        vcpu->vm->stall_ns[vcpu->waiting] += now - vcpu->wait_since;
    vcpu->waiting = MM_WAIT_NONE;
}

void wait_cancel(struct mm_vcpu *vcpu)
{
    if (vcpu->waiting == MM_WAIT_NONE)
        return;
    spin_lock(&lock);
    finish(vcpu);
    spin_unlock(&lock);
}

static struct mm_vcpu *vcpu_of(struct list_node *node)
{
    return container_of(node, struct mm_vcpu, wait_link);
}

void wait_wake_all(struct list_node *list)
{
    spin_lock(&lock);
    while (!list_is_empty(list)) {
        struct mm_vcpu *vcpu = vcpu_of(list->next);
        finish(vcpu);
        if (!vcpu->vm->stopped)
            machine_vcpu_wake(vcpu);
    }
    spin_unlock(&lock);
}

static bool can_go_on(const struct mm_vcpu *vcpu, uint32_t frames)
{
    if (vcpu->waiting == MM_WAIT_HELD)
        return !core.hold || vm_resident(vcpu->vm) <= vcpu->vm->target;
    return frames > 0 && vm_resident(vcpu->vm) < vcpu->vm->config.limit_pages;
}

unsigned wait_wake_frames(void)
{
    unsigned woken = 0;
    uint32_t free = frame_free_count(), reserve = frame_reserve_count();
    uint32_t frames = free > reserve ? free - reserve : 0;
    spin_lock(&lock);
    for (struct list_node *node = frame_list.next, *next; node != &frame_list; node = next) {
        struct mm_vcpu *vcpu = vcpu_of(node);
        next = node->next;
        if (vcpu->vm->stopped || !can_go_on(vcpu, frames))
            continue;
        frames -= frames > 0;
        finish(vcpu);
        machine_vcpu_wake(vcpu);
        woken++;
    }
    spin_unlock(&lock);
    return woken;
}

bool wait_for_frames(void)
{
    bool waiting = false;
    spin_lock(&lock);
    list_for_each(node, &frame_list) waiting |= !vcpu_of(node)->vm->stopped;
    spin_unlock(&lock);
    return waiting;
}

bool wait_of_vm(const struct mm_vm *vm)
{
    bool waiting = false;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        waiting |= vm->vcpus[i]->waiting != MM_WAIT_NONE;
    return waiting;
}
