/*
 * Made-up pages; see fake_pages.h.
 */
#include "tests/host/fake_pages.h"

#include <string.h>

static void put64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, 8);
}

static void make_random(struct rng *rng, uint8_t *page, size_t size)
{
    for (size_t i = 0; i < size; i += 8)
        put64(page + i, rng_next(rng));
}

static void make_text(struct rng *rng, uint8_t *page)
{
    static const char *const words[] = {
        "the",    "page",   "of",      "guest",  "memory", "is",      "kept",     "where", "it",
        "was",    "and",    "returns", "when",   "error:", "\n",      "/usr/lib", "0x7f",  "= ",
        "static", "return", "int",     "struct", "if (",   ");\n",    "    ",     "host",  "swap",
        "frame",  "owner",  "a",       "to",     "before", "because", "never",    "12",    "4096",
    };
    size_t at = 0;
    while (at < PAGE_SIZE) {
        const char *word = words[rng_below(rng, sizeof(words) / sizeof(*words))];
        while (*word && at < PAGE_SIZE)
            page[at++] = (uint8_t)*word++;
        if (at < PAGE_SIZE)
            page[at++] = ' ';
    }
}

static void make_pointers(struct rng *rng, uint8_t *page)
{
    uint64_t base = 0x00007f0000000000ull + (rng_below(rng, 1 << 16) << 20);
    for (size_t i = 0; i < PAGE_SIZE; i += 8) {
        switch (rng_below(rng, 4)) {
        case 0:
            put64(page + i, base + (rng_below(rng, 1 << 16) << 4));
            break;
        case 1:
            put64(page + i, rng_below(rng, 256));
            break;
        case 2:
            put64(page + i, base);
            break;
        default:
            put64(page + i, 0);
            break;
        }
    }
}

static void make_code(struct rng *rng, uint8_t *page)
{
    static const uint8_t common[][8] = {
        { 0x55, 0x48, 0x89, 0xe5, 0x41, 0x57, 0x41, 0x56 },
        { 0x48, 0x8b, 0x45, 0xf8, 0x48, 0x8b, 0x40, 0x08 },
        { 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
        { 0xe8, 0x00, 0x00, 0xff, 0xff, 0x85, 0xc0, 0x74 },
        { 0x5b, 0x41, 0x5c, 0x41, 0x5d, 0x5d, 0xc3, 0x90 },
    };
    for (size_t i = 0; i < PAGE_SIZE; i += 8) {
        memcpy(page + i, common[rng_below(rng, 5)], 8);
        unsigned changes = (unsigned)rng_below(rng, 3);
        for (unsigned c = 0; c < changes; c++)
            page[i + rng_below(rng, 8)] = (uint8_t)rng_below(rng, 256);
    }
}

static void make_records(struct rng *rng, uint8_t *page)
{
    uint8_t record[256];
    size_t size = 16 + rng_below(rng, 200);
    make_random(rng, record, sizeof(record));
    for (size_t i = 0; i < PAGE_SIZE; i++)
        page[i] = record[i % size];
    for (size_t i = 0; i + 4 < PAGE_SIZE; i += size)
        page[i] = (uint8_t)(i / size), page[i + 3] = (uint8_t)rng_next(rng);
}

static void make_runs(struct rng *rng, uint8_t *page)
{
    size_t at = 0;
    while (at < PAGE_SIZE) {
        size_t run = 1 + rng_below(rng, 1u << rng_below(rng, 11));
        uint8_t byte = (uint8_t)rng_next(rng);
        while (run-- && at < PAGE_SIZE)
            page[at++] = byte;
    }
}

static void make_repeats(struct rng *rng, uint8_t *page)
{
    size_t at = 0;
    while (at < PAGE_SIZE) {
        size_t fresh = 1 + rng_below(rng, 1u << rng_below(rng, 7));
        while (fresh-- && at < PAGE_SIZE)
            page[at++] = (uint8_t)rng_next(rng);
        size_t distance = 1 + rng_below(rng, at), run = rng_below(rng, 1u << rng_below(rng, 10));
        while (run-- && at < PAGE_SIZE) {
            page[at] = page[at - distance];
            at++;
        }
    }
}

void fake_page_make(enum page_kind kind, struct rng *rng, void *page_)
{
    uint8_t *page = page_;
    uint64_t word = rng_next(rng);
    memset(page, 0, PAGE_SIZE);
    switch (kind) {
    case PAGE_WORD:
        for (size_t i = 0; i < PAGE_SIZE; i += 8)
            put64(page + i, word);
        break;
    case PAGE_RANDOM:
        make_random(rng, page, PAGE_SIZE);
        break;
    case PAGE_TEXT:
        make_text(rng, page);
        break;
    case PAGE_POINTERS:
        make_pointers(rng, page);
        break;
    case PAGE_CODE:
        make_code(rng, page);
        break;
    case PAGE_RECORDS:
        make_records(rng, page);
        break;
    case PAGE_SPARSE:
        for (uint64_t n = rng_below(rng, 64); n; n--)
            page[rng_below(rng, PAGE_SIZE)] = (uint8_t)rng_next(rng);
        break;
    case PAGE_FEW_BITS:
        for (size_t i = 0; i < PAGE_SIZE; i++)
            page[i] = (uint8_t)rng_below(rng, 2 + word % 30);
        break;
    case PAGE_HALF:
        make_random(rng, page + (word & 1) * PAGE_SIZE / 2, PAGE_SIZE / 2);
        break;
    case PAGE_RUNS:
        make_runs(rng, page);
        break;
    case PAGE_REPEATS:
        make_repeats(rng, page);
        break;
    default:
        break;
    }
}

const char *fake_page_kind_name(enum page_kind kind)
{
    static const char *const names[PAGE_KIND_COUNT] = {
        "zero",    "word",   "random",   "text", "pointers", "code",
        "records", "sparse", "few-bits", "half", "runs",     "repeats",
    };
    return kind < PAGE_KIND_COUNT ? names[kind] : "?";
}
