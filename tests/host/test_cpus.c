/*
 * The hypervisor's run queues, deadlines and the stopping of the world, with threads
 * as CPUs, under ThreadSanitizer. What a CPU does in its loop (hv/loop.c) is done here
 * in the same order, with a guest that halts and posts work to other vCPUs.
 *
 * Must hold: one CPU at a time has a vCPU; every piece of work posted is seen, however
 * its vCPU and the CPUs sleep; deadlines that are moved or cancelled on other CPUs fire
 * once or not at all; nobody is inside while the world is stopped.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/lock.h"
#include "lib/rng.h"

/* ---- CPUs made of threads: in the place of hv/cpu.h ------------------------------- */

#define HV_CPU_H
#define CPU_MAX 4u
struct vcpu;
struct cpu {
    unsigned index;
    uint32_t apic_id;
    bool idle, outside;
    struct vcpu *holds;
    bool interrupt;    /* pending */
    uint64_t deadline; /* of its timer */
    bool inside;       /* does what nobody may do while the world is stopped */
};
static struct cpu cpus[CPU_MAX + 1]; /* the last one: the computer around them */
static _Thread_local unsigned this_index;

static inline struct cpu *cpu_this(void)
{
    return &cpus[this_index];
}

static inline unsigned cpu_count(void)
{
    return CPU_MAX;
}

static inline struct cpu *cpu_get(unsigned index)
{
    return &cpus[index];
}

#include "hv/park.c"
#undef NOBODY
/* Each file has a struct queue of its own. */
#define queue  timer_queue
#define queues timer_queues
#define own    timer_own
#include "hv/timer.c"
#undef queue
#undef queues
#undef own
#include "hv/sched.c"

#define VCPUS     7u
#define POSTS     40000u
#define ENTRIES   8u
#define SECONDS   100u
#define STILL_MAX 20000u /* rounds of the hardware without progress */

static uint64_t now_ns;

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    abort();
}

unsigned lock_cpu(void)
{
    return this_index;
}

void lock_relax(unsigned turns)
{
    if (turns % 64 == 63)
        sched_yield();
}

uint64_t clock_now_ns(void)
{
    return __atomic_load_n(&now_ns, __ATOMIC_RELAXED);
}

void irq_timer_arm(uint64_t ns)
{
    __atomic_store_n(&cpu_this()->deadline, ns ? clock_now_ns() + ns : TIMER_NEVER,
                     __ATOMIC_RELAXED);
}

static void interrupt(struct cpu *cpu)
{
    __atomic_store_n(&cpu->interrupt, true, __ATOMIC_SEQ_CST);
}

void lapic_send_interrupt(uint32_t id, uint8_t vector)
{
    (void)vector;
    interrupt(&cpus[id]);
}

bool cpus_wake(struct cpu *cpu)
{
    if (!__atomic_exchange_n(&cpu->idle, false, __ATOMIC_SEQ_CST))
        return false;
    lapic_send_interrupt(cpu->apic_id, IRQ_VECTOR_WAKE);
    return true;
}

/* ---- guests that post work ---------------------------------------------------------- */

static struct vm vm;
static struct guest {
    struct vcpu vcpu;
    bool executes;
    unsigned work; /* posted to it, and not seen */
    struct timer timer;
    uint64_t expires;
} guests[VCPUS];
static unsigned posted, seen, fired, parks;
static bool stop;

static bool draw_one_of(struct rng *rng, unsigned count)
{
    return rng_below(rng, count) == 0;
}

static void post(struct guest *guest)
{
    __atomic_fetch_add(&guest->work, 1, __ATOMIC_SEQ_CST);
    sched_wake(&guest->vcpu);
}

static void guest_fire(struct timer *timer, uint64_t now)
{
    struct guest *guest = timer->context;
    vm_lock(&vm);
    bool due = now >= guest->expires;
    if (due)
        guest->expires = TIMER_NEVER;
    vm_unlock(&vm);
    if (!due)
        return;
    __atomic_fetch_add(&fired, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&posted, 1, __ATOMIC_SEQ_CST);
    post(guest);
}

