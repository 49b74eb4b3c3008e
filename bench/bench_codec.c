/*
 * The page codec beside liblz4, plain and fastReset, on the pages of files.
 *
 *   bench_codec ROUNDS FILE ...
 *
 * Every page is checked both ways before it is timed. "decompress" is what reading a
 * page back takes, each codec from the block it made itself; for the decoders alone
 * both read liblz4's. "refuse" are the pages that liblz4 cannot bring below the
 * pool's limit.
 */
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/measure.h"
#include "lib/types.h"
#include "mm/codec.h"
#include "mm/pool.h"

/* Of liblz4's static interface (lz4.h, LZ4_STATIC_LINKING_ONLY). */
int LZ4_compress_fast_extState_fastReset(void *state, const char *from, char *to, int size,
                                         int room, int acceleration);

#define SET_PAGES  4096u
#define BLOCK_ROOM 4200

static struct {
    struct pages pages;
    struct blocks {
        uint8_t (*block)[BLOCK_ROOM];
        uint32_t *size;
    } own, peer; /* ours and liblz4's */
    uint32_t *refused, refused_count;
} set;
static uint64_t work[CODEC_WORK_BYTES / 8];
static void *lz4_state, *lz4_reset_state;
static uint8_t block[BLOCK_ROOM], page[PAGE_SIZE];

static uint32_t ours_compress(uint32_t i)
{
    return codec_compress(set.pages.page[i], block, BLOCK_ROOM, work);
}
static uint32_t lz4_compress(uint32_t i)
{
    return (uint32_t)LZ4_compress_fast_extState(lz4_state, (const char *)set.pages.page[i],
                                                (char *)block, PAGE_SIZE, BLOCK_ROOM, 1);
}
static uint32_t lz4_compress_reset(uint32_t i)
{
    return (uint32_t)LZ4_compress_fast_extState_fastReset(
        lz4_reset_state, (const char *)set.pages.page[i], (char *)block, PAGE_SIZE, BLOCK_ROOM, 1);
}
static uint32_t ours_decompress(uint32_t i)
{
    return codec_decompress(set.own.block[i], set.own.size[i], page);
}
static uint32_t ours_decompress_peer(uint32_t i)
{
    return codec_decompress(set.peer.block[i], set.peer.size[i], page);
}
static uint32_t lz4_decompress(uint32_t i)
{
    return (uint32_t)LZ4_decompress_safe((const char *)set.peer.block[i], (char *)page,
                                         (int)set.peer.size[i], PAGE_SIZE);
}
static uint32_t ours_refuse(uint32_t i)
{
    return codec_compress(set.pages.page[set.refused[i]], block, POOL_BLOCK_MAX, work);
}
static uint32_t lz4_refuse(uint32_t i)
{
    return (uint32_t)LZ4_compress_fast_extState(lz4_state,
                                                (const char *)set.pages.page[set.refused[i]],
                                                (char *)block, PAGE_SIZE, POOL_BLOCK_MAX, 1);
}

typedef uint32_t (*operation)(uint32_t);
enum {
    COMPRESS,
    PEER_COMPRESS,
    PEER_RESET,
    DECOMPRESS,
    DECOMPRESS_PEER,
    PEER_DECOMPRESS,
    REFUSE,
    PEER_REFUSE,
    OPERATIONS
};
static const operation operations[OPERATIONS] = {
    ours_compress,        lz4_compress,   lz4_compress_reset, ours_decompress,
    ours_decompress_peer, lz4_decompress, ours_refuse,        lz4_refuse,
};

static volatile uint32_t sink;

static double time_once(unsigned which)
{
    uint32_t count = which >= REFUSE ? set.refused_count : set.pages.count, sum = 0;
    uint64_t start = measure_now_ns();
    for (uint32_t i = 0; i < count; i++)
        sum += operations[which](i);
    sink = sum;
    return count ? (double)(measure_now_ns() - start) / count : 0;
}

