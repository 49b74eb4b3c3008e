#include "hv/sched.h"
#include "drivers/irq.h"
#include "drivers/lapic.h"
#include "hv/cpu.h"
#include "hv/cpus.h"
#include "hv/locks.h"
#include "hv/timer.h"
#include "hv/vm.h"

#define STRIDE_ONE (1ull << 20)
/* Slices between two looks at the queues of others. */
#define BALANCE_SLICES 8u

/* By CPU. */
static struct queue {
    struct spinlock lock;
    struct list_node vcpus;
    unsigned vcpu_count;
    struct vcpu *current;     /* whose slice it is */
    uint64_t virtual_time;    /* pass of the last vCPU chosen */
    struct timer slice_timer; /* makes a running guest exit when its slice is over */
    bool slice_over;          /* its CPU's alone, as the next one */
    unsigned slice_count;
} __attribute__((aligned(64))) queues[CPU_MAX];
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
    for (unsigned i = 0; i < CPU_MAX; i++) {
        queues[i].lock = SPINLOCK(RANK_RUN_QUEUE);
        list_init(&queues[i].vcpus);
    }
    sched_join();
}

/* ---- queues ------------------------------------------------------------------- */

/* Locks the queue that the vCPU is in. */
static struct queue *lock_queue_of(const struct vcpu *vcpu)
{
    for (;;) {
        unsigned cpu = __atomic_load_n(&vcpu->cpu, __ATOMIC_RELAXED);
        spin_lock(&queues[cpu].lock);
        if (__atomic_load_n(&vcpu->cpu, __ATOMIC_RELAXED) == cpu)
            return &queues[cpu];
        spin_unlock(&queues[cpu].lock);
    }
}

static void lock_both(struct queue *a, struct queue *b)
{
    spin_lock(a < b ? &a->lock : &b->lock);
    spin_lock(a < b ? &b->lock : &a->lock);
}

static void queue_add(unsigned cpu, struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->cpu, cpu, __ATOMIC_RELAXED);
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
    struct queue *queue = lock_queue_of(vcpu);
    queue_remove(vcpu);
    if (queue->current == vcpu)
        queue->current = NULL;
    spin_unlock(&queue->lock);
}

static bool is_runnable(struct vcpu *vcpu)
{
    if (!vm_is_running(vcpu->vm) || mm_vcpu_waiting(&vcpu->mm) != MM_WAIT_NONE)
        return false;
    return vcpu_has_news(vcpu) || vcpu_rest(vcpu) == VCPU_RUNS;
}

static unsigned on_of(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->on, __ATOMIC_SEQ_CST);
}

static uint64_t pass_of(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->pass, __ATOMIC_RELAXED);
}

static void set_pass(struct vcpu *vcpu, uint64_t pass)
{
    __atomic_store_n(&vcpu->pass, pass, __ATOMIC_RELAXED);
}

/* It is in memory, or with this CPU. The queue it is in is locked. */
static bool is_free(const struct vcpu *vcpu)
{
    unsigned on = on_of(vcpu);
    return on == VCPU_ON_NONE || on == cpu_this()->index;
}

static void own(struct vcpu *vcpu, unsigned cpu)
{
    __atomic_store_n(&vcpu->on, cpu, __ATOMIC_SEQ_CST);
}

enum sched_claim sched_claim(struct vcpu *vcpu)
{
    enum sched_claim answer = SCHED_TAKEN;
    struct queue *queue = lock_queue_of(vcpu);
    if (vm_is_running(vcpu->vm) && is_free(vcpu)) {
        answer = on_of(vcpu) == VCPU_ON_NONE ? SCHED_CLAIMED : SCHED_OURS;
        own(vcpu, cpu_this()->index);
    }
    spin_unlock(&queue->lock);
    return answer;
}

bool sched_is_elsewhere(struct vcpu *vcpu)
{
    struct queue *queue = lock_queue_of(vcpu);
    bool elsewhere = !is_free(vcpu);
    spin_unlock(&queue->lock);
    return elsewhere;
}

/* ---- between CPUs ------------------------------------------------------------- */

static unsigned runnable_count(struct queue *queue)
{
    unsigned count = 0;
    list_for_each(node, &queue->vcpus) count += is_runnable(vcpu_of(node));
    return count;
}

/* The vCPU of another queue that may change CPU now, of the lowest pass. */
static struct vcpu *movable(struct queue *queue)
{
    struct vcpu *best = NULL;
    list_for_each(node, &queue->vcpus)
    {
        struct vcpu *vcpu = vcpu_of(node);
        if (on_of(vcpu) == VCPU_ON_NONE && vcpu != queue->current && is_runnable(vcpu) &&
            (!best || pass_of(vcpu) < pass_of(best)))
            best = vcpu;
    }
    return best;
}

/* Keeps the distance to the virtual time of its queue. Both queues are locked. */
static void pull(struct vcpu *vcpu, unsigned to)
{
    uint64_t from_time = queues[vcpu->cpu].virtual_time;
    uint64_t pass = pass_of(vcpu), ahead = pass > from_time ? pass - from_time : 0;
    queue_remove(vcpu);
    set_pass(vcpu, queues[to].virtual_time + ahead);
    queue_add(to, vcpu);
}

