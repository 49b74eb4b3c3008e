/*
 * drivers/gpt.c on a disk in memory: a table made here, damaged in one place at
 * a time (with the CRCs made right again, so that the damage is reached), and
 * mutations.
 */
#include <stdio.h>
#include <string.h>

#include "drivers/gpt.h"
#include "lib/crc32.h"
#include "lib/rng.h"
#include "tests/host/support.h"

#define SECTOR        512
#define SECTORS       256
#define LAST          (SECTORS - 1)
#define ENTRIES       128
#define ENTRY_SECTORS 32

static uint8_t disk[SECTORS][SECTOR];
static uint64_t unreadable; /* this sector cannot be read; 0: all can */
static unsigned reads;

struct header {
    char signature[8];
    uint32_t revision, size, crc, reserved;
    uint64_t my_sector, other_sector, first_usable, last_usable;
    uint8_t guid[16];
    uint64_t entries_sector;
    uint32_t entry_count, entry_bytes, entries_crc;
} __attribute__((packed));

struct entry {
    uint8_t type[16], id[16];
    uint64_t first, last, attributes;
    uint8_t name[72];
};

static bool read_sector(void *context, uint64_t sector, void *buffer)
{
    (void)context;
    assert_true(sector < SECTORS);
    reads++;
    if (unreadable && sector == unreadable)
        return false;
    memcpy(buffer, disk[sector], SECTOR);
    return true;
}

static struct header *header_at(uint64_t sector)
{
    return (struct header *)disk[sector];
}

static struct entry *entry_of(uint64_t sector, unsigned index)
{
    return (struct entry *)disk[header_at(sector)->entries_sector] + index;
}

/* Makes the CRCs right; only where the header is sane enough to do so. */
static void seal(uint64_t sector)
{
    struct header *header = header_at(sector);
    uint64_t bytes = (uint64_t)header->entry_count * header->entry_bytes;
    if (header->entries_sector < SECTORS && bytes <= (SECTORS - header->entries_sector) * SECTOR)
        header->entries_crc = crc32_add(0, disk[header->entries_sector], bytes);
    header->crc = 0;
    header->crc = crc32_add(0, header, header->size <= SECTOR ? header->size : SECTOR);
}

static void make_table(uint64_t sector, uint64_t entries)
{
    *header_at(sector) = (struct header){ .signature = "EFI PART",
                                          .revision = 0x10000,
                                          .size = 92,
                                          .my_sector = sector,
                                          .other_sector = LAST + 1 - sector,
                                          .first_usable = 34,
                                          .last_usable = SECTORS - 34,
                                          .entries_sector = entries,
                                          .entry_count = ENTRIES,
                                          .entry_bytes = 128 };
    *entry_of(sector, 0) = (struct entry){ .type = { 1 }, .first = 40, .last = 99 };
    *entry_of(sector, 5) = (struct entry){ .type = { 2 }, .first = 100, .last = 222 };
    seal(sector);
}

static void make(void)
{
    memset(disk, 0, sizeof disk);
    unreadable = reads = 0;
    make_table(1, 2);
    make_table(LAST, LAST - ENTRY_SECTORS);
}

static struct gpt_partition partitions[GPT_PARTITION_MAX];
static unsigned count;

static enum gpt_result look(uint64_t sectors)
{
    uint8_t buffer[SECTOR];
    struct gpt_disk reader = { read_sector, NULL, sectors };
    enum gpt_result result = gpt_read(&reader, buffer, partitions, &count);
    if (result != GPT_OK && result != GPT_BACKUP)
        assert_int_equal(count, 0);
    for (unsigned i = 0; i < count; i++)
        assert_true(partitions[i].count > 0 && partitions[i].first < sectors &&
                    partitions[i].count <= sectors - partitions[i].first);
    return result;
}

static void crc(void **state)
{
    (void)state;
    assert_int_equal(crc32_add(0, "123456789", 9), 0xcbf43926u);
    assert_int_equal(crc32_add(crc32_add(0, "1234", 4), "56789", 5), 0xcbf43926u);
}

