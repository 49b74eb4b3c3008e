/*
 * grow: a footprint that goes up and down in phases. Pages are verified before
 * they are given back, and all that are held at the end of the last phase: what
 * is held in between grows cold.
 */
#include "guest-driver/console.h"
#include "guest-driver/footprint.h"
#include "guest-driver/kernel.h"
#include "guest-driver/page_alloc.h"
#include "guest-driver/workload.h"

#define DEFAULT_PERCENT 70

/* Eighths of the working set, phase by phase, again from the start. */
static const uint32_t sizes[] = { 3, 8, 7, 2, 6, 4 };
#define SIZE_COUNT (sizeof(sizes) / sizeof(sizes[0]))

static bool resize(struct footprint *f, uint32_t size)
{
    for (uint32_t i = 0; i < f->capacity; i++) {
        if (i < size && f->pages[i] == PAGE_NONE && !footprint_write(f, i))
            return false;
        if (i >= size && f->pages[i] != PAGE_NONE)
            footprint_drop(f, i);
    }
    return true;
}

int workload_grow(const struct options *options)
{
    struct footprint f;
    uint32_t pages = workload_pages(options, DEFAULT_PERCENT);
    if (!footprint_init(&f, pages, options->seed, &options->mix))
        return workload_no_memory("grow", 0);
    for (uint64_t phase = 0; phase < options->phases; phase++) {
        uint32_t size = (uint32_t)((uint64_t)pages * sizes[phase % SIZE_COUNT] / 8);
        if (!resize(&f, size))
            return workload_no_memory("grow", size);
        console_line("grow: phase %lu of %lu, %u pages", phase + 1, options->phases, size);
        kernel_sleep(options->ticks);
    }
    footprint_corrupt(&f, options->corrupt);
    footprint_verify_all(&f);
    return footprint_finish("grow");
}