static void require(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench_codec: %s\n", what);
        exit(1);
    }
}

static void keep(struct blocks *blocks, uint32_t i, uint32_t size)
{
    blocks->size[i] = size;
    memcpy(blocks->block[i], block, size);
}

/* Checks every page and makes the blocks; *ratio: of page to block, both. */
static void prepare(double ratio[2])
{
    uint64_t ours = 0, lz4 = 0, all = (uint64_t)set.pages.count * PAGE_SIZE;
    set.refused_count = 0;
    for (uint32_t i = 0; i < set.pages.count; i++) {
        uint32_t size = ours_compress(i);
        ours += size;
        require(LZ4_decompress_safe((char *)block, (char *)page, (int)size, PAGE_SIZE) ==
                        (int)PAGE_SIZE &&
                    memcmp(page, set.pages.page[i], PAGE_SIZE) == 0,
                "liblz4 does not read our block");
        keep(&set.own, i, size);
        require(ours_decompress(i) && memcmp(page, set.pages.page[i], PAGE_SIZE) == 0,
                "we do not read our own block");
        keep(&set.peer, i, lz4_compress(i));
        lz4 += set.peer.size[i];
        require(ours_decompress_peer(i) && memcmp(page, set.pages.page[i], PAGE_SIZE) == 0,
                "we do not read liblz4's block");
        if (set.peer.size[i] > POOL_BLOCK_MAX)
            set.refused[set.refused_count++] = i;
    }
    ratio[0] = (double)all / (double)ours;
    ratio[1] = (double)all / (double)lz4;
}

static void measure(unsigned rounds)
{
    static double time[OPERATIONS][MEASURE_ROUNDS_MAX];
    double ratio[2], median[OPERATIONS];
    prepare(ratio);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < OPERATIONS; i++) {
            unsigned which = (i + round) % OPERATIONS;
            time[which][round] = time_once(which);
        }
    for (unsigned i = 0; i < OPERATIONS; i++)
        median[i] = measure_median(time[i], rounds);
    const char *name = set.pages.name;
    measure_figure("compress a page", name, "ns", median[COMPRESS], "liblz4", median[PEER_COMPRESS],
                   0.67);
    measure_figure("compress a page", name, "ns", median[COMPRESS], "liblz4 fastReset",
                   median[PEER_RESET], 0.67);
    measure_figure("ratio", name, "", ratio[0], "liblz4", ratio[1], -0.98);
    measure_figure("decompress a page", name, "ns", median[DECOMPRESS], "liblz4",
                   median[PEER_DECOMPRESS], 0.75);
    measure_figure("decompress liblz4's block", name, "ns", median[DECOMPRESS_PEER], "liblz4",
                   median[PEER_DECOMPRESS], 0.75);
    if (set.refused_count >= 16)
        measure_figure("refuse a page", name, "ns", median[REFUSE], "liblz4", median[PEER_REFUSE],
                       0.5);
}

static struct blocks blocks_of(uint32_t count)
{
    struct blocks b = { calloc(count, sizeof(*b.block)), calloc(count, sizeof(*b.size)) };
    require(b.block && b.size, "no memory");
    return b;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    if (rounds < 1 || rounds > MEASURE_ROUNDS_MAX) {
        fprintf(stderr, "bench_codec ROUNDS FILE ...\n");
        return 2;
    }
    lz4_state = malloc((size_t)LZ4_sizeofState());
    lz4_reset_state = calloc(1, (size_t)LZ4_sizeofState());
    set.own = blocks_of(SET_PAGES);
    set.peer = blocks_of(SET_PAGES);
    set.refused = calloc(SET_PAGES, sizeof(*set.refused));
    for (int i = 2; i < argc; i++) {
        if (!measure_load(&set.pages, argv[i], SET_PAGES))
            return 1;
        measure(rounds);
        measure_unload(&set.pages);
    }
    return 0;
}
