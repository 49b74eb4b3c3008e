/*
 * cache: reads pages of a file of ws= bytes through the page cache. Three of
 * four requests go to the first quarter of it. A hit is verified, a miss is
 * filled as if read from a disk. When memory is short the cache shrinks and the
 * hit rate falls; nothing fails.
 */
#include "guest-driver/cache.h"
#include "guest-driver/console.h"
#include "guest-driver/footprint.h"
#include "guest-driver/kernel.h"
#include "guest-driver/page_alloc.h"
#include "guest-driver/workload.h"
#include "lib/rng.h"

#define DEFAULT_PERCENT 60
#define REPORTS         4 /* progress lines */

struct reader {
    const struct options *options;
    struct rng rng;
    uint32_t pages;
    uint64_t hits, corrupt_left;
};

static struct content_id id_of(const struct reader *reader, uint32_t key)
{
    return (struct content_id){ reader->options->seed, key, 0 };
}

static uint32_t choose_key(struct reader *reader)
{
    uint32_t range = rng_below(&reader->rng, 4) ? reader->pages / 4 : reader->pages;
    return (uint32_t)rng_below(&reader->rng, range ? range : 1);
}

static void verify(struct reader *reader, uint32_t key, uint32_t page)
{
    footprint_count(content_verify(page_content(page), &reader->options->mix, id_of(reader, key)),
                    key);
}

/* False: no memory at all. */
static bool request(struct reader *reader)
{
    kernel_poll();
    uint32_t key = choose_key(reader), page = cache_get(key);
    if (page != PAGE_NONE) {
        reader->hits++;
        verify(reader, key, page);
        return true;
    }
    page = cache_add(key);
    if (page == PAGE_NONE)
        return false;
    content_write(page_content(page), &reader->options->mix, id_of(reader, key));
    if (reader->corrupt_left) {
        reader->corrupt_left--;
        page_content(page)[0] ^= 1;
    }
    return true;
}

static void verify_all(struct reader *reader)
{
    for (uint32_t key = 0; key < reader->pages; key++) {
        kernel_poll();
        uint32_t page = cache_get(key);
        if (page != PAGE_NONE)
            verify(reader, key, page);
    }
}

int workload_cache(const struct options *options)
{
    struct reader reader = { .options = options, .corrupt_left = options->corrupt };
    rng_seed(&reader.rng, options->seed);
    reader.pages = workload_pages(options, DEFAULT_PERCENT);
    if (!reader.pages || !cache_init(reader.pages))
        return workload_no_memory("cache", 0);
    uint64_t done = 0;
    for (uint64_t part = 1; part <= REPORTS; part++) {
        uint64_t from = done, hits = reader.hits, end = options->requests * part / REPORTS;
        for (; done < end; done++)
            if (!request(&reader))
                return workload_no_memory("cache", cache_count());
        footprint_report();
        console_line("cache: %lu requests, %lu percent hits, %u pages cached", done,
                     done > from ? (reader.hits - hits) * 100 / (done - from) : 0, cache_count());
        kernel_sleep(options->ticks);
    }
    verify_all(&reader);
    return footprint_finish("cache");
}
