/*
 * churn: holds about half of the working set, and keeps allocating, freeing,
 * rewriting and reading pages of it, chosen at random. A round is as many
 * actions as the working set has pages.
 */
#include "guest-driver/console.h"
#include "guest-driver/footprint.h"
#include "guest-driver/kernel.h"
#include "guest-driver/page_alloc.h"
#include "guest-driver/workload.h"
#include "lib/rng.h"

#define DEFAULT_PERCENT 60

static bool act(struct footprint *f, struct rng *rng)
{
    uint32_t i = (uint32_t)rng_below(rng, f->capacity);
    if (f->pages[i] == PAGE_NONE)
        return footprint_write(f, i);
    switch (rng_below(rng, 4)) {
    case 0:
    case 1:
        footprint_drop(f, i);
        return true;
    case 2:
        footprint_verify(f, i);
        return footprint_write(f, i);
    default:
        footprint_verify(f, i);
        return true;
    }
}

int workload_churn(const struct options *options)
{
    struct footprint f;
    struct rng rng;
    rng_seed(&rng, options->seed);
    uint32_t pages = workload_pages(options, DEFAULT_PERCENT);
    if (!pages || !footprint_init(&f, pages, options->seed, &options->mix))
        return workload_no_memory("churn", 0);
    for (uint64_t round = 1; round <= options->rounds; round++) {
        for (uint32_t n = 0; n < pages; n++)
            if (!act(&f, &rng))
                return workload_no_memory("churn", n);
        footprint_report();
        console_line("churn: round %lu of %lu", round, options->rounds);
    }
    footprint_corrupt(&f, options->corrupt);
    kernel_sleep(options->ticks);
    footprint_verify_all(&f);
    return footprint_finish("churn");
}
