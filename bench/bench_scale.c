/*
 * Does the core scale? Threads as CPUs, each with a VM of its own, touch zero
 * pages for the first time: the fault that allocates, clears and maps a frame
 * and shares nothing by design. One thread and two take turns, round by round,
 * so that both see the same machine; medians are compared.
 *
 *   make bench-scale
 */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "mm/mm.h"

#define PFN_FIRST 0x10000u
#define PAGES     4096u /* a VM: a millisecond's worth */
#define FRAMES    (4 * PAGES)
#define THREADS   2u
#define ROUNDS    401u

/* ---- the machine below the core ------------------------------------------------------ */

static uint8_t *arena;
static _Thread_local unsigned this_cpu;

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    abort();
}

void log_line(enum log_level level, const char *format, ...)
{
    (void)level, (void)format;
}

void *machine_frame_map(pfn_t frame)
{
    return arena + (uint64_t)(frame.v - PFN_FIRST) * PAGE_SIZE;
}

void machine_flush_vm(struct mm_vm *vm)
{
    (void)vm;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t machine_time_ns(void)
{
    return now_ns();
}

void machine_entropy(void *bytes, size_t size)
{
    memset(bytes, 0x5a, size);
}

unsigned machine_cpu(void)
{
    return this_cpu;
}

void machine_vcpu_wake(struct mm_vcpu *vcpu)
{
    (void)vcpu;
}

void machine_vm_stop(struct mm_vm *vm, enum mm_stop_reason reason)
{
    panic("%s is stopped: %s\n", mm_vm_name(vm), mm_stop_reason_name(reason));
}

void *machine_dma_alloc(size_t size, hpa_t *address)
{
    (void)size, (void)address;
    return NULL;
}

void machine_event(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b)
{
    (void)kind, (void)vm, (void)a, (void)b;
}

/* ---- a round --------------------------------------------------------------------------- */

static struct mm_vm *vms[THREADS];
static struct {
    struct mm_vcpu mm;
} __attribute__((aligned(64))) vcpus[THREADS]; /* two share no cache line */
static unsigned ready, go;

static void *touch_all(void *number)
{
    this_cpu = (unsigned)(uintptr_t)number;
    struct mm_vcpu *vcpu = &vcpus[this_cpu].mm;
    __atomic_fetch_add(&ready, 1, __ATOMIC_ACQ_REL);
    while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
        sched_yield();
    for (uint32_t page = 0; page < PAGES; page++)
        if (mm_fault(vcpu, gfn_to_gpa(gfn(page)), MM_WRITE) != MM_DONE)
            panic("a fault was not answered DONE\n");
    return NULL;
}

static void make_vms(void)
{
    static const char *const names[THREADS] = { "one", "two" };
    for (unsigned i = 0; i < THREADS; i++) {
        struct mm_vm_config config = { .name = names[i],
                                       .pages = PAGES,
                                       .limit_pages = PAGES,
                                       .shares = 1000,
                                       .salt = (uint16_t)(i + 1),
                                       .vcpu_count = 1 };
        if (mm_vm_create(&config, &vms[i], NULL) != MM_ADMIT_OK)
            panic("a VM is refused\n");
        mm_vcpu_init(&vcpus[i].mm, vms[i], 0);
    }
}

/* Faults a second, of all threads together. */
static double round_of(unsigned threads)
{
    pthread_t handles[THREADS];
    make_vms();
    ready = go = 0;
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&handles[i], NULL, touch_all, (void *)(uintptr_t)i);
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < threads)
        sched_yield();
    uint64_t before = now_ns();
    __atomic_store_n(&go, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(handles[i], NULL);
    double seconds = (double)(now_ns() - before) / 1e9;
    for (unsigned i = 0; i < THREADS; i++)
        if (!mm_vm_destroy(vms[i]))
            panic("a VM does not end\n");
    return threads * (double)PAGES / seconds;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The value that `percent` of the rounds do not exceed. */
static double quantile(double *values, unsigned percent)
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS * percent / 100];
}

int main(void)
{
    static double rates[THREADS][ROUNDS];
    struct mm_config config;
    mm_config_default(&config);
    arena = aligned_alloc(PAGE_SIZE, (size_t)FRAMES * PAGE_SIZE);
    memset(arena, 1, (size_t)FRAMES * PAGE_SIZE); /* the host's own faults come first */
    const struct frame_region region = { hpa((uint64_t)PFN_FIRST << PAGE_SHIFT),
                                         (uint64_t)FRAMES * PAGE_SIZE };
    if (!mm_init(&config, &region, 1))
        return 1;
    round_of(THREADS); /* warms up */
    for (unsigned i = 0; i < ROUNDS; i++)
        for (unsigned threads = 1; threads <= THREADS; threads++)
            rates[threads - 1][i] = round_of(threads);
    /* On a machine with other work, the best rounds are those that had both
     * processors to themselves. */
    static const unsigned percents[] = { 50, 95 };
    for (unsigned i = 0; i < 2; i++) {
        double one = quantile(rates[0], percents[i]), two = quantile(rates[1], percents[i]);
        printf("zero-page faults, %u of 100 rounds: %.0f ns on one thread; %.2f million/s on one, "
               "%.2f on two: %.2f times\n",
               percents[i], 1e9 / one, one / 1e6, two / 1e6, two / one);
    }
    char first[160];
    unsigned found = mm_audit(first, sizeof first);
    if (found > 0)
        printf("audit: %u violations, the first: %s\n", found, first);
    free(arena);
    return found > 0;
}
