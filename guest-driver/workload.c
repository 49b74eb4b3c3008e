/*
 * The table of workloads, and what they have in common.
 */
#include "guest-driver/workload.h"

#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/footprint.h"
#include "guest-driver/kernel.h"
#include "guest-driver/page_alloc.h"
#include "lib/string.h"
#include "lib/types.h"

static const struct workload workloads[] = {
    { "idle", workload_idle },   { "fill", workload_fill },     { "cache", workload_cache },
    { "churn", workload_churn }, { "clones", workload_clones }, { "grow", workload_grow },
};

const struct workload *workload_find(const char *name)
{
    for (unsigned i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (!strcmp(workloads[i].name, name))
            return &workloads[i];
    return NULL;
}

uint32_t workload_pages(const struct options *options, unsigned percent)
{
    if (options->ws)
        return (uint32_t)(options->ws / PAGE_SIZE);
    return (uint32_t)((uint64_t)page_alloc_free_count() * percent / 100);
}

int workload_no_memory(const char *name, uint32_t held)
{
    footprint_report();
    console_line("%s: no memory after %u pages", name, held);
    return GUEST_STATUS_NO_MEMORY;
}

int workload_idle(const struct options *options)
{
    kernel_sleep(options->ticks);
    return footprint_finish("idle");
}
