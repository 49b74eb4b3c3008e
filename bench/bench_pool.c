/*
 * The compressed pool beside zram (lz4) on the pages of files.
 *
 *   bench_pool ROUNDS FILE ...
 *
 * Time to store and to load a page; RAM for each stored byte of compressed data
 * when fresh, after churn and after half of the pages were freed, all overhead
 * counted (descriptors, headers, books). Compaction runs with the stores and its
 * time is theirs. zram gets a device of its own, which is removed at the end, and
 * only pages that the pool stores too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench/machine.h"
#include "bench/measure.h"
#include "lib/rng.h"
#include "mm/hash.h"
#include "mm/pool.h"

#define SET_PAGES 8192u
#define CHURN     4u   /* times the number of pages */
#define COMPACT   192u /* objects a call, one for each STORES pages */
#define STORES    16u
#define STRIDE    64u /* pages between two looks at the clock */

static struct pages set;
static pool_location_t at[SET_PAGES];
static bool stored[SET_PAGES];
static uint32_t usable[SET_PAGES], usable_count;
static uint8_t page[PAGE_SIZE] __attribute__((aligned(4096)));
static uint8_t buffer[STRIDE][PAGE_SIZE] __attribute__((aligned(4096)));

static struct pool_owner owner_of(uint32_t i)
{
    return (struct pool_owner){ 1, i };
}

static bool moved(struct pool_owner owner, pool_location_t from, pool_location_t to)
{
    if (at[owner.gfn].v != from.v)
        return false;
    at[owner.gfn] = to;
    return true;
}

static const struct pool_ops ops = { .moved = moved };

static void pool_start(void)
{
    struct frame_region region = machine_start(SET_PAGES * 2);
    if (!frame_init(&region, 1))
        exit(1);
    hash_init();
    pool_init(&ops, SET_PAGES);
    memset(stored, 0, sizeof(stored));
}

static void store(uint32_t i)
{
    stored[i] = pool_store(owner_of(i), set.page[i], &at[i]) == POOL_OK;
}

static void drop(uint32_t i)
{
    if (stored[i])
        pool_free(at[i], owner_of(i));
    stored[i] = false;
}

/* RAM for a byte of blocks. */
static double overhead(void)
{
    struct pool_stats stats;
    pool_stats_get(&stats);
    double ram =
        (double)stats.frames * (PAGE_SIZE + sizeof(struct frame)) + (double)stats.metadata_bytes;
    return ram / (double)stats.object_bytes;
}

static void find_usable(void)
{
    pool_start();
    usable_count = 0;
    for (uint32_t i = 0; i < set.count; i++) {
        store(i);
        if (stored[i])
            usable[usable_count++] = i;
    }
    /* An order that is not the file's. */
    struct rng rng;
    rng_seed(&rng, 1);
    for (uint32_t i = usable_count; i > 1; i--) {
        uint32_t other = (uint32_t)rng_below(&rng, i), kept = usable[i - 1];
        usable[i - 1] = usable[other];
        usable[other] = kept;
    }
}

/* One page dies, another comes; the pool tidies up in small steps. */
static void churn(void)
{
    struct rng rng;
    rng_seed(&rng, 2);
    for (uint32_t i = 0; i < usable_count * CHURN; i++) {
        uint32_t one = usable[rng_below(&rng, usable_count)];
        drop(one);
        store(one);
        if (i % STORES == 0)
            pool_compact(COMPACT);
    }
}

struct result {
    double store, load, fresh, churned, churn_ns, half;
};

/* From pages that were just copied, as zram gets them below. */
static double store_all(void)
{
    uint64_t spent = 0;
    for (uint32_t i = 0; i < usable_count; i += STRIDE) {
        uint32_t count = usable_count - i < STRIDE ? usable_count - i : STRIDE;
        for (uint32_t k = 0; k < count; k++)
            memcpy(buffer[k], set.page[usable[i + k]], PAGE_SIZE);
        uint64_t start = measure_now_ns();
        for (uint32_t k = 0; k < count; k++) {
            uint32_t one = usable[i + k];
            stored[one] = pool_store(owner_of(one), buffer[k], &at[one]) == POOL_OK;
        }
        spent += measure_now_ns() - start;
    }
    return (double)spent / usable_count;
}

static struct result run_pool(void)
{
    struct result result;
    pool_start();
    result.store = store_all();
    result.fresh = overhead();
    uint64_t start = measure_now_ns();
    for (uint32_t i = 0; i < usable_count; i++)
        if (pool_load(at[usable[i]], owner_of(usable[i]), page) != POOL_OK)
            exit(1);
    result.load = (double)(measure_now_ns() - start) / usable_count;
    start = measure_now_ns();
    churn();
    result.churn_ns = (double)(measure_now_ns() - start) / (usable_count * CHURN);
    result.churned = overhead();
    for (uint32_t i = 0; i < usable_count; i += 2)
        drop(usable[i]);
    for (uint32_t i = 0; i < usable_count; i++)
        pool_compact(COMPACT);
    result.half = overhead();
    return result;
}

/* ---- zram ----------------------------------------------------------------------- */

static int zram_number = -1, zram_file = -1;

static bool zram_set(const char *name, const char *value)
{
    char path[96];
    snprintf(path, sizeof(path), "/sys/block/zram%d/%s", zram_number, name);
    return measure_sysfs_write(path, value);
}