static unsigned count_movable(struct queue *queue)
{
    spin_lock(&queue->lock);
    unsigned count = movable(queue) ? runnable_count(queue) : 0;
    spin_unlock(&queue->lock);
    return count;
}

static unsigned count_own(struct queue *queue)
{
    spin_lock(&queue->lock);
    unsigned count = runnable_count(queue);
    spin_unlock(&queue->lock);
    return count;
}

/* Takes a vCPU from the queue with the most runnable ones, when those are more
 * than this CPU's own. */
static void balance(struct queue *mine)
{
    unsigned most = count_own(mine);
    if (most && ++mine->slice_count % BALANCE_SLICES)
        return;
    struct queue *from = NULL;
    for (unsigned i = 0; i < cpu_count(); i++) {
        unsigned count = &queues[i] == mine ? 0 : count_movable(&queues[i]);
        if (count <= most)
            continue;
        from = &queues[i];
        most = count;
    }
    if (!from)
        return;
    lock_both(mine, from);
    struct vcpu *vcpu = movable(from);
    if (vcpu)
        pull(vcpu, cpu_this()->index);
    spin_unlock(&from->lock);
    spin_unlock(&mine->lock);
}

/* Somebody who idles comes for it; nobody does when all are busy. */
static void offer(const struct vcpu *vcpu)
{
    if (cpus_wake(cpu_get(__atomic_load_n(&vcpu->cpu, __ATOMIC_RELAXED))))
        return;
    for (unsigned i = 0; i < cpu_count(); i++)
        if (cpus_wake(cpu_get(i)))
            return;
}

/* Who has looked for something to run meanwhile has passed it by. */
void sched_give_back(struct vcpu *vcpu)
{
    own(vcpu, VCPU_ON_NONE);
    if (cpu_count() > 1 && is_runnable(vcpu))
        offer(vcpu);
}

/* The news are out before it is looked at who has the vCPU: a CPU that takes it
 * after that sees them before it enters the guest, and one that has it gets the
 * interrupt, at the latest in the guest. The same with a CPU about to idle. */
void sched_wake(struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->news, true, __ATOMIC_SEQ_CST);
    if (cpu_count() == 1)
        return;
    unsigned on = on_of(vcpu);
    if (on == cpu_this()->index)
        return;
    if (on != VCPU_ON_NONE)
        lapic_send_interrupt(cpu_get(on)->apic_id, IRQ_VECTOR_WAKE);
    else
        offer(vcpu);
}

/* ---- on one CPU ----------------------------------------------------------------- */

static struct vcpu *lowest_pass(struct queue *queue)
{
    struct vcpu *best = NULL;
    list_for_each(node, &queue->vcpus)
    {
        struct vcpu *vcpu = vcpu_of(node);
        if (!is_runnable(vcpu)) {
            /* Catches up when it wakes. */
            if (pass_of(vcpu) < queue->virtual_time)
                set_pass(vcpu, queue->virtual_time);
            continue;
        }
        if (is_free(vcpu) && (!best || pass_of(vcpu) < pass_of(best)))
            best = vcpu;
    }
    return best;
}

/* Chooses and takes it. The queue is locked. */
static struct vcpu *choose(struct queue *queue, uint64_t now)
{
    struct vcpu *vcpu = queue->current = lowest_pass(queue);
    if (!vcpu) {
        timer_cancel(&queue->slice_timer);
        return NULL;
    }
    /* Equal passes take turns. */
    list_remove(&vcpu->run_link);
    list_append(&queue->vcpus, &vcpu->run_link);
    if (pass_of(vcpu) > queue->virtual_time)
        queue->virtual_time = pass_of(vcpu);
    queue->slice_over = false;
    timer_set(&queue->slice_timer, now + slice_ns);
    own(vcpu, cpu_this()->index);
    return vcpu;
}

static struct vcpu *keep_current(struct queue *queue)
{
    struct vcpu *vcpu = queue->current;
    if (!vcpu || queue->slice_over || !is_runnable(vcpu) || !is_free(vcpu))
        return NULL;
    own(vcpu, cpu_this()->index);
    return vcpu;
}

struct vcpu *sched_pick(uint64_t now)
{
    struct queue *queue = &queues[cpu_this()->index];
    spin_lock(&queue->lock);
    struct vcpu *vcpu = keep_current(queue);
    if (!vcpu && cpu_count() > 1) {
        spin_unlock(&queue->lock);
        balance(queue);
        spin_lock(&queue->lock);
    }
    if (!vcpu)
        vcpu = choose(queue, now);
    spin_unlock(&queue->lock);
    return vcpu;
}

/* By whoever has it. */
void sched_charge(struct vcpu *vcpu, uint64_t ns)
{
    vcpu->run_ns += ns;
    __atomic_fetch_add(&vcpu->pass, (ns >> 10) * vcpu->stride, __ATOMIC_RELAXED);
}
