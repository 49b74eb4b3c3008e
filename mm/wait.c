/*
 * Waiting vCPUs; see wait.h.
 */
#include "mm/wait.h"
#include "lib/atomic.h"
#include "mm/core.h"
#include "mm/locks.h"
#include "mm/vm.h"

static struct spinlock lock;
static struct list_node frame_list, io_list;

void wait_init(void)
{
    lock = SPINLOCK(RANK_WAIT);
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
    atomic_set(vcpu->waiting, why);
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
        atomic_add(vcpu->vm->stall_ns[vcpu->waiting], now - vcpu->wait_since);
    __atomic_store_n(&vcpu->waiting, MM_WAIT_NONE, __ATOMIC_RELEASE);
}

void wait_cancel(struct mm_vcpu *vcpu)
{
    if (mm_vcpu_waiting(vcpu) != MM_WAIT_NONE)
        wait_forget(vcpu);
}

void wait_forget(struct mm_vcpu *vcpu)
{
    spin_lock(&lock);
    if (vcpu->waiting != MM_WAIT_NONE)
        finish(vcpu);
    spin_unlock(&lock);
}

bool wait_anyone(const struct list_node *list)
{
    spin_lock(&lock);
    bool anyone = !list_is_empty(list);
    spin_unlock(&lock);
    return anyone;
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
        if (!vm_is_stopped(vcpu->vm))
            machine_vcpu_wake(vcpu);
    }
    spin_unlock(&lock);
}

static bool can_go_on(const struct mm_vcpu *vcpu, uint32_t frames)
{
    if (vcpu->waiting == MM_WAIT_HELD)
        return !atomic_get(core.hold) || vm_resident(vcpu->vm) <= atomic_get(vcpu->vm->target);
    return frames > 0 && !vm_is_at_limit(vcpu->vm);
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
        if (vm_is_stopped(vcpu->vm) || !can_go_on(vcpu, frames))
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
    list_for_each(node, &frame_list) waiting |= !vm_is_stopped(vcpu_of(node)->vm);
    spin_unlock(&lock);
    return waiting;
}

bool wait_of_vm(struct mm_vm *vm)
{
    bool waiting = false;
    unsigned count = __atomic_load_n(&vm->vcpu_count, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < count; i++)
        waiting |= mm_vcpu_waiting(vm->vcpus[i]) != MM_WAIT_NONE;
    return waiting;
}