static const char *zram_open(void)
{
    char text[32], path[32];
    if (!measure_sysfs_read("/sys/class/zram-control/hot_add", text, sizeof(text)))
        return "no zram here, or not root";
    zram_number = atoi(text);
    if (!zram_set("comp_algorithm", "lz4") || !zram_set("disksize", "268435456"))
        return "zram without lz4";
    snprintf(path, sizeof(path), "/dev/zram%d", zram_number);
    for (int i = 0; i < 100 && zram_file < 0; i++, usleep(10000))
        zram_file = open(path, O_RDWR | O_DIRECT);
    return zram_file < 0 ? "the zram device does not open" : NULL;
}

static void zram_close(void)
{
    char text[32];
    if (zram_file >= 0)
        close(zram_file);
    if (zram_number >= 0) {
        zram_set("reset", "1");
        snprintf(text, sizeof(text), "%d", zram_number);
        measure_sysfs_write("/sys/class/zram-control/hot_remove", text);
    }
}

/* Memory used for a byte of compressed data. */
static double zram_overhead(void)
{
    char path[96], text[256];
    unsigned long long original, compressed, used;
    snprintf(path, sizeof(path), "/sys/block/zram%d/mm_stat", zram_number);
    if (!measure_sysfs_read(path, text, sizeof(text)) ||
        sscanf(text, "%llu %llu %llu", &original, &compressed, &used) != 3 || !compressed)
        return 0;
    return (double)used / (double)compressed;
}

static void zram_write(uint32_t slot, uint32_t i)
{
    memcpy(page, set.page[i], PAGE_SIZE);
    if (pwrite(zram_file, page, PAGE_SIZE, (off_t)slot * PAGE_SIZE) != PAGE_SIZE)
        exit(1);
}

/* Many pages a call, so that the way into the kernel hardly counts. */
static double zram_stream(bool write)
{
    uint64_t spent = 0;
    for (uint32_t i = 0; i + STRIDE <= usable_count; i += STRIDE) {
        for (uint32_t k = 0; k < STRIDE; k++)
            memcpy(buffer[k], set.page[usable[i + k]], PAGE_SIZE);
        uint64_t start = measure_now_ns();
        ssize_t done = write ? pwrite(zram_file, buffer, sizeof(buffer), (off_t)i * PAGE_SIZE)
                             : pread(zram_file, buffer, sizeof(buffer), (off_t)i * PAGE_SIZE);
        spent += measure_now_ns() - start;
        if (done != (ssize_t)sizeof(buffer))
            exit(1);
    }
    return (double)spent / (double)(usable_count / STRIDE * STRIDE);
}

static struct result run_zram(void)
{
    struct result result = { 0 };
    uint32_t count = usable_count / STRIDE * STRIDE;
    struct rng rng;
    uint64_t everything[2] = { 0, 268435456 };
    ioctl(zram_file, BLKDISCARD, everything);
    zram_set("compact", "1");
    result.store = zram_stream(true);
    result.fresh = zram_overhead();
    result.load = zram_stream(false);
    rng_seed(&rng, 2);
    for (uint32_t i = 0; i < count * CHURN; i++) {
        uint32_t slot = (uint32_t)rng_below(&rng, count), other = (uint32_t)rng_below(&rng, count);
        zram_write(slot, usable[other]);
    }
    result.churned = zram_overhead();
    for (uint32_t i = 0; i < count; i += 2) {
        uint64_t range[2] = { (uint64_t)i * PAGE_SIZE, PAGE_SIZE };
        ioctl(zram_file, BLKDISCARD, range);
    }
    result.half = zram_overhead();
    return result;
}

/* ---- both, in turn ----------------------------------------------------------------- */

static void measure(unsigned rounds, const char *no_zram)
{
    static double ours[2][MEASURE_ROUNDS_MAX], theirs[2][MEASURE_ROUNDS_MAX];
    struct result pool = { 0 }, zram = { 0 };
    find_usable();
    if (usable_count < STRIDE)
        return;
    for (unsigned round = 0; round < rounds; round++) {
        pool = run_pool();
        if (!no_zram)
            zram = run_zram();
        ours[0][round] = pool.store, ours[1][round] = pool.load;
        theirs[0][round] = zram.store, theirs[1][round] = zram.load;
    }
    const char *peer = no_zram ? "" : "zram";
    measure_figure("store through the pool", set.name, "ns", measure_median(ours[0], rounds), peer,
                   measure_median(theirs[0], rounds), 0.6);
    measure_figure("load through the pool", set.name, "ns", measure_median(ours[1], rounds), peer,
                   measure_median(theirs[1], rounds), 0.5);
    measure_figure("RAM a stored byte, fresh", set.name, "", pool.fresh, peer, zram.fresh, -1.02);
    measure_figure("RAM a stored byte, churned", set.name, "", pool.churned, peer, zram.churned,
                   -1.05);
    measure_figure("RAM a stored byte, half freed", set.name, "", pool.half, peer, zram.half,
                   -1.10);
    measure_figure("replace in the pool, compaction counted", set.name, "ns", pool.churn_ns, "", 0,
                   0);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    if (rounds < 1 || rounds > MEASURE_ROUNDS_MAX) {
        fprintf(stderr, "bench_pool ROUNDS FILE ...\n");
        return 2;
    }
    const char *no_zram = zram_open();
    if (no_zram)
        measure_skip("zram", no_zram);
    for (int i = 2; i < argc; i++) {
        if (!measure_load(&set, argv[i], SET_PAGES))
            break;
        measure(rounds, no_zram);
        measure_unload(&set);
    }
    zram_close();
    return 0;
}
