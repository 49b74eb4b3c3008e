/*
 * What large mappings save in page walks: table entries that walks in two dimensions
 * read, for each access of a guest. Counted in a model, since no clock of an emulator
 * counts walks; the same on every machine.
 *
 *   bench_walks
 *
 * The nested tables are the core's own, in EPT's format, as its faults leave them; the
 * guest's are four levels in its memory, of 4 KiB or of 2 MiB pages, virtual addresses
 * being physical ones. A walk reads an entry of each guest level, from a table whose
 * address it translates by the nested levels first, and then the nested levels of the
 * page itself (Intel SDM volume 3, 4.5 and 29.3.2; AMD APM volume 2, 15.25). Caches are
 * fully associative, and the least recently used goes:
 *
 *   TLB      TLB_ENTRIES guest-virtual pages, of the smaller of the guest's page and
 *            the nested one
 *   uppers   in every second line: for UPPER_ENTRIES times 2 MiB of guest-virtual
 *            addresses, where the guest's last table is; for as many times 2 MiB
 *            of guest-physical ones, where the nested leaf table is, or the large entry
 *
 * The working set is touched once, then read at random; only the second counts.
 */
#include <stdio.h>
#include <string.h>

#include "bench/machine.h"
#include "lib/rng.h"
#include "mm/mm.h"

#define TLB_ENTRIES   1536u
#define UPPER_ENTRIES 32u
#define FRAMES        65536u /* of the host: 256 MiB */
#define GUEST_PAGES   24576u /* 96 MiB */
#define TABLES_FIRST  2048u  /* the guest's tables; then its working set */
#define DATA_FIRST    4096u
#define ACCESSES      100000u

#define LEVELS  4u
#define PRESENT 7ull
#define LARGE   (1ull << 7)
#define ADDRESS 0x000ffffffffff000ull

/* ---- a cache ------------------------------------------------------------------------ */

struct cache {
    unsigned size, used;
    uint64_t now, keys[TLB_ENTRIES], times[TLB_ENTRIES];
};

static struct cache tlb = { .size = TLB_ENTRIES };
static struct cache guest_uppers = { .size = UPPER_ENTRIES };
static struct cache nested_uppers = { .size = UPPER_ENTRIES };

static bool cache_has(struct cache *cache, uint64_t key)
{
    for (unsigned i = 0; i < cache->used; i++)
        if (cache->keys[i] == key) {
            cache->times[i] = ++cache->now;
            return true;
        }
    return false;
}

static void cache_put(struct cache *cache, uint64_t key)
{
    unsigned at = 0;
    for (unsigned i = 1; i < cache->used; i++)
        if (cache->times[i] < cache->times[at])
            at = i;
    if (cache->used < cache->size)
        at = cache->used++;
    cache->keys[at] = key;
    cache->times[at] = ++cache->now;
}

static bool cache_use(struct cache *cache, uint64_t key)
{
    bool had = cache_has(cache, key);
    if (!had)
        cache_put(cache, key);
    return had;
}

/* ---- walks ------------------------------------------------------------------------------ */

static struct mm_vm *vm;
static struct mm_vcpu vcpu;
static bool with_uppers;
static uint64_t reads, misses;

static unsigned index_at(uint64_t page, unsigned level)
{
    return (unsigned)(page >> (9 * (level - 1))) & 511;
}

/* Content of a guest page that is present; the level that maps it. */
static void *translate(uint64_t page, unsigned *level)
{
    bool known = with_uppers && cache_use(&nested_uppers, page >> 9);
    uint64_t table = mm_vm_root(vm).v, entry = 0;
    for (*level = LEVELS;; (*level)--) {
        entry = ((uint64_t *)machine_frame_map(hpa_to_pfn(hpa(table))))[index_at(page, *level)];
        if (!(entry & PRESENT))
            panic("page %llu is not there", (unsigned long long)page);
        reads += !known || *level == 1;
        if (*level == 1 || (*level == 2 && entry & LARGE))
            break;
        table = entry & ADDRESS;
    }
    uint64_t frame = (entry & ADDRESS) >> PAGE_SHIFT;
    return machine_frame_map(pfn((uint32_t)(frame + (*level == 2 ? page & 511 : 0))));
}

