/*
 * The workloads, by name. Each runs to its end, verifies all it wrote and
 * returns a GUEST_STATUS_*.
 */
#ifndef GUEST_WORKLOAD_H
#define GUEST_WORKLOAD_H

#include "guest-driver/options.h"

struct workload {
    const char *name;
    int (*run)(const struct options *options);
};

/* NULL: no such workload. */
const struct workload *workload_find(const char *name);

/* The pages of the working set: ws=, or `percent` of the free memory. */
uint32_t workload_pages(const struct options *options, unsigned percent);
/* Says that memory ran out after `held` pages; returns the status. */
int workload_no_memory(const char *name, uint32_t held);

int workload_idle(const struct options *options);
int workload_fill(const struct options *options);
int workload_cache(const struct options *options);
int workload_churn(const struct options *options);
int workload_clones(const struct options *options);
int workload_grow(const struct options *options);

#endif
