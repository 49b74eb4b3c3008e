/*
 * clones: fills the working set with content common to all VMs that are given
 * the same common=, waits for it to be shared, reads it, then writes a part of
 * it again with content of its own, round by round, and verifies everything.
 */
#include "guest-driver/console.h"
#include "guest-driver/footprint.h"
#include "guest-driver/kernel.h"
#include "guest-driver/workload.h"
#include "lib/rng.h"

#define DEFAULT_PERCENT 60

/* Nothing for the zero and fill homes: what is saved, sharing has saved. */
static const struct content_mix mix_common = { { 30, 70, 0, 0 } };

static bool write_private(struct footprint *f, struct rng *rng, uint64_t percent)
{
    for (uint64_t n = f->capacity * percent / 100; n; n--)
        if (!footprint_write(f, (uint32_t)rng_below(rng, f->capacity)))
            return false;
    return true;
}

int workload_clones(const struct options *options)
{
    struct footprint f;
    struct rng rng;
    rng_seed(&rng, options->seed);
    uint32_t pages = workload_pages(options, DEFAULT_PERCENT);
    if (!footprint_init(&f, pages, options->seed, options->mix_given ? &options->mix : &mix_common))
        return workload_no_memory("clones", 0);
    f.first_seed = options->common;
    for (uint32_t i = 0; i < pages; i++)
        if (!footprint_write(&f, i))
            return workload_no_memory("clones", i);
    console_line("clones: %u common pages written", pages);
    for (uint64_t round = 1; round <= options->rounds; round++) {
        kernel_sleep(options->ticks);
        footprint_verify_all(&f);
        if (!write_private(&f, &rng, options->private_percent))
            return workload_no_memory("clones", pages);
        console_line("clones: round %lu of %lu", round, options->rounds);
    }
    footprint_corrupt(&f, options->corrupt);
    kernel_sleep(options->ticks);
    footprint_verify_all(&f);
    return footprint_finish("clones");
}
