/*
 * large: what first touches and later accesses cost, in ticks of the TSC, which are
 * instructions under Bochs and QEMU's -icount. All of a run's ticks count, the
 * hypervisor's own work in between included. bench/large.py reads the lines
 * `large: NAME TICKS of COUNT`.
 */
#include "guest-driver/console.h"
#include "guest-driver/content.h"
#include "guest-driver/page_alloc.h"
#include "lib/rng.h"
#include "tests/guest/hostile.h"

#define PAGES    3072u
#define ACCESSES 50000u

static inline uint64_t now(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static void tell(const char *name, uint64_t start, unsigned count)
{
    console_line("large: %s %lu of %u", name, now() - start, count);
}

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    struct rng rng;
    hostile_memory_init(&memory, boot);
    uint64_t start = now();
    for (uint32_t i = 0; i < PAGES; i++)
        page_content(memory.first + i)[0] = i;
    tell("first_touch", start, PAGES);
    rng_seed(&rng, 1);
    start = now();
    for (uint32_t i = 0; i < ACCESSES; i++)
        page_content(memory.first + (uint32_t)rng_below(&rng, PAGES))[1] += i;
    tell("random_access", start, ACCESSES);
    for (uint32_t i = 0; i < PAGES; i++)
        if (page_content(memory.first + i)[0] != i)
            return 1;
    return 0;
}