/* One access to a page that the guest maps by an entry of level `leaf`. */
static void access_page(uint64_t page, unsigned leaf)
{
    const uint64_t large = page >> 9 << 1 | 1, small = page << 1;
    unsigned nested;
    if (cache_has(&tlb, small) || cache_has(&tlb, large))
        return;
    misses++;
    uint64_t table = TABLES_FIRST;
    bool known = with_uppers && cache_use(&guest_uppers, page >> 9);
    for (unsigned level = LEVELS; level >= leaf; level--) {
        /* A cached place is translated already. */
        uint64_t before = reads;
        bool skipped = known && level > leaf, placed = known && level == leaf;
        const uint64_t *entries = translate(table, &nested);
        if (skipped || placed)
            reads = before;
        reads += !skipped;
        table = (entries[index_at(page, level)] & ADDRESS) >> PAGE_SHIFT;
    }
    translate(page, &nested);
    cache_put(&tlb, leaf == 2 && nested == 2 ? large : small);
}

/* ---- the guest ------------------------------------------------------------------------------ */

static void *touch(uint32_t page)
{
    void *content;
    if (mm_pin(vm, &vcpu, gfn(page), MM_WRITE, &content) != MM_DONE)
        panic("a page is refused");
    mm_unpin(vm, gfn(page));
    return content;
}

static void guest_map(uint32_t table, unsigned index, uint64_t to, bool large)
{
    uint64_t *entries = touch(table);
    entries[index] = to << PAGE_SHIFT | 3 | (large ? LARGE : 0);
}

/* Four levels over all of its memory, one table behind the other. */
static void guest_tables(unsigned leaf)
{
    guest_map(TABLES_FIRST, 0, TABLES_FIRST + 1, false);
    guest_map(TABLES_FIRST + 1, 0, TABLES_FIRST + 2, false);
    for (uint32_t i = 0; i < GUEST_PAGES / 512; i++)
        guest_map(TABLES_FIRST + 2, i, leaf == 2 ? i * 512 : TABLES_FIRST + 3 + i, leaf == 2);
    for (uint32_t page = 0; leaf == 1 && page < GUEST_PAGES; page++)
        guest_map(TABLES_FIRST + 3 + page / 512, page % 512, page, false);
}

static void start(bool large)
{
    struct mm_config config;
    struct mm_vm_config guest = { .name = "guest",
                                  .pages = GUEST_PAGES,
                                  .limit_pages = GUEST_PAGES,
                                  .shares = 1000,
                                  .salt = 1,
                                  .vcpu_count = 1 };
    mm_config_default(&config);
    memset(config.tiers, 0, sizeof config.tiers);
    config.large_pages = large;
    struct frame_region region = machine_start(FRAMES);
    if (!mm_init(&config, &region, 1) || mm_vm_create(&guest, &vm, NULL) != MM_ADMIT_OK)
        panic("the host is too small");
    mm_vcpu_init(&vcpu, vm, 0);
}

/* Entries read for each access, and misses of the TLB, in a working set. */
static double measure(bool large, unsigned leaf, uint32_t pages, bool uppers)
{
    struct rng rng;
    start(large);
    guest_tables(leaf);
    for (uint32_t i = 0; i < pages; i++)
        touch(DATA_FIRST + i);
    tlb.used = guest_uppers.used = nested_uppers.used = 0;
    with_uppers = uppers;
    rng_seed(&rng, 1);
    for (uint32_t i = 0; i < 2 * ACCESSES; i++) {
        if (i == ACCESSES) /* the caches are warm */
            reads = misses = 0;
        access_page(DATA_FIRST + rng_below(&rng, pages), leaf);
    }
    return (double)reads / ACCESSES;
}

int main(void)
{
    static const uint32_t mib[] = { 12, 64 };
    printf("table entries read by page walks, for each random access of a guest; a TLB of %u\n"
           "entries; uppers: %u places of last tables in each dimension\n",
           TLB_ENTRIES, UPPER_ENTRIES);
    printf("%-12s %-12s %-8s %12s %12s %14s %14s\n", "working set", "guest pages", "uppers", "off",
           "on", "misses, off", "misses, on");
    for (unsigned s = 0; s < sizeof mib / sizeof *mib; s++)
        for (unsigned leaf = 1; leaf <= 2; leaf++)
            for (unsigned uppers = 0; uppers < 2; uppers++) {
                double off = measure(false, leaf, mib[s] * 256, uppers);
                double missed = (double)misses / ACCESSES;
                double on = measure(true, leaf, mib[s] * 256, uppers);
                printf("%4u MiB     %-12s %-8s %12.2f %12.2f %14.3f %14.3f\n", mib[s],
                       leaf == 1 ? "4 KiB" : "2 MiB", uppers ? "cached" : "none", off, on, missed,
                       (double)misses / ACCESSES);
            }
    return 0;
}