static void finds(void **state)
{
    (void)state;
    make();
    assert_int_equal(look(SECTORS), GPT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(partitions[0].number, 1);
    assert_int_equal(partitions[0].first, 40);
    assert_int_equal(partitions[0].count, 60);
    assert_int_equal(partitions[1].number, 6);
    assert_int_equal(partitions[1].type[0], 2);
    for (unsigned i = 0; i < GPT_RESULT_COUNT; i++)
        assert_non_null(gpt_result_name(i));
}

static void falls_back(void **state)
{
    (void)state;
    make();
    header_at(1)->crc ^= 1;
    assert_int_equal(look(SECTORS), GPT_BACKUP);
    assert_int_equal(count, 2);
    make();
    entry_of(1, 0)->first++; /* entries differ from their CRC */
    assert_int_equal(look(SECTORS), GPT_BACKUP);
    make();
    unreadable = 1;
    assert_int_equal(look(SECTORS), GPT_BACKUP);
    make();
    unreadable = 3;
    assert_int_equal(look(SECTORS), GPT_BACKUP);
}

static void none(void **state)
{
    (void)state;
    make();
    memset(disk, 0, sizeof disk);
    assert_int_equal(look(SECTORS), GPT_NONE);
    assert_int_equal(look(0), GPT_NONE);
    assert_int_equal(look(1), GPT_NONE);
    assert_int_equal(look(2), GPT_NONE);
}

/* The same damage in both copies. */
#define BOTH(expected, ...)                                                                        \
    do {                                                                                           \
        make();                                                                                    \
        for (unsigned copy = 0; copy < 2; copy++) {                                                \
            uint64_t sector = copy ? LAST : 1;                                                     \
            struct header *h = header_at(sector);                                                  \
            struct entry *e = entry_of(sector, 0);                                                 \
            (void)e;                                                                               \
            __VA_ARGS__;                                                                           \
            (void)h;                                                                               \
            seal(sector);                                                                          \
        }                                                                                          \
        assert_int_equal(look(SECTORS), expected);                                                 \
    } while (0)

static void hostile_headers(void **state)
{
    (void)state;
    BOTH(GPT_BAD_HEADER, h->revision = 0x20000);
    BOTH(GPT_BAD_HEADER, h->size = 91);
    BOTH(GPT_BAD_HEADER, h->size = 513);
    BOTH(GPT_BAD_HEADER, h->size = UINT32_MAX);
    BOTH(GPT_BAD_HEADER, h->my_sector = 7);
    BOTH(GPT_BAD_BOUNDS, h->last_usable = SECTORS);
    BOTH(GPT_BAD_BOUNDS, h->last_usable = UINT64_MAX);
    BOTH(GPT_BAD_BOUNDS, h->first_usable = h->last_usable + 1);
    BOTH(GPT_BAD_BOUNDS, h->entries_sector = 0);
    BOTH(GPT_BAD_BOUNDS, h->entries_sector = 1);
    BOTH(GPT_BAD_BOUNDS, h->entries_sector = SECTORS - 1);
    BOTH(GPT_BAD_BOUNDS, h->entries_sector = UINT64_MAX);
    BOTH(GPT_BAD_ENTRIES, h->entry_count = 0);
    BOTH(GPT_BAD_ENTRIES, h->entry_count = UINT32_MAX);
    BOTH(GPT_BAD_ENTRIES, h->entry_bytes = 0);
    BOTH(GPT_BAD_ENTRIES, h->entry_bytes = UINT32_MAX);
}

static void hostile_entries(void **state)
{
    (void)state;
    BOTH(GPT_BAD_PARTITION, e->first = 33);
    BOTH(GPT_BAD_PARTITION, e->first = 0);
    BOTH(GPT_BAD_PARTITION, e->last = SECTORS - 33);
    BOTH(GPT_BAD_PARTITION, e->last = UINT64_MAX);
    BOTH(GPT_BAD_PARTITION, e->first = 99; e->last = 98);
    BOTH(GPT_BAD_PARTITION, e->last = 100);                 /* touches the other one */
    BOTH(GPT_BAD_PARTITION, e->first = 110; e->last = 111); /* lies inside it */
    BOTH(GPT_TOO_MANY, for (unsigned i = 0; i < 100; i++) e[i] =
                           (struct entry){ .type = { 1 }, .first = 40 + i, .last = 40 + i });
    assert_true(reads <= 2 * (1 + ENTRY_SECTORS));
}

static void mutations(void **state)
{
    (void)state;
    uint64_t rounds = support_number("BALLAST_STEPS", 20000), found = 0;
    struct rng rng;
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    for (uint64_t i = 0; i < rounds; i++) {
        make();
        for (uint64_t n = 1 + rng_below(&rng, 6); n; n--) {
            uint64_t sector = rng_below(&rng, 2) ? 1 : LAST;
            if (rng_below(&rng, 2))
                disk[sector][8 + rng_below(&rng, 84)] = (uint8_t)rng_next(&rng);
            else
                disk[sector == 1 ? 2 : LAST - ENTRY_SECTORS][rng_below(&rng, SECTOR)] =
                    (uint8_t)rng_next(&rng);
            if (rng_below(&rng, 4))
                seal(sector);
        }
        found += look(SECTORS - rng_below(&rng, 2)) == GPT_OK;
        assert_true(reads <= 2 * (1 + 64));
    }
    printf("figure: %llu damaged partition tables, %llu of them still good\n",
           (unsigned long long)rounds, (unsigned long long)found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc),
        cmocka_unit_test(finds),
        cmocka_unit_test(falls_back),
        cmocka_unit_test(none),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(hostile_entries),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
