#include "hv/timer.h"
#include "drivers/clock.h"
#include "drivers/irq.h"
#include "hv/cpu.h"
#include "hv/locks.h"

/* By CPU. */
static struct queue {
    struct spinlock lock;
    struct list_node timers;
    uint64_t first;     /* the earliest deadline; read without the lock by its own CPU */
    uint64_t armed_for; /* its CPU's alone */
} __attribute__((aligned(64))) queues[CPU_MAX] = {
    { SPINLOCK(RANK_TIMERS), { &queues[0].timers, &queues[0].timers }, TIMER_NEVER, TIMER_NEVER }
};

static struct queue *own(void)
{
    return &queues[cpu_this()->index];
}

void timer_join(void)
{
    struct queue *queue = own();
    queue->lock = SPINLOCK(RANK_TIMERS);
    list_init(&queue->timers);
    queue->first = queue->armed_for = TIMER_NEVER;
}

static struct timer *timer_of(struct list_node *node)
{
    return container_of(node, struct timer, link);
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer, uint64_t now), void *context)
{
    list_init(&timer->link);
    timer->deadline = TIMER_NEVER;
    timer->cpu = 0;
    timer->fire = fire;
    timer->context = context;
}

static void note_first(struct queue *queue)
{
    uint64_t first =
        list_is_empty(&queue->timers) ? TIMER_NEVER : timer_of(queue->timers.next)->deadline;
    __atomic_store_n(&queue->first, first, __ATOMIC_RELAXED);
}

/* It may be on the list of those that are about to fire, which the same lock guards. */
void timer_cancel(struct timer *timer)
{
    struct queue *queue = &queues[timer->cpu];
    spin_lock(&queue->lock);
    list_remove(&timer->link);
    timer->deadline = TIMER_NEVER;
    note_first(queue);
    spin_unlock(&queue->lock);
}

void timer_set(struct timer *timer, uint64_t deadline)
{
    struct queue *queue = own();
    if (timer->cpu != cpu_this()->index || deadline == TIMER_NEVER)
        timer_cancel(timer);
    if (deadline == TIMER_NEVER)
        return;
    spin_lock(&queue->lock);
    list_remove(&timer->link);
    timer->cpu = cpu_this()->index;
    timer->deadline = deadline;
    struct list_node *timers = &queue->timers, *at = timers->next;
    while (at != timers && timer_of(at)->deadline <= deadline)
        at = at->next;
    list_insert_before(at, &timer->link);
    note_first(queue);
    spin_unlock(&queue->lock);
}

bool timer_is_armed(const struct timer *timer)
{
    return timer->deadline != TIMER_NEVER;
}

static struct timer *pop(struct queue *queue, struct list_node *due)
{
    spin_lock(&queue->lock);
    struct list_node *node = list_pop(due);
    if (node)
        timer_of(node)->deadline = TIMER_NEVER;
    spin_unlock(&queue->lock);
    return node ? timer_of(node) : NULL;
}

void timer_run(uint64_t now)
{
    struct queue *queue = own();
    if (__atomic_load_n(&queue->first, __ATOMIC_RELAXED) > now)
        return;
    struct list_node due, *timers = &queue->timers;
    list_init(&due);
    spin_lock(&queue->lock);
    while (!list_is_empty(timers) && timer_of(timers->next)->deadline <= now)
        list_append(&due, list_pop(timers));
    note_first(queue);
    spin_unlock(&queue->lock);
    for (struct timer *timer = pop(queue, &due); timer; timer = pop(queue, &due))
        timer->fire(timer, now);
}

void timer_expired(void)
{
    own()->armed_for = TIMER_NEVER;
}

void timer_arm(void)
{
    uint64_t next = __atomic_load_n(&own()->first, __ATOMIC_RELAXED);
    if (next == own()->armed_for)
        return;
    own()->armed_for = next;
    uint64_t now = clock_now_ns();
    uint64_t ahead = next > now ? next - now : 0;
    if (next == TIMER_NEVER)
        irq_timer_arm(0);
    else
        irq_timer_arm(ahead > TIMER_AHEAD_MIN_NS ? ahead : TIMER_AHEAD_MIN_NS);
}
