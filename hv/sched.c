#include "hv/sched.h"
#include "hv/timer.h"
#include "hv/vm.h"

#define STRIDE_ONE (1ull << 20)

static struct list_node vcpus = { &vcpus, &vcpus };
static struct vcpu *current;  /* whose slice it is */
static uint64_t virtual_time; /* pass of the last vCPU chosen */
static uint64_t slice_ns;
static struct timer slice_timer; /* makes a running guest exit when its slice is over */
static bool slice_over;

static struct vcpu *vcpu_of(struct list_node *node)
{
    return container_of(node, struct vcpu, run_link);
}

static void slice_fire(struct timer *timer, uint64_t now)
{
    (void)timer;
    (void)now;
    slice_over = true;
}

void sched_init(uint32_t slice_ms)
{
    slice_ns = (uint64_t)(slice_ms ? slice_ms : 1) * 1000000u;
    timer_init(&slice_timer, slice_fire, NULL);
}

void sched_add(struct vcpu *vcpu, uint32_t cpu_shares)
{
    vcpu->stride = STRIDE_ONE / (cpu_shares ? cpu_shares : 1);
    if (!vcpu->stride)
        vcpu->stride = 1;
    vcpu->pass = virtual_time;
    list_init(&vcpu->run_link);
    list_append(&vcpus, &vcpu->run_link);
}

void sched_remove(struct vcpu *vcpu)
{
    list_remove(&vcpu->run_link);
    if (current == vcpu)
        current = NULL;
}

bool sched_is_runnable(struct vcpu *vcpu)
{
    if (vcpu->vm->state != VM_RUNNING || vcpu->mm.waiting != MM_WAIT_NONE)
        return false;
    if (vcpu->halted && dev_lapic_pending(vm_lapic(vcpu)) >= 0)
        vcpu->halted = false;
    return !vcpu->halted;
}

static struct vcpu *lowest_pass(void)
{
    struct vcpu *best = NULL;
    list_for_each(node, &vcpus)
    {
        struct vcpu *vcpu = vcpu_of(node);
        if (!sched_is_runnable(vcpu)) {
            /* Catches up when it wakes. */
            if (vcpu->pass < virtual_time)
                vcpu->pass = virtual_time;
            continue;
        }
        if (!best || vcpu->pass < best->pass)
            best = vcpu;
    }
    return best;
}

struct vcpu *sched_pick(uint64_t now)
{
    if (current && !slice_over && sched_is_runnable(current))
        return current;
    current = lowest_pass();
    if (!current) {
        timer_cancel(&slice_timer);
        return NULL;
    }
    /* Equal passes take turns. */
    list_remove(&current->run_link);
    list_append(&vcpus, &current->run_link);
    if (current->pass > virtual_time)
        virtual_time = current->pass;
    slice_over = false;
    timer_set(&slice_timer, now + slice_ns);
    return current;
}

void sched_charge(struct vcpu *vcpu, uint64_t ns)
{
    vcpu->run_ns += ns;
    vcpu->pass += (ns >> 10) * vcpu->stride;
}
