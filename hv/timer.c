#include "hv/timer.h"
#include "drivers/clock.h"
#include "drivers/irq.h"
#include "hv/cpu.h"

/* By CPU. */
static struct queue {
    struct list_node timers;
    uint64_t armed_for;
} queues[CPU_MAX] = { { { &queues[0].timers, &queues[0].timers }, TIMER_NEVER } };

static struct queue *own(void)
{
    return &queues[cpu_this()->index];
}

void timer_join(void)
{
    list_init(&own()->timers);
    own()->armed_for = TIMER_NEVER;
}

static struct timer *timer_of(struct list_node *node)
{
    return container_of(node, struct timer, link);
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer, uint64_t now), void *context)
{
    list_init(&timer->link);
    timer->deadline = TIMER_NEVER;
    timer->fire = fire;
    timer->context = context;
}

void timer_cancel(struct timer *timer)
{
    list_remove(&timer->link);
    timer->deadline = TIMER_NEVER;
}

void timer_set(struct timer *timer, uint64_t deadline)
{
    timer_cancel(timer);
    if (deadline == TIMER_NEVER)
        return;
    timer->deadline = deadline;
    struct list_node *timers = &own()->timers, *at = timers->next;
    while (at != timers && timer_of(at)->deadline <= deadline)
        at = at->next;
    list_insert_before(at, &timer->link);
}

bool timer_is_armed(const struct timer *timer)
{
    return timer->deadline != TIMER_NEVER;
}

void timer_run(uint64_t now)
{
    struct list_node due, *timers = &own()->timers;
    list_init(&due);
    while (!list_is_empty(timers) && timer_of(timers->next)->deadline <= now)
        list_append(&due, list_pop(timers));
    for (struct list_node *node = list_pop(&due); node; node = list_pop(&due)) {
        timer_of(node)->deadline = TIMER_NEVER;
        timer_of(node)->fire(timer_of(node), now);
    }
}

uint64_t timer_next(void)
{
    const struct list_node *timers = &own()->timers;
    return list_is_empty(timers) ? TIMER_NEVER : timer_of(timers->next)->deadline;
}

void timer_expired(void)
{
    own()->armed_for = TIMER_NEVER;
}

void timer_arm(void)
{
    uint64_t next = timer_next();
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
