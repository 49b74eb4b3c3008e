/*
 * fill: writes the working set, then verifies all of it in every round and
 * writes a quarter of it again.
 */
#include "guest-driver/console.h"
#include "guest-driver/footprint.h"
#include "guest-driver/kernel.h"
#include "guest-driver/workload.h"
#include "lib/rng.h"

#define DEFAULT_PERCENT 60

static bool rewrite_quarter(struct footprint *f, struct rng *rng)
{
    for (uint32_t n = f->capacity / 4; n; n--)
        if (!footprint_write(f, (uint32_t)rng_below(rng, f->capacity)))
            return false;
    return true;
}

int workload_fill(const struct options *options)
{
    struct footprint f;
    struct rng rng;
    rng_seed(&rng, options->seed);
    uint32_t pages = workload_pages(options, DEFAULT_PERCENT);
    if (!footprint_init(&f, pages, options->seed, &options->mix))
        return workload_no_memory("fill", 0);
    for (uint32_t i = 0; i < pages; i++)
        if (!footprint_write(&f, i))
            return workload_no_memory("fill", i);
    console_line("fill: %u pages written", pages);
    for (uint64_t round = 1; round <= options->rounds; round++) {
        kernel_sleep(options->ticks);
        footprint_verify_all(&f);
        if (!rewrite_quarter(&f, &rng))
            return workload_no_memory("fill", pages);
        console_line("fill: round %lu of %lu", round, options->rounds);
    }
    footprint_corrupt(&f, options->corrupt);
    kernel_sleep(options->ticks);
    footprint_verify_all(&f);
    return footprint_finish("fill");
}
