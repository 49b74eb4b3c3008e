/*
 * The deadline multiplexer of a CPU: every deadline (time slices, guest timers,
 * disk time-outs, the 100 Hz tick, samples) is a struct timer on one sorted list,
 * and the earliest one drives the local APIC timer.
 *
 * Invariant: an armed timer is on the list, the list is sorted by deadline, and
 * equal deadlines fire in the order they were set. Timers fire from the CPU loop
 * (timer_run), never from an interrupt, on the CPU that armed them last.
 *
 * Locks: each list has one. A timer may be moved or cancelled from any CPU, by one at
 * a time: its owner sees to that. It fires with no lock held, so that one that is just
 * being cancelled elsewhere may fire all the same: what fires looks, under the lock of
 * its owner, whether it is due.
 */
#ifndef HV_TIMER_H
#define HV_TIMER_H

#include "lib/list.h"
#include "lib/types.h"

#define TIMER_NEVER UINT64_MAX

/* The hardware never fires sooner than this, also when a deadline has passed: a
 * guest that is entered gets to execute something, however slow the host is. */
#define TIMER_AHEAD_MIN_NS 100000u

struct timer {
    struct list_node link;
    uint64_t deadline; /* clock_now_ns() */
    unsigned cpu;      /* whose list it is on, or was */
    void (*fire)(struct timer *timer, uint64_t now);
    void *context;
};

/* Before the first timer of a CPU other than the boot CPU. */
void timer_join(void);

void timer_init(struct timer *timer, void (*fire)(struct timer *timer, uint64_t now),
                void *context);
/* Arms, or moves, the timer. TIMER_NEVER cancels. */
void timer_set(struct timer *timer, uint64_t deadline);
void timer_cancel(struct timer *timer);
bool timer_is_armed(const struct timer *timer);

/* Fires everything that is due; a timer may set itself again, and fires at most
 * once a call. */
void timer_run(uint64_t now);

/* Programs the local APIC timer for the earliest deadline, when it changed. */
void timer_arm(void);

/* This CPU's hardware timer has fired: the next timer_arm() programs it again. */
void timer_expired(void);

#endif
