/*
 * The page codec beside liblz4 on the same pages: made-up pages of every kind,
 * and the pages of any files named on the command line.
 *
 *   bench_codec [--rounds N] [FILE ...]
 *
 * Each round times both libraries once over all pages of a set, ours first in
 * even rounds and liblz4 first in odd ones; figures are medians over the rounds,
 * in MB/s of page bytes (10^6), and the mean length of a block. Both decoders
 * read liblz4's blocks. Every page is checked both ways before it is timed.
 */
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mm/codec.h"
#include "tests/host/fake_pages.h"

#define BLOCK_ROOM 4200
#define POOL_LIMIT 3072 /* mm/pool.h: longer blocks are refused */
#define SET_PAGES  256u
#define ROUNDS_MAX 1001u
#define FILE_PAGES 16384u /* of one file, 64 MiB */

struct set {
    const char *name;
    uint32_t count;
    uint8_t (*pages)[PAGE_SIZE];
    uint8_t (*blocks)[BLOCK_ROOM]; /* liblz4's */
    uint32_t *sizes;
};

static uint64_t work[CODEC_WORK_BYTES / 8];
static void *lz4_state;
static uint8_t block[BLOCK_ROOM];
static uint8_t page[PAGE_SIZE];

static uint32_t ours_compress(const struct set *set, uint32_t i)
{
    return codec_compress(set->pages[i], block, BLOCK_ROOM, work);
}

static uint32_t lz4_compress(const struct set *set, uint32_t i)
{
    return (uint32_t)LZ4_compress_fast_extState(lz4_state, (const char *)set->pages[i],
                                                (char *)block, PAGE_SIZE, BLOCK_ROOM, 1);
}

/* With the pool's limit: how soon a page is given up. */
static uint32_t ours_limited(const struct set *set, uint32_t i)
{
    return codec_compress(set->pages[i], block, POOL_LIMIT, work);
}

static uint32_t lz4_limited(const struct set *set, uint32_t i)
{
    return (uint32_t)LZ4_compress_fast_extState(lz4_state, (const char *)set->pages[i],
                                                (char *)block, PAGE_SIZE, POOL_LIMIT, 1);
}

static uint32_t ours_decompress(const struct set *set, uint32_t i)
{
    return codec_decompress(set->blocks[i], set->sizes[i], page);
}

static uint32_t lz4_decompress(const struct set *set, uint32_t i)
{
    return LZ4_decompress_safe((const char *)set->blocks[i], (char *)page, (int)set->sizes[i],
                               PAGE_SIZE) == (int)PAGE_SIZE;
}

typedef uint32_t (*operation)(const struct set *, uint32_t);
#define OPERATIONS 3
static const operation pairs[OPERATIONS][2] = {
    { ours_compress, lz4_compress },
    { ours_limited, lz4_limited },
    { ours_decompress, lz4_decompress },
};

/* Of this thread: what other programs take of the processor does not count. */
static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static volatile uint32_t sink;

static double time_once(operation run, const struct set *set)
{
    uint32_t sum = 0;
    uint64_t start = now_ns();
    for (uint32_t i = 0; i < set->count; i++)
        sum += run(set, i);
    uint64_t end = now_ns();
    sink = sum;
    return (double)set->count * PAGE_SIZE * 1000.0 / (double)(end - start);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[count / 2];
}

static void check(struct set *set, double *ours_mean, double *lz4_mean)
{
    uint64_t ours = 0, lz4 = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t size = ours_compress(set, i);
        ours += size;
        if (LZ4_decompress_safe((char *)block, (char *)page, (int)size, PAGE_SIZE) != PAGE_SIZE ||
            memcmp(page, set->pages[i], PAGE_SIZE) != 0)
            abort();
        set->sizes[i] = lz4_compress(set, i);
        lz4 += set->sizes[i];
        memcpy(set->blocks[i], block, set->sizes[i]);
        if (!codec_decompress(block, set->sizes[i], page) ||
            memcmp(page, set->pages[i], PAGE_SIZE) != 0)
            abort();
    }
    *ours_mean = (double)ours / set->count;
    *lz4_mean = (double)lz4 / set->count;
}

static void measure(struct set *set, unsigned rounds)
{
    static double speed[OPERATIONS][2][ROUNDS_MAX];
    double ours_mean, lz4_mean;
    check(set, &ours_mean, &lz4_mean);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned p = 0; p < OPERATIONS; p++)
            for (unsigned turn = 0; turn < 2; turn++) {
                unsigned which = turn ^ (round & 1);
                speed[p][which][round] = time_once(pairs[p][which], set);
            }
    printf("%-20.20s %6u  %6.0f %6.0f", set->name, set->count, ours_mean, lz4_mean);
    for (unsigned p = 0; p < OPERATIONS; p++) {
        double ours = median(speed[p][0], rounds), lz4 = median(speed[p][1], rounds);
        printf("  %6.0f %6.0f %5.2f", ours, lz4, ours / lz4);
    }
    printf("\n");
}

static struct set make_set(const char *name, uint32_t count)
{
    struct set set = { .name = name, .count = count };
    set.pages = calloc(count, sizeof(*set.pages));
    set.blocks = calloc(count, sizeof(*set.blocks));
    set.sizes = calloc(count, sizeof(*set.sizes));
    if (!set.pages || !set.blocks || !set.sizes)
        abort();
    return set;
}

static void free_set(struct set *set)
{
    free(set->pages);
    free(set->blocks);
    free(set->sizes);
}

/* The whole pages of a file; uniform ones are left out, as the core does. */
static void measure_file(const char *path, unsigned rounds)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    struct set set = make_set(strrchr(path, '/') ? strrchr(path, '/') + 1 : path, FILE_PAGES);
    uint32_t count = 0;
    while (count < FILE_PAGES && fread(set.pages[count], PAGE_SIZE, 1, file) == 1)
        count += memcmp(set.pages[count], set.pages[count] + 8, PAGE_SIZE - 8) != 0;
    fclose(file);
    set.count = count;
    if (count)
        measure(&set, rounds);
    free_set(&set);
}

int main(int argc, char **argv)
{
    unsigned rounds = 21;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--rounds") == 0) {
        rounds = (unsigned)atoi(argv[2]);
        first = 3;
    }
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "rounds: 1 to %u\n", ROUNDS_MAX);
        return 2;
    }
    lz4_state = malloc((size_t)LZ4_sizeofState());
    printf("liblz4 %s, %u rounds; MB/s of page bytes, ratio above 1: ours is faster\n\n",
           LZ4_versionString(), rounds);
    printf("%-20s %6s  %13s  %20s  %20s  %20s\n", "", "", "mean block", "compress",
           "compress to 3072", "decompress");
    printf("%-20s %6s  %6s %6s", "set", "pages", "ours", "lz4");
    for (unsigned p = 0; p < OPERATIONS; p++)
        printf("  %6s %6s %5s", "ours", "lz4", "ratio");
    printf("\n");
    struct rng rng;
    rng_seed(&rng, 1);
    for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
        struct set set = make_set(fake_page_kind_name((enum page_kind)kind), SET_PAGES);
        for (uint32_t i = 0; i < SET_PAGES; i++)
            fake_page_make((enum page_kind)kind, &rng, set.pages[i]);
        measure(&set, rounds);
        free_set(&set);
    }
    for (int i = first; i < argc; i++)
        measure_file(argv[i], rounds);
    free(lz4_state);
    return 0;
}
