/*
 * First inputs for fuzz_codec: made-up pages, and their blocks.
 *
 *   make_seeds DIRECTORY
 */
#include <stdio.h>
#include <stdlib.h>

#include "mm/codec.h"
#include "tests/host/fake_pages.h"

static uint64_t work[CODEC_WORK_BYTES / 8];

static void save(const char *directory, const char *kind, const char *what, const void *bytes,
                 size_t size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s-%s", directory, kind, what);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, size, 1, file) != 1 || fclose(file)) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "make_seeds DIRECTORY\n");
        return 2;
    }
    struct rng rng;
    rng_seed(&rng, 1);
    for (int kind = 0; kind < PAGE_KIND_COUNT; kind++) {
        /* The page, and the pool's limit as two bytes. */
        uint8_t page[PAGE_SIZE + 2] = { 0 }, block[4200];
        const char *name = fake_page_kind_name((enum page_kind)kind);
        fake_page_make((enum page_kind)kind, &rng, page);
        page[PAGE_SIZE + 1] = 3072 / 256;
        save(argv[1], name, "page", page, sizeof(page));
        save(argv[1], name, "block", block, codec_compress(page, block, sizeof(block), work));
    }
    return 0;
}
