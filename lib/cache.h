/*
 * Memory taken out of the processor's caches (SDM volume 2, CLFLUSH): out of all of
 * them, of all CPUs, once cache_fence() is passed.
 */
#ifndef LIB_CACHE_H
#define LIB_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64u
#define CACHE_STEP (8 * CACHE_LINE)

static inline void cache_evict_line(const void *at)
{
    __asm__ volatile("clflush (%0)" : : "r"(at) : "memory");
}

/* The line that begins at `at` and the three behind it. */
static inline void cache_evict_four(const void *at)
{
    __asm__ volatile("clflush (%0)\n\t"
                     "clflush 64(%0)\n\t"
                     "clflush 128(%0)\n\t"
                     "clflush 192(%0)"
                     :
                     : "r"(at)
                     : "memory");
}

/* from: the start of a line. bytes: rounded up to CACHE_STEP; all of that is mapped. */
static inline void cache_evict(const void *from, size_t bytes)
{
    const char *end = (const char *)from + bytes;
    for (const char *at = from; at < end; at += CACHE_STEP) {
        cache_evict_four(at);
        cache_evict_four(at + CACHE_STEP / 2);
    }
}

static inline void cache_fence(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

#endif
