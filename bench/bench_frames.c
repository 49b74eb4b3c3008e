/*
 * Frames beside general allocators asked for 4 KiB: glibc, and jemalloc and
 * mimalloc where they are installed.
 *
 *   bench_frames ROUNDS
 *
 * hot: one frame taken and given back again and again. churn: one of many held
 * frames, at random, given back and another taken. Nothing is zeroed.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/machine.h"
#include "bench/measure.h"
#include "lib/rng.h"

#define HOT   1000000u
#define HELD  16384u
#define CHURN 400000u

static void *ours_take(size_t size)
{
    (void)size;
    return (void *)(uintptr_t)frame_alloc(FRAME_POOL, FRAME_ORDINARY).v;
}

static void ours_give(void *frame)
{
    frame_free(pfn((uint32_t)(uintptr_t)frame));
}

struct allocator {
    const char *name;
    void *(*take)(size_t size);
    void (*give)(void *memory);
};

static double run_hot(const struct allocator *a)
{
    uint64_t start = measure_now_ns();
    for (uint32_t i = 0; i < HOT; i++) {
        void *volatile frame = a->take(PAGE_SIZE);
        a->give(frame);
    }
    return (double)(measure_now_ns() - start) / HOT;
}

static double run_churn(const struct allocator *a)
{
    static void *held[HELD];
    struct rng rng;
    rng_seed(&rng, 1);
    for (uint32_t i = 0; i < HELD; i++)
        held[i] = a->take(PAGE_SIZE);
    uint64_t start = measure_now_ns();
    for (uint32_t i = 0; i < CHURN; i++) {
        uint32_t one = (uint32_t)rng_next(&rng) % HELD;
        a->give(held[one]);
        held[one] = a->take(PAGE_SIZE);
    }
    uint64_t spent = measure_now_ns() - start;
    for (uint32_t i = 0; i < HELD; i++)
        a->give(held[i]);
    return (double)spent / CHURN;
}

static struct allocator allocators[4] = {
    { "ballast", ours_take, ours_give },
    { "glibc", malloc, free },
};

static unsigned add(unsigned count, const char *name, const char *library, const char *take,
                    const char *give)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        measure_skip(name, dlerror());
        return count;
    }
    *(void **)&allocators[count].take = dlsym(handle, take);
    *(void **)&allocators[count].give = dlsym(handle, give);
    allocators[count].name = name;
    return count + 1;
}

int main(int argc, char **argv)
{
    static double hot[4][MEASURE_ROUNDS_MAX], churn[4][MEASURE_ROUNDS_MAX];
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    if (rounds < 1 || rounds > MEASURE_ROUNDS_MAX) {
        fprintf(stderr, "bench_frames ROUNDS\n");
        return 2;
    }
    struct frame_region region = machine_start(HELD * 2);
    if (!frame_init(&region, 1))
        return 1;
    unsigned count = add(2, "mimalloc", "libmimalloc.so.2", "mi_malloc", "mi_free");
    count = add(count, "jemalloc", "libjemalloc.so.2", "malloc", "free");
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < count; i++) {
            hot[i][round] = run_hot(&allocators[i]);
            churn[i][round] = run_churn(&allocators[i]);
        }
    double ours_hot = measure_median(hot[0], rounds), ours_churn = measure_median(churn[0], rounds);
    for (unsigned i = 1; i < count; i++) {
        measure_figure("frame taken and given back, hot", "4 KiB", "ns", ours_hot,
                       allocators[i].name, measure_median(hot[i], rounds), 0);
        measure_figure("frame taken and given back, churn", "4 KiB", "ns", ours_churn,
                       allocators[i].name, measure_median(churn[i], rounds), 0);
    }
    return 0;
}
