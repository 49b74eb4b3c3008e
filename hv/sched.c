#include "hv/sched.h"
#include "drivers/irq.h"
#include "drivers/lapic.h"
#include "hv/cpu.h"
#include "hv/cpus.h"
#include "hv/guest.h"
#include "hv/timer.h"
#include "hv/vm.h"

#define STRIDE_ONE (1ull << 20)
/* Slices between two looks at the queues of others. */
#define BALANCE_SLICES 8u

/* By CPU. */
static struct queue {
    struct list_node vcpus;
    unsigned vcpu_count;
    struct vcpu *current;     /* whose slice it is */
    uint64_t virtual_time;    /* pass of the last vCPU chosen */
    struct timer slice_timer; /* makes a running guest exit when its slice is over */
    bool slice_over;
    unsigned slice_count;
} queues[CPU_MAX];
static uint64_t slice_ns;

static struct vcpu *vcpu_of(struct list_node *node)
{
    return container_of(node, struct vcpu, run_link);
}

static void slice_fire(struct timer *timer, uint64_t now)
{
    (void)now;
    struct queue *queue = timer->context;
    queue->slice_over = true;
}

void sched_join(void)
{
    struct queue *queue = &queues[cpu_this()->index];
    timer_init(&queue->slice_timer, slice_fire, queue);
}

void sched_init(uint32_t slice_ms)
{
    slice_ns = (uint64_t)(slice_ms ? slice_ms : 1) * 1000000u;
    for (unsigned i = 0; i < CPU_MAX; i++)
        list_init(&queues[i].vcpus);
    sched_join();
}

static void queue_add(unsigned cpu, struct vcpu *vcpu)
{
    vcpu->cpu = cpu;
    list_append(&queues[cpu].vcpus, &vcpu->run_link);
    queues[cpu].vcpu_count++;
}

static void queue_remove(struct vcpu *vcpu)
{
    list_remove(&vcpu->run_link);
    queues[vcpu->cpu].vcpu_count--;
}

void sched_add(struct vcpu *vcpu, uint32_t cpu_shares)
{
    unsigned cpu = 0;
    for (unsigned i = 1; i < cpu_count(); i++)
        if (queues[i].vcpu_count < queues[cpu].vcpu_count)
            cpu = i;
    vcpu->stride = STRIDE_ONE / (cpu_shares ? cpu_shares : 1);
    if (!vcpu->stride)
        vcpu->stride = 1;
    vcpu->pass = queues[cpu].virtual_time;
    vcpu->on = VCPU_ON_NONE;
    list_init(&vcpu->run_link);
    queue_add(cpu, vcpu);
}

void sched_remove(struct vcpu *vcpu)
{
    struct queue *queue = &queues[vcpu->cpu];
    queue_remove(vcpu);
    if (queue->current == vcpu)
        queue->current = NULL;
}

bool sched_is_runnable(struct vcpu *vcpu)
{
    if (vcpu->vm->state != VM_RUNNING || vcpu->mm.waiting != MM_WAIT_NONE)
        return false;
    if (vcpu->init_requested)
        return true;
    if (vcpu->parked)
        return vcpu->startup_page >= 0;
    if (vcpu->halted && dev_lapic_pending(vm_lapic(vcpu)) >= 0)
        vcpu->halted = false;
    return !vcpu->halted;
}

/* ---- between CPUs ------------------------------------------------------------- */

static unsigned runnable_count(struct queue *queue)
{
    unsigned count = 0;
    list_for_each(node, &queue->vcpus) count += sched_is_runnable(vcpu_of(node));
    return count;
}

/* The vCPU of another queue that may change CPU now, of the lowest pass. */
static struct vcpu *movable(struct queue *queue)
{
    struct vcpu *best = NULL;
    list_for_each(node, &queue->vcpus)
    {
        struct vcpu *vcpu = vcpu_of(node);
        if (vcpu->on == VCPU_ON_NONE && vcpu != queue->current && sched_is_runnable(vcpu) &&
            (!best || vcpu->pass < best->pass))
            best = vcpu;
    }
    return best;
}

/* Keeps the distance to the virtual time of its queue. */
static void pull(struct vcpu *vcpu, unsigned to)
{
    uint64_t from_time = queues[vcpu->cpu].virtual_time;
    uint64_t ahead = vcpu->pass > from_time ? vcpu->pass - from_time : 0;
    queue_remove(vcpu);
    vcpu->pass = queues[to].virtual_time + ahead;
    queue_add(to, vcpu);
}

/* Takes a vCPU from the queue with the most runnable ones, when those are more
 * than this CPU's own. */
static void balance(struct queue *own)
{
    unsigned most = runnable_count(own);
    if (most && ++own->slice_count % BALANCE_SLICES)
        return;
    struct vcpu *chosen = NULL;
    for (unsigned i = 0; i < cpu_count(); i++) {
        unsigned count = &queues[i] == own ? 0 : runnable_count(&queues[i]);
        struct vcpu *vcpu = count > most ? movable(&queues[i]) : NULL;
        if (!vcpu)
            continue;
        chosen = vcpu;
        most = count;
    }
    if (chosen)
        pull(chosen, cpu_this()->index);
}

static bool wake_one_idle(void)
{
    for (unsigned i = 0; i < cpu_count(); i++)
        if (cpu_get(i)->idle) {
            cpus_wake(cpu_get(i));
            return true;
        }
    return false;
}

void sched_wake(struct vcpu *vcpu)
{
    vcpu->quiet = false;
    if (cpu_count() == 1)
        return;
    struct cpu *home = cpu_get(vcpu->cpu);
    if (guest_is_inside(vcpu))
        lapic_send_interrupt(home->apic_id, IRQ_VECTOR_WAKE);
    else if (home->idle)
        cpus_wake(home);
    else
        wake_one_idle();
}

/* ---- on one CPU ----------------------------------------------------------------- */

static struct vcpu *lowest_pass(struct queue *queue)
{
    struct vcpu *best = NULL;
    list_for_each(node, &queue->vcpus)
    {
        struct vcpu *vcpu = vcpu_of(node);
        if (!sched_is_runnable(vcpu)) {
            /* Catches up when it wakes. */
            if (vcpu->pass < queue->virtual_time)
                vcpu->pass = queue->virtual_time;
            continue;
        }
        if (!best || vcpu->pass < best->pass)
            best = vcpu;
    }
    return best;
}

struct vcpu *sched_pick(uint64_t now)
{
    struct queue *queue = &queues[cpu_this()->index];
    if (queue->current && !queue->slice_over && sched_is_runnable(queue->current))
        return queue->current;
    if (cpu_count() > 1)
        balance(queue);
    struct vcpu *vcpu = queue->current = lowest_pass(queue);
    if (!vcpu) {
        timer_cancel(&queue->slice_timer);
        return NULL;
    }
    /* Equal passes take turns. */
    list_remove(&vcpu->run_link);
    list_append(&queue->vcpus, &vcpu->run_link);
    if (vcpu->pass > queue->virtual_time)
        queue->virtual_time = vcpu->pass;
    queue->slice_over = false;
    timer_set(&queue->slice_timer, now + slice_ns);
    return vcpu;
}

void sched_charge(struct vcpu *vcpu, uint64_t ns)
{
    vcpu->run_ns += ns;
    vcpu->pass += (ns >> 10) * vcpu->stride;
}