static void use_timer(struct guest *guest, struct rng *rng)
{
    vm_lock(&vm);
    bool cancel = draw_one_of(rng, 3);
    guest->expires = cancel ? TIMER_NEVER : clock_now_ns() + rng_below(rng, 4000000);
    timer_set(&guest->timer, guest->expires);
    vm_unlock(&vm);
}

/* Before an entry, as in prepare(). */
static bool prepare(struct guest *guest)
{
    struct vcpu *vcpu = &guest->vcpu;
    __atomic_store_n(&vcpu->news, false, __ATOMIC_SEQ_CST);
    unsigned work = __atomic_exchange_n(&guest->work, 0, __ATOMIC_SEQ_CST);
    if (work) {
        __atomic_fetch_add(&seen, work, __ATOMIC_SEQ_CST);
        vcpu_set_rest(vcpu, VCPU_RUNS);
    }
    timer_arm();
    return vcpu_rest(vcpu) == VCPU_RUNS;
}

/* In the guest, until an interrupt or for a while. */
static void execute(struct rng *rng)
{
    park_leave();
    for (uint64_t i = rng_below(rng, 40); i > 0; i--)
        if (__atomic_load_n(&cpu_this()->interrupt, __ATOMIC_SEQ_CST))
            break;
    park_enter();
}

static void act(struct guest *guest, struct rng *rng)
{
    if (draw_one_of(rng, 2) && __atomic_load_n(&posted, __ATOMIC_RELAXED) < POSTS) {
        __atomic_fetch_add(&posted, 1, __ATOMIC_SEQ_CST);
        post(&guests[rng_below(rng, VCPUS)]);
    }
    if (draw_one_of(rng, 4))
        use_timer(guest, rng);
    if (draw_one_of(rng, 3))
        vcpu_set_rest(&guest->vcpu, VCPU_HALTED);
}

static void run(struct vcpu *vcpu, struct rng *rng)
{
    struct guest *guest = container_of(vcpu, struct guest, vcpu);
    assert_false(__atomic_exchange_n(&guest->executes, true, __ATOMIC_SEQ_CST));
    cpu_this()->holds = vcpu;
    for (unsigned i = 0; i < ENTRIES && prepare(guest); i++) {
        execute(rng);
        act(guest, rng);
        if (__atomic_load_n(&cpu_this()->interrupt, __ATOMIC_SEQ_CST))
            break;
    }
    sched_charge(vcpu, 1000);
    __atomic_store_n(&guest->executes, false, __ATOMIC_SEQ_CST);
}

/* ---- the loop ------------------------------------------------------------------------- */

static void unload_unless(const struct vcpu *chosen)
{
    struct vcpu *vcpu = cpu_this()->holds;
    if (!vcpu || vcpu == chosen)
        return;
    cpu_this()->holds = NULL;
    sched_give_back(vcpu);
}

static void sleep_here(void)
{
    timer_arm();
    park_leave();
    while (!__atomic_load_n(&cpu_this()->interrupt, __ATOMIC_SEQ_CST) &&
           !__atomic_load_n(&stop, __ATOMIC_RELAXED))
        sched_yield();
    park_enter();
}

/* Work on behalf of a vCPU that is not run: somebody else's, perhaps. */
static void pump(struct rng *rng)
{
    struct guest *guest = &guests[rng_below(rng, VCPUS)];
    enum sched_claim claim = sched_claim(&guest->vcpu);
    if (claim == SCHED_TAKEN)
        return;
    assert_false(__atomic_exchange_n(&guest->executes, true, __ATOMIC_SEQ_CST));
    sched_yield(); /* others may look meanwhile */
    __atomic_store_n(&guest->executes, false, __ATOMIC_SEQ_CST);
    if (claim == SCHED_CLAIMED)
        sched_give_back(&guest->vcpu);
}

static void stop_the_world(void)
{
    static struct spinlock lock = SPINLOCK(RANK_REAP);
    if (!spin_try_lock(&lock))
        return;
    __atomic_store_n(&cpu_this()->inside, false, __ATOMIC_SEQ_CST);
    park_others();
    for (unsigned i = 0; i < CPU_MAX; i++)
        assert_false(__atomic_load_n(&cpus[i].inside, __ATOMIC_SEQ_CST));
    parks++;
    park_release();
    spin_unlock(&lock);
}

