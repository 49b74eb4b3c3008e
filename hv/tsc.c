#include "hv/tsc.h"
#include "drivers/clock.h"
#include "hv/cpu.h"
#include "hv/x86.h"
#include "lib/log.h"

#define QUESTIONS  64u
#define SETTINGS   4u /* of the counter, before it is given up */
#define PATIENCE_S 2u /* seconds without an answer */

enum request { ASK_COUNTER = 1, ASK_SETTING, ASK_GOOD, ASK_BAD };

/* One new CPU at a time (hv/cpus.c). A question is answered when both numbers agree. */
static struct {
    unsigned asked, answered;
    enum request request;
    uint64_t counter; /* the answer */
    int64_t ahead;    /* what is to be taken off it */
} talk;

struct bounds {
    int64_t low, high; /* how far the new CPU's counter is ahead */
};

static void set_back(int64_t ahead)
{
    x86_wrmsr(MSR_TSC, x86_rdtsc() - (uint64_t)ahead);
}

bool tsc_follow(void)
{
    for (unsigned number = __atomic_load_n(&talk.answered, __ATOMIC_RELAXED) + 1;; number++) {
        while (__atomic_load_n(&talk.asked, __ATOMIC_ACQUIRE) != number)
            __builtin_ia32_pause();
        enum request request = talk.request;
        if (request == ASK_COUNTER)
            talk.counter = x86_rdtsc();
        else if (request == ASK_SETTING)
            set_back(talk.ahead);
        __atomic_store_n(&talk.answered, number, __ATOMIC_RELEASE);
        if (request >= ASK_GOOD)
            return request == ASK_GOOD;
    }
}

/* False: no answer. */
static bool ask(enum request request)
{
    unsigned number = talk.asked + 1;
    uint64_t start = x86_rdtsc();
    talk.request = request;
    __atomic_store_n(&talk.asked, number, __ATOMIC_RELEASE);
    while (__atomic_load_n(&talk.answered, __ATOMIC_ACQUIRE) != number) {
        if (x86_rdtsc() - start > PATIENCE_S * clock_tsc_hz())
            return false;
        __builtin_ia32_pause();
    }
    return true;
}

/* What is read between two readings of one's own is no older and no younger. */
static bool measure(struct bounds *bounds)
{
    *bounds = (struct bounds){ INT64_MIN, INT64_MAX };
    for (unsigned i = 0; i < QUESTIONS; i++) {
        uint64_t before = x86_rdtsc();
        if (!ask(ASK_COUNTER))
            return false;
        uint64_t after = x86_rdtsc();
        int64_t low = (int64_t)(talk.counter - after), high = (int64_t)(talk.counter - before);
        bounds->low = low > bounds->low ? low : bounds->low;
        bounds->high = high < bounds->high ? high : bounds->high;
    }
    return true;
}

static bool holds_zero(const struct bounds *bounds)
{
    return bounds->low <= 0 && bounds->high >= 0;
}

void tsc_lead(const struct cpu *cpu)
{
    struct bounds first, now;
    if (!measure(&first))
        return; /* hv/cpus.c notices */
    now = first;
    for (unsigned i = 0; !holds_zero(&now) && i < SETTINGS; i++) {
        talk.ahead = now.low / 2 + now.high / 2;
        if (!ask(ASK_SETTING) || !measure(&now))
            return;
    }
    if (!holds_zero(&first))
        log_warn("cpus: the time stamp counter of CPU %u is %lld to %lld ticks ahead: %s",
                 cpu->index, (long long)first.low, (long long)first.high,
                 holds_zero(&now) ? "set" : "it cannot be set");
    ask(holds_zero(&now) ? ASK_GOOD : ASK_BAD);
}