static void turn(struct rng *rng)
{
    struct cpu *cpu = cpu_this();
    __atomic_store_n(&cpu->inside, true, __ATOMIC_SEQ_CST);
    __atomic_store_n(&cpu->interrupt, false, __ATOMIC_SEQ_CST);
    timer_expired();
    timer_run(clock_now_ns());
    if (draw_one_of(rng, 4))
        pump(rng);
    if (draw_one_of(rng, 50))
        stop_the_world();
    __atomic_store_n(&cpu->inside, false, __ATOMIC_SEQ_CST);
}

static void *loop(void *number)
{
    this_index = (unsigned)(uintptr_t)number;
    struct cpu *cpu = cpu_this();
    struct rng rng;
    rng_seed(&rng, 11 + this_index);
    if (this_index)
        timer_join();
    sched_join();
    park_enter();
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        park_here();
        turn(&rng);
        struct vcpu *next = sched_pick(clock_now_ns());
        unload_unless(next);
        if (!next) {
            __atomic_store_n(&cpu->idle, true, __ATOMIC_SEQ_CST);
            next = sched_pick(clock_now_ns());
            if (!next)
                sleep_here();
            __atomic_store_n(&cpu->idle, false, __ATOMIC_SEQ_CST);
        }
        if (next)
            run(next, &rng);
    }
    unload_unless(NULL);
    park_leave();
    return NULL;
}

static bool is_done(void)
{
    unsigned all = __atomic_load_n(&posted, __ATOMIC_SEQ_CST);
    return all >= POSTS && __atomic_load_n(&seen, __ATOMIC_SEQ_CST) == all;
}

/* Time passes, timers interrupt; then somebody gets something to do. */
static void go_on(void)
{
    uint64_t now = __atomic_add_fetch(&now_ns, 300000, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < CPU_MAX; i++)
        if (__atomic_load_n(&cpus[i].deadline, __ATOMIC_RELAXED) <= now) {
            __atomic_store_n(&cpus[i].deadline, TIMER_NEVER, __ATOMIC_RELAXED);
            interrupt(&cpus[i]);
        }
    unsigned number = __atomic_fetch_add(&posted, 1, __ATOMIC_SEQ_CST);
    post(&guests[number % VCPUS]);
}

/* The computer around them. False: something is lost, nothing moved for long. */
static bool hardware(void)
{
    this_index = CPU_MAX;
    cpus[CPU_MAX].index = CPU_MAX;
    unsigned before = 0;
    for (unsigned still = 0; !is_done() && still < STILL_MAX; still++) {
        unsigned moved = __atomic_load_n(&seen, __ATOMIC_SEQ_CST);
        still = moved == before ? still : 0;
        before = moved;
        /* No deadline comes to the help of what was lost. */
        if (moved == __atomic_load_n(&posted, __ATOMIC_SEQ_CST))
            go_on();
        usleep(50);
    }
    return is_done();
}

static void begin(void)
{
    vm.lock = SPINLOCK(RANK_DEVICES);
    vm.state = VM_RUNNING;
    for (unsigned i = 0; i < CPU_MAX; i++)
        cpus[i] =
            (struct cpu){ .index = i, .apic_id = i, .outside = true, .deadline = TIMER_NEVER };
    sched_init(10);
    for (unsigned i = 0; i < VCPUS; i++) {
        struct guest *guest = &guests[i];
        guest->vcpu.vm = &vm;
        guest->expires = TIMER_NEVER;
        timer_init(&guest->timer, guest_fire, guest);
        sched_add(&guest->vcpu, 1000);
    }
}

static bool run_all(void)
{
    pthread_t threads[CPU_MAX];
    begin();
    for (unsigned i = 0; i < CPU_MAX; i++)
        pthread_create(&threads[i], NULL, loop, (void *)(uintptr_t)i);
    bool done = hardware();
    __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < CPU_MAX; i++)
        pthread_join(threads[i], NULL);
    return done;
}

static void nothing_is_lost(void **state)
{
    (void)state;
    alarm(SECONDS);
    bool done = run_all();
    printf("figure: %u pieces of work posted, %u seen, %u by deadlines, world stopped %u times\n",
           posted, seen, fired, parks);
    assert_true(done);
    assert_true(fired > 0 && parks > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_is_lost) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
