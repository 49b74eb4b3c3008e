/*
 * The swap area on a disk in RAM that completes in any order, fails, lies and
 * goes away (P5, P6, P10; PROMISES.md, "Swap I/O").
 */
#include "tests/host/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mm/frame.h"
#include "mm/machine.h"
#include "mm/swap.h"
#include "mm/swap_area.h"
#include "tests/host/fake_pages.h"

static struct rng rng;

/* ---- machine ------------------------------------------------------------------------ */

#define FRAMES 4096u
static uint8_t (*frame_memory)[PAGE_SIZE];
static uint32_t frames_taken, frames_allowed;

pfn_t frame_alloc(enum frame_kind kind, enum frame_urgency urgency)
{
    assert_int_equal(kind, FRAME_BOOK);
    assert_int_equal(urgency, FRAME_RECLAIM);
    if (frames_taken >= frames_allowed)
        return PFN_NONE;
    memset(frame_memory[frames_taken], 0xee, PAGE_SIZE);
    return pfn(1 + frames_taken++);
}

void *machine_frame_map(pfn_t number)
{
    assert_in_range(number.v, 1, frames_taken);
    return frame_memory[number.v - 1];
}

void machine_entropy(void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)rng_next(&rng);
}

static unsigned dma_calls, dma_allowed;
static void *dma_blocks[64];
#define DMA_BIAS 0x10000000ull /* device address - pointer, in this fake */

void *machine_dma_alloc(size_t size, hpa_t *address)
{
    assert_int_equal(size % PAGE_SIZE, 0);
    if (dma_calls >= dma_allowed)
        return NULL;
    void *block = aligned_alloc(PAGE_SIZE, size);
    memset(block, 0xcc, size);
    dma_blocks[dma_calls++] = block;
    *address = hpa((uint64_t)(uintptr_t)block + DMA_BIAS);
    return block;
}

/* ---- the disk ----------------------------------------------------------------------- */

#define AREA_FIRST   100u /* the area's first sector on the disk */
#define DISK_SECTORS 40000u

static uint8_t (*disk)[BLOCK_SECTOR_SIZE];
static uint8_t *bad_sector; /* writes to it fail */
static struct list_node queue;
static unsigned queued;
static struct disk_faults {
    unsigned read_error, write_error; /* of 1000 */
    unsigned read_errors_now;         /* so many of the next reads fail */
    unsigned lose_write, tear_write;  /* of 1000: reported as done all the same */
    bool gone, in_order, twice;
    bool failing_sectors_stay;
} faults;
static uint32_t area_sectors;
static unsigned lost_or_torn;

static void disk_submit(struct block_device *device, struct block_request *request)
{
    assert_int_equal(request->buffer_address.v, (uint64_t)(uintptr_t)request->buffer + DMA_BIAS);
    assert_in_range(request->sector_count, 1, device->max_sectors);
    assert_true(request->sector + request->sector_count <= device->sector_count);
    if (request->operation == BLOCK_WRITE) {
        /* Never outside of the area, never its header. */
        assert_true(request->sector >= AREA_FIRST + SWAP_DATA_SECTOR);
        assert_true(request->sector + request->sector_count <= AREA_FIRST + area_sectors);
        for (uint32_t i = 0; i < request->sector_count; i++)
            assert_int_equal(bad_sector[request->sector + i], 0);
    }
    list_append(&queue, &request->link);
    queued++;
}

static void transfer(struct block_request *r)
{
    bool reads = r->operation == BLOCK_READ;
    size_t size = (size_t)r->sector_count * BLOCK_SECTOR_SIZE;
    r->status = BLOCK_OK;
    if (faults.gone) {
        r->status = BLOCK_GONE;
    } else if (reads && (faults.read_errors_now || rng_below(&rng, 1000) < faults.read_error)) {
        faults.read_errors_now -= faults.read_errors_now > 0;
        r->status = rng_below(&rng, 2) ? BLOCK_ERROR : BLOCK_TIMEOUT;
        memset(r->buffer, 0x99, size / 2);
    } else if (reads) {
        memcpy(r->buffer, disk[r->sector], size);
    } else if (rng_below(&rng, 1000) < faults.write_error) {
        r->status = rng_below(&rng, 2) ? BLOCK_ERROR : BLOCK_TIMEOUT;
        memcpy(disk[r->sector], r->buffer, size / 2);
        memset(&bad_sector[r->sector], faults.failing_sectors_stay, r->sector_count);
    } else if (rng_below(&rng, 1000) < faults.lose_write) {
        lost_or_torn++;
    } else if (rng_below(&rng, 1000) < faults.tear_write) {
        memcpy(disk[r->sector], r->buffer, size / BLOCK_SECTOR_SIZE / 2 * BLOCK_SECTOR_SIZE);
        lost_or_torn++;
    } else {
        memcpy(disk[r->sector], r->buffer, size);
    }
}

/* Completes one request; false when there is none. */
static bool disk_complete_one(void)
{
    if (!queued)
        return false;
    struct list_node *node = queue.next;
    for (uint64_t skip = faults.in_order ? 0 : rng_below(&rng, queued); skip; skip--)
        node = node->next;
    list_remove(node);
    queued--;
    struct block_request *request = container_of(node, struct block_request, link);
    transfer(request);
    request->done(request);
    if (faults.twice && !queued)
        request->done(request);
    return true;
}

static void disk_complete_all(void)
{
    while (disk_complete_one())
        ;
}

static unsigned polls;
static void disk_poll(struct block_device *device)
{
    (void)device;
    if (++polls % 3 == 0)
        disk_complete_one();
}

static struct block_device device = {
    .name = "fake",
    .sector_count = DISK_SECTORS,
    .max_sectors = 256,
    .queue_depth = 8,
    .submit = disk_submit,
    .poll = disk_poll,
};

/* As tools/mkswap.py, by another way of making the sum. */
static uint32_t crc32_table_wise(const uint8_t *bytes, size_t size)
{
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320u : table[i] >> 1;
    }
    for (size_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 255];
    return ~crc;
}

static struct swap_header *header(void)
{
    return (struct swap_header *)disk[AREA_FIRST];
}

static void seal_header(void)
{
    header()->check = crc32_table_wise(disk[AREA_FIRST], offsetof(struct swap_header, check));
}

static void format(uint32_t sectors)
{
    memset(disk[AREA_FIRST], 0, BLOCK_SECTOR_SIZE);
    memcpy(header()->magic, SWAP_MAGIC, 16);
    header()->version = SWAP_VERSION;
    header()->sector_size = BLOCK_SECTOR_SIZE;
    header()->sector_count = sectors;
    memset(header()->uuid, 0x42, 16);
    seal_header();
    area_sectors = sectors;
}

static int begin(void **state)
{
    (void)state;
    if (!disk) {
        disk = malloc((size_t)DISK_SECTORS * BLOCK_SECTOR_SIZE);
        bad_sector = malloc(DISK_SECTORS);
        frame_memory = malloc((size_t)FRAMES * PAGE_SIZE);
    }
    for (unsigned i = 0; i < dma_calls; i++)
        free(dma_blocks[i]);
    rng_seed(&rng, support_number("BALLAST_SEED", 1));
    memset(disk, 0, (size_t)DISK_SECTORS * BLOCK_SECTOR_SIZE);
    memset(bad_sector, 0, DISK_SECTORS);
    memset(&faults, 0, sizeof(faults));
    frames_taken = dma_calls = queued = lost_or_torn = 0;
    frames_allowed = FRAMES;
    dma_allowed = 64;
    device.max_sectors = 256;
    list_init(&queue);
    format(20000);
    swap_init();
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < dma_calls; i++)
        free(dma_blocks[i]);
    dma_calls = 0;
    return 0;
}

static enum swap_open_result open_area(void)
{
    return swap_open(&device, AREA_FIRST, area_sectors);
}

static struct swap_stats stats(void)
{
    struct swap_stats s;
    swap_stats_get(&s);
    return s;
}

/* ---- pages on their way -------------------------------------------------------------- */

#define OBJECTS 2400u

enum object_state { ABSENT, OUT, STORED, IN };

struct object {
    struct swap_io io;
    enum object_state state;
    swap_slot_t slot;
    uint64_t seed;
    uint16_t size;
    bool compressed;
    bool freed;    /* while its read was on its way */
    bool doubtful; /* a fault may have hit it: TAMPERED is right, wrong data never */
    unsigned answers;
    enum swap_status status;
};
static struct object objects[OBJECTS];
static unsigned stored;
static bool expect_trouble;

static void content(const struct object *o, uint8_t *bytes)
{
    struct rng own;
    rng_seed(&own, o->seed);
    for (uint32_t i = 0; i < o->size; i++)
        bytes[i] = (uint8_t)rng_next(&own);
}

static void on_written(struct swap_io *io, enum swap_status status)
{
    struct object *o = container_of(io, struct object, io);
    assert_int_equal(o->state, OUT);
    o->answers++;
    o->status = status;
    o->state = status == SWAP_OK ? STORED : ABSENT;
    if (status == SWAP_OK) {
        assert_int_equal(io->slot.v, o->slot.v);
        stored++;
    } else {
        assert_true(expect_trouble);
        assert_int_equal(io->slot.v, SWAP_SLOT_NONE.v);
    }
}

static void on_read(struct swap_io *io, enum swap_status status)
{
    struct object *o = container_of(io, struct object, io);
    assert_int_equal(o->state, IN);
    o->answers++;
    o->status = status;
    o->state = o->freed ? ABSENT : STORED;
    if (status == SWAP_OK) {
        uint8_t wanted[PAGE_SIZE];
        assert_false(o->freed);
        assert_int_equal(io->size, o->size);
        assert_int_equal(io->compressed, o->compressed);
        content(o, wanted);
        assert_memory_equal(swap_read_payload(io), wanted, o->size);
    }
    o->freed = false;
}

static enum swap_status write_sized(struct object *o, uint16_t size, bool compressed)
{
    uint8_t bytes[PAGE_SIZE];
    assert_int_equal(o->state, ABSENT);
    o->seed = rng_next(&rng);
    o->size = size;
    o->compressed = compressed;
    o->io.done = on_written;
    content(o, bytes);
    o->state = OUT;
    o->answers = 0;
    enum swap_status status = swap_write(&o->io, bytes, size, compressed);
    if (status == SWAP_OK)
        o->slot = o->io.slot;
    else
        o->state = ABSENT;
    return status;
}

static enum swap_status write_any(struct object *o)
{
    bool compressed = rng_below(&rng, 2);
    return write_sized(o, (uint16_t)(compressed ? 1 + rng_below(&rng, 3072) : PAGE_SIZE),
                       compressed);
}

static enum swap_status read_back(struct object *o)
{
    assert_int_equal(o->state, STORED);
    o->io.done = on_read;
    o->state = IN;
    o->answers = 0;
    enum swap_status status = swap_read(&o->io, o->slot);
    if (status != SWAP_OK)
        o->state = STORED;
    return status;
}

static void drop(struct object *o)
{
    if (o->state == IN)
        o->freed = true;
    else
        o->state = ABSENT;
    swap_slot_free(o->slot);
    stored--;
}

static enum swap_status write_and_wait(struct object *o, uint16_t size, bool compressed)
{
    enum swap_status status = write_sized(o, size, compressed);
    if (status != SWAP_OK)
        return status;
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(o->answers, 1);
    return o->status;
}

static enum swap_status read_and_wait(struct object *o)
{
    enum swap_status status = read_back(o);
    if (status != SWAP_OK)
        return status;
    disk_complete_all();
    assert_int_equal(o->answers, 1);
    return o->status;
}

static void on_slot(swap_slot_t slot, void *context)
{
    (void)slot;
    ++*(unsigned *)context;
}

/* The books against the objects: slots, sectors, cells. */
static void audit(void)
{
    unsigned slots = 0, expected = 0, free_cells = 0, bad = 0;
    uint64_t sectors = 0;
    static uint8_t users[SWAP_CELLS_MAX / 1024];
    memset(users, 0, sizeof(users));
    swap_audit(on_slot, &slots);
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct object *o = &objects[i];
        if (o->state == ABSENT || o->freed)
            continue;
        struct swap_extent extent;
        uint32_t generation;
        assert_true(swap_slots_look(&swap.slots, o->slot, &extent, &generation));
        assert_int_equal(extent.sectors, (o->size + 32u + 511u) / 512u);
        assert_int_equal(extent.sector / 9, (extent.sector + extent.sectors - 1) / 9);
        users[extent.sector / 9]++;
        sectors += extent.sectors;
        expected++;
    }
    assert_int_equal(slots, expected);
    for (uint32_t cell = 0; cell < swap.cells.count; cell++) {
        const uint8_t *page = swap_book_page(&swap.cells.book, cell / 8192);
        uint32_t value = page ? page[cell % 8192 / 2] >> (cell % 2 * 4) & 15u : 0;
        free_cells += value == 0;
        bad += value == 15;
        assert_true(value == 15 ? users[cell] == 0 : users[cell] == value);
    }
    assert_int_equal(free_cells, swap.cells.free);
    assert_int_equal(bad, swap.cells.bad);
    struct swap_stats s = stats();
    assert_int_equal(s.slots_used, expected);
    assert_int_equal(s.sectors_used, sectors);
    assert_int_equal(s.sectors_bad, bad * 9u);
}

static int begin_open(void **state)
{
    begin(state);
    memset(objects, 0, sizeof(objects));
    stored = 0;
    expect_trouble = false;
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    return 0;
}

static struct object *any_in(enum object_state state)
{
    unsigned start = (unsigned)rng_below(&rng, OBJECTS);
    for (unsigned i = 0; i < OBJECTS; i++)
        if (objects[(start + i) % OBJECTS].state == state)
            return &objects[(start + i) % OBJECTS];
    return NULL;
}

/* ---- opening -------------------------------------------------------------------------- */

static void test_open(void **state)
{
    (void)state;
    assert_int_equal(swap_capacity_pages(), 0);
    struct swap_io io = { .done = on_read };
    assert_int_equal(swap_write(&io, disk[0], 10, false), SWAP_OFFLINE);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(open_area(), SWAP_OPEN_ALREADY);
    assert_int_equal(swap_capacity_pages(), (20000 - 8) / 9);
    assert_true(stats().online);
    assert_int_equal(stats().sectors, 20000);
}

/* Any flipped bit of the first sector: refused, and no write. */
static void test_open_flipped(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < BLOCK_SECTOR_SIZE * 8; bit++) {
        disk[AREA_FIRST][bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum swap_open_result result = open_area();
        assert_int_equal(result, bit < 128 ? SWAP_OPEN_NO_SIGNATURE : SWAP_OPEN_BAD_CHECK);
        disk[AREA_FIRST][bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(open_area(), SWAP_OPEN_OK);
}

static enum swap_open_result open_with(uint32_t version, uint32_t sector_size, uint64_t sectors,
                                       uint32_t reserved)
{
    begin(NULL);
    header()->version = version;
    header()->sector_size = sector_size;
    header()->sector_count = sectors;
    header()->reserved = reserved;
    seal_header();
    return open_area();
}

/* Headers whose sum is right, but which are none of ours. */
static void test_open_fields(void **state)
{
    (void)state;
    assert_int_equal(open_with(0, 512, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(2, 512, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 4096, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 0, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 512, 20000, 1), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 512, 20001, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, UINT64_MAX, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 0, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 8, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 8 + 14 * 9 - 1, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 8 + 14 * 9, 0), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), 14);
    assert_int_equal(open_with(1, 512, 19999, 0), SWAP_OPEN_OK);
}

static void test_open_ranges(void **state)
{
    (void)state;
    assert_int_equal(swap_open(&device, DISK_SECTORS, 1), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, UINT64_MAX, 100), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, 1, UINT64_MAX), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, AREA_FIRST, DISK_SECTORS), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, AREA_FIRST, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, AREA_FIRST, 19999), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, 0, 20000), SWAP_OPEN_NO_SIGNATURE);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
}

static void test_open_read_errors(void **state)
{
    (void)state;
    faults.read_errors_now = 3;
    assert_int_equal(open_area(), SWAP_OPEN_IO_ERROR);
    faults.read_errors_now = 2;
    assert_int_equal(open_area(), SWAP_OPEN_OK);
}

static void test_open_no_memory(void **state)
{
    (void)state;
    for (dma_allowed = 0; dma_allowed < 5; dma_allowed++)
        assert_int_equal(open_area(), SWAP_OPEN_NO_MEMORY);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(dma_calls, 5);
    assert_int_equal(stats().buffer_bytes, 4 * 65536 + 32 * 5120);
}

/* ---- tools/mkswap.py ----------------------------------------------------------------------- */

static char image_path[] = "/tmp/ballast-test-swap-XXXXXX";

static int mkswap(const char *options)
{
    char command[256];
    snprintf(command, sizeof(command), "/usr/bin/python3 tools/mkswap.py %s %s >/dev/null 2>&1",
             image_path, options);
    return system(command);
}

/* Its areas are opened here; what is not ours it leaves alone. */
static void test_mkswap(void **state)
{
    (void)state;
    if (access("tools/mkswap.py", R_OK))
        skip(); /* not started in the root of the tree */
    int file = mkstemp(image_path);
    assert_int_equal(ftruncate(file, 20100 * 512), 0);
    assert_int_equal(mkswap("--offset 51200"), 0);
    assert_int_equal(pread(file, disk[AREA_FIRST], 8 * 512, 51200), 8 * 512);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), (20000 - 8) / 9);
    assert_int_equal(mkswap("--offset 51200 --size 68608"), 0);
    assert_int_not_equal(mkswap("--offset 51200 --size 68096"), 0);
    assert_int_not_equal(mkswap("--offset 20M"), 0);
    assert_int_not_equal(mkswap("--size 20101K"), 0);
    assert_int_not_equal(mkswap(""), 0); /* the area above lies in this range */
    assert_int_equal(pwrite(file, "x", 1, 51200 + 24), 1);
    assert_int_not_equal(mkswap("--offset 51200"), 0);
    uint8_t byte;
    assert_int_equal(pread(file, &byte, 1, 51200 + 24), 1);
    assert_int_equal(byte, 'x');
    assert_int_equal(mkswap("--offset 51200 --force"), 0);
    close(file);
    unlink(image_path);
}

/* ---- reading and writing --------------------------------------------------------------- */

static void test_round_trip_every_size(void **state)
{
    (void)state;
    for (uint32_t size = 1; size <= PAGE_SIZE; size += size < 600 || size > 4000 ? 1 : 37) {
        struct object *o = &objects[size % OBJECTS];
        assert_int_equal(write_and_wait(o, (uint16_t)size, size % 2), SWAP_OK);
        assert_int_equal(read_and_wait(o), SWAP_OK);
        drop(o);
    }
    audit();
    assert_int_equal(stats().slots_used, 0);
}

/* Full pages of one cluster: one request, one after the other on the disk. */
static void test_clusters(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 42; i++)
        assert_int_equal(write_sized(&objects[i], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(stats().writes, 3);
    assert_int_equal(write_sized(&objects[42], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(stats().writes, 3);
    swap_write_flush();
    swap_write_flush();
    assert_int_equal(stats().writes, 4);
    assert_int_equal(write_sized(&objects[43], PAGE_SIZE, false), SWAP_BUSY);
    disk_complete_all();
    assert_int_equal(write_sized(&objects[43], PAGE_SIZE, false), SWAP_OK);
    for (unsigned i = 0; i < 43; i++) {
        struct swap_extent extent;
        uint32_t generation;
        swap_slots_look(&swap.slots, objects[i].slot, &extent, &generation);
        assert_int_equal(extent.sector, i * 9);
    }
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(stats().pages_written, 44);
    audit();
}

/* Extents of five and four sectors share a cell. */
static void test_small_extents_share_cells(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 28; i++)
        assert_int_equal(write_sized(&objects[i], i % 2 ? 2000 : 2400, true), SWAP_OK);
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(stats().writes, 1);
    assert_int_equal(swap.cells.count - swap.cells.free, 14);
    for (unsigned i = 0; i < 28; i++)
        assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    audit();
}

/* A slot whose cluster is open, or on its way, is read correctly as well. */
static void test_read_before_written(void **state)
{
    (void)state;
    struct object *o = &objects[0], reader = { 0 };
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(write_sized(o, PAGE_SIZE, false), SWAP_OK);
        if (round)
            swap_write_flush();
        reader = *o;
        reader.io.done = on_read;
        reader.state = IN;
        reader.answers = 0;
        uint64_t reads = stats().reads;
        assert_int_equal(swap_read(&reader.io, o->slot), SWAP_OK);
        assert_int_equal(reader.answers, 0);
        disk_complete_all();
        assert_int_equal(reader.answers, 1);
        assert_int_equal(reader.status, SWAP_OK);
        assert_int_equal(o->status, SWAP_OK);
        assert_int_equal(stats().reads, reads);
        drop(o);
    }
    /* And when that cluster fails, its reader hears of an error. */
    expect_trouble = true;
    faults.write_error = 1000;
    assert_int_equal(write_sized(o, PAGE_SIZE, false), SWAP_OK);
    reader.io.done = on_read;
    reader.state = IN;
    assert_int_equal(swap_read(&reader.io, o->slot), SWAP_OK);
    disk_complete_all();
    assert_int_equal(reader.status, SWAP_IO_ERROR);
    assert_int_equal(o->status, SWAP_IO_ERROR);
}

static void test_reads_are_bounded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        while (write_sized(&objects[i], PAGE_SIZE, false) == SWAP_BUSY)
            disk_complete_all();
    }
    swap_write_flush();
    disk_complete_all();
    unsigned busy = 0;
    for (unsigned i = 0; i < 60; i++)
        busy += read_back(&objects[i]) == SWAP_BUSY;
    assert_int_equal(busy, 60 - 32);
    disk_complete_all();
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
}

/* Half of the objects come and go; the rest of each step completes something. */
static void random_steps(uint64_t steps)
{
    for (uint64_t step = 0; step < steps; step++) {
        bool filling = step / 4000 % 2 == 0;
        struct object *o;
        uint64_t what = rng_below(&rng, 100);
        if (what < (filling ? 40u : 15u)) {
            o = any_in(ABSENT);
            if (o)
                write_any(o);
        } else if (what < 60) {
            o = any_in(STORED);
            if (o)
                read_back(o);
        } else if (what < (filling ? 70u : 85u)) {
            o = any_in(rng_below(&rng, 10) ? STORED : IN);
            if (o && !o->freed)
                drop(o);
        } else if (what < 88) {
            swap_write_flush();
        } else {
            for (uint64_t n = rng_below(&rng, 12); n; n--)
                disk_complete_one();
        }
        if (step % 64 == 0)
            audit();
    }
    swap_write_flush();
    disk_complete_all();
    audit();
}

static void finish_all(void)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        assert_true(objects[i].state == ABSENT || objects[i].state == STORED);
        if (objects[i].state == STORED)
            drop(&objects[i]);
    }
    audit();
    assert_int_equal(stats().slots_used, 0);
    assert_int_equal(stats().sectors_used, 0);
    assert_int_equal(swap.cells.free + swap.cells.bad, swap.cells.count);
}

static void test_random_operations(void **state)
{
    (void)state;
    random_steps(support_number("BALLAST_STEPS", 40000));
    for (unsigned i = 0; i < OBJECTS; i++)
        if (objects[i].state == STORED)
            assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    struct swap_stats s = stats();
    assert_int_equal(s.tampered + s.read_errors + s.write_errors + s.strays, 0);
    printf("figure: swap: %llu pages written in %llu requests, %llu read\n",
           (unsigned long long)s.pages_written, (unsigned long long)s.writes,
           (unsigned long long)s.pages_read);
    finish_all();
}

static void test_random_operations_with_errors(void **state)
{
    (void)state;
    expect_trouble = true;
    faults.read_error = 100;
    faults.write_error = 3;
    faults.failing_sectors_stay = true;
    random_steps(support_number("BALLAST_STEPS", 40000));
    struct swap_stats s = stats();
    assert_true(s.read_errors > 0 && s.write_errors > 0 && s.retries > 0);
    assert_int_equal(s.tampered, 0);
    finish_all();
}

/* Lost and torn writes: found by the tag, never wrong data. */
static void test_random_operations_with_lies(void **state)
{
    (void)state;
    faults.lose_write = 20;
    faults.tear_write = 20;
    random_steps(support_number("BALLAST_STEPS", 40000));
    unsigned refused = 0;
    for (unsigned i = 0; i < OBJECTS; i++)
        if (objects[i].state == STORED)
            refused += read_and_wait(&objects[i]) == SWAP_TAMPERED;
    assert_true(lost_or_torn > 0);
    assert_true(stats().tampered > 0);
    printf("figure: swap: %u lost or torn writes, %llu reads refused, no wrong page\n",
           lost_or_torn, (unsigned long long)stats().tampered);
    finish_all();
}

/* ---- space ------------------------------------------------------------------------------ */

/* Whatever was written and freed before, N cells take N pages. */
static void test_capacity_is_a_promise(void **state)
{
    (void)state;
    format(8 + 9 * 300);
    swap_init();
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), 300);
    for (unsigned step = 0; step < 30000; step++) {
        struct object *o = any_in(rng_below(&rng, 100) < 52 ? ABSENT : STORED);
        if (o && o->state == STORED) {
            drop(o);
        } else if (o && stats().slots_used < 300) {
            enum swap_status status = write_any(o);
            if (status == SWAP_BUSY) {
                disk_complete_all();
                status = swap_write(&o->io, disk[0], 0 + PAGE_SIZE, false);
                assert_int_equal(status, SWAP_OK);
                o->state = OUT;
                o->slot = o->io.slot;
                o->size = PAGE_SIZE;
            }
            assert_int_equal(status, SWAP_OK);
        }
        if (rng_below(&rng, 4) == 0)
            disk_complete_all();
    }
    audit();
}

static void test_full(void **state)
{
    (void)state;
    unsigned count = 0;
    enum swap_status status = SWAP_OK;
    while (status == SWAP_OK || status == SWAP_BUSY) {
        assert_true(count < OBJECTS);
        status = write_sized(&objects[count], PAGE_SIZE, false);
        count += status == SWAP_OK;
        if (status == SWAP_BUSY)
            disk_complete_all();
    }
    assert_int_equal(status, SWAP_FULL);
    assert_int_equal(count, swap_capacity_pages());
    disk_complete_all();
    audit();
    drop(&objects[count / 2]);
    assert_int_equal(write_and_wait(&objects[count], 5, true), SWAP_OK);
    assert_int_equal(write_sized(&objects[count + 1], PAGE_SIZE, false), SWAP_FULL);
    for (unsigned i = 0; i < count; i++)
        if (objects[i].state == STORED)
            assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    finish_all();
}

/* Each frame for the books may be the one that is not there. */
static void test_no_frames_for_books(void **state)
{
    (void)state;
    for (frames_allowed = 0; frames_allowed < 4; frames_allowed++) {
        for (int again = 0; again < 3; again++)
            assert_int_equal(write_sized(&objects[0], 100, true), SWAP_FULL);
        audit();
    }
    assert_int_equal(write_and_wait(&objects[0], 100, true), SWAP_OK);
    unsigned count = 1;
    while (write_and_wait(&objects[count], PAGE_SIZE, false) == SWAP_OK)
        count++;
    assert_int_equal(count, 512); /* one page of the slot table */
    audit();
    frames_allowed++;
    assert_int_equal(write_and_wait(&objects[count], PAGE_SIZE, false), SWAP_OK);
    finish_all();
}

static void test_books_are_small(void **state)
{
    (void)state;
    uint64_t before = stats().metadata_bytes;
    unsigned count = 0;
    while (count < 2000 && write_and_wait(&objects[count], PAGE_SIZE, false) == SWAP_OK)
        count++;
    uint64_t grown = stats().metadata_bytes - before;
    assert_in_range(grown, 8 * count, 8 * count + 5 * PAGE_SIZE);
    printf("figure: swap: books %llu bytes at rest, %llu more for %u slots\n",
           (unsigned long long)before, (unsigned long long)grown, count);
}

/* ---- errors ------------------------------------------------------------------------------ */

static void test_write_error(void **state)
{
    (void)state;
    expect_trouble = true;
    faults.failing_sectors_stay = true;
    uint64_t capacity = swap_capacity_pages();
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(write_sized(&objects[i], PAGE_SIZE, false), SWAP_OK);
    faults.write_error = 1000;
    swap_write_flush();
    disk_complete_all();
    faults.write_error = 0;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(objects[i].answers, 1);
        assert_int_equal(objects[i].status, SWAP_IO_ERROR);
    }
    assert_int_equal(stats().slots_used, 0);
    assert_int_equal(stats().sectors_bad, 90);
    assert_int_equal(swap_capacity_pages(), capacity - 10);
    audit();
    /* The disk asserts that the bad sectors are never written again. */
    expect_trouble = false;
    unsigned count = 0;
    while (count < OBJECTS && write_and_wait(&objects[count], PAGE_SIZE, false) == SWAP_OK)
        count++;
    assert_int_equal(count, capacity - 10);
    finish_all();
}

static void test_read_error(void **state)
{
    (void)state;
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    faults.read_errors_now = 2;
    assert_int_equal(read_and_wait(o), SWAP_OK);
    assert_int_equal(stats().retries, 2);
    faults.read_errors_now = 3;
    assert_int_equal(read_and_wait(o), SWAP_IO_ERROR);
    assert_int_equal(stats().read_errors, 5);
    assert_int_equal(read_and_wait(o), SWAP_OK);
}

static void test_gone(void **state)
{
    (void)state;
    expect_trouble = true;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(write_and_wait(&objects[i], PAGE_SIZE, false), SWAP_OK);
    for (unsigned i = 20; i < 50; i++)
        assert_int_equal(write_sized(&objects[i], PAGE_SIZE, false), SWAP_OK);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(read_back(&objects[i]), SWAP_OK);
    faults.gone = true;
    disk_complete_all();
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(objects[i].answers, 1);
        if (i < 10 || i >= 20)
            assert_int_equal(objects[i].status, SWAP_OFFLINE);
    }
    assert_false(stats().online);
    assert_int_equal(swap_capacity_pages(), 0);
    assert_int_equal(write_sized(&objects[60], 1, false), SWAP_OFFLINE);
    assert_int_equal(read_back(&objects[1]), SWAP_OFFLINE);
    swap_write_flush();
    finish_all();
}

/* Noticed by a read, while a cluster is open. */
static void test_gone_while_open(void **state)
{
    (void)state;
    expect_trouble = true;
    write_and_wait(&objects[0], PAGE_SIZE, false);
    assert_int_equal(write_sized(&objects[1], PAGE_SIZE, false), SWAP_OK);
    faults.gone = true;
    assert_int_equal(read_and_wait(&objects[0]), SWAP_OFFLINE);
    assert_int_equal(objects[1].answers, 1);
    assert_int_equal(objects[1].status, SWAP_OFFLINE);
    finish_all();
}

static void test_completed_twice(void **state)
{
    (void)state;
    faults.twice = true;
    assert_int_equal(write_and_wait(&objects[0], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(read_and_wait(&objects[0]), SWAP_OK);
    assert_int_equal(stats().strays, 2);
    audit();
}

/* Given back while the read is on its way, and taken again by another page. */
static void test_freed_during_read(void **state)
{
    (void)state;
    faults.in_order = true;
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    assert_int_equal(read_back(o), SWAP_OK);
    drop(o);
    assert_int_equal(write_sized(&objects[1], PAGE_SIZE, false), SWAP_OK);
    assert_int_equal(objects[1].slot.v, o->slot.v);
    disk_complete_all();
    assert_int_equal(o->status, SWAP_IO_ERROR);
    assert_int_equal(stats().tampered, 0);
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(read_and_wait(&objects[1]), SWAP_OK);
}

static void test_bad_slots(void **state)
{
    (void)state;
    struct swap_io io = { .done = on_read };
    expect_panic(swap_read(&io, (swap_slot_t){ 0 }));
    begin_open(NULL);
    write_and_wait(&objects[0], 10, true);
    expect_panic(swap_slot_free((swap_slot_t){ 1 }));
    begin_open(NULL);
    write_and_wait(&objects[0], 10, true);
    swap_slot_t slot = objects[0].slot;
    drop(&objects[0]);
    expect_panic(swap_slot_free(slot));
    begin_open(NULL);
    assert_int_equal(write_sized(&objects[0], 10, true), SWAP_OK);
    expect_panic(swap_slot_free(objects[0].slot));
}

/* A generation never comes back: its slot is not used again. */
static void test_generations_end(void **state)
{
    (void)state;
    write_and_wait(&objects[0], 10, true);
    swap_slot_t slot = objects[0].slot;
    drop(&objects[0]);
    swap_slots_entry(&swap.slots, slot)->generation = UINT32_MAX - 1;
    assert_int_equal(write_and_wait(&objects[0], 10, true), SWAP_OK);
    assert_int_equal(objects[0].slot.v, slot.v);
    assert_int_equal(read_and_wait(&objects[0]), SWAP_OK);
    drop(&objects[0]);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(write_and_wait(&objects[i], 10, true), SWAP_OK);
        assert_int_not_equal(objects[i].slot.v, slot.v);
    }
    assert_int_equal(swap.slots.retired, 1);
    audit();
}

/* ---- what comes back is not what was written (P5) ------------------------------------------ */

static uint8_t *on_disk(const struct object *o)
{
    struct swap_extent extent;
    uint32_t generation;
    assert_true(swap_slots_look(&swap.slots, o->slot, &extent, &generation));
    return disk[AREA_FIRST + SWAP_DATA_SECTOR + extent.sector];
}

static void test_flipped(void **state)
{
    (void)state;
    uint64_t flips = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct object *o = &objects[i];
        assert_int_equal(write_and_wait(o, i == 0 ? PAGE_SIZE : (uint16_t)(700 * i), i > 0),
                         SWAP_OK);
        uint8_t *bytes = on_disk(o);
        for (uint32_t bit = 0; bit < (32u + o->size) * 8; bit += i ? 1 : 3, flips++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(read_and_wait(o), SWAP_OK);
    }
    printf("figure: swap: %llu flipped bits, all refused\n", (unsigned long long)flips);
}

/* Every size the header could claim, with garbage behind it. */
static void test_hostile_headers(void **state)
{
    (void)state;
    struct object *o = &objects[0];
    assert_int_equal(write_and_wait(o, 1500, true), SWAP_OK);
    struct swap_extent_header *h = (struct swap_extent_header *)on_disk(o);
    for (uint32_t size = 0; size <= UINT16_MAX; size += size < 5000 ? 1 : 97) {
        h->size = (uint16_t)size;
        assert_int_equal(read_and_wait(o), size == 1500 ? SWAP_OK : SWAP_TAMPERED);
    }
    memset(h, 0, 4 * BLOCK_SECTOR_SIZE);
    assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
    memset(h, 0xff, 4 * BLOCK_SECTOR_SIZE);
    assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
}

/* An older content of the same slot at the same place. */
static void test_stale(void **state)
{
    (void)state;
    static uint8_t old[SWAP_CELL_BYTES];
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    swap_slot_t slot = o->slot;
    uint8_t *place = on_disk(o);
    memcpy(old, place, sizeof(old));
    drop(o);
    swap.cells.cursor = 0;
    write_and_wait(o, PAGE_SIZE, false);
    assert_int_equal(o->slot.v, slot.v);
    assert_ptr_equal(on_disk(o), place);
    assert_memory_not_equal(place, old, sizeof(old));
    assert_int_equal(read_and_wait(o), SWAP_OK);
    memcpy(place, old, sizeof(old));
    assert_int_equal(read_and_wait(o), SWAP_TAMPERED);
}

static void test_misdirected(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        write_and_wait(&objects[i], PAGE_SIZE, false);
    for (unsigned i = 1; i < 8; i++) {
        static uint8_t kept[SWAP_CELL_BYTES];
        memcpy(kept, on_disk(&objects[0]), sizeof(kept));
        memcpy(on_disk(&objects[0]), on_disk(&objects[i]), sizeof(kept));
        assert_int_equal(read_and_wait(&objects[0]), SWAP_TAMPERED);
        memcpy(on_disk(&objects[0]), kept, sizeof(kept));
    }
    /* Nor does a header with the right number in front of it help. */
    struct swap_extent_header *a = (struct swap_extent_header *)on_disk(&objects[0]);
    uint64_t nonce = a->nonce;
    memcpy(a, on_disk(&objects[1]), SWAP_CELL_BYTES);
    a->nonce = nonce;
    assert_int_equal(read_and_wait(&objects[0]), SWAP_TAMPERED);
}

static void test_torn(void **state)
{
    (void)state;
    static uint8_t old[SWAP_CELL_BYTES], fresh[SWAP_CELL_BYTES];
    struct object *o = &objects[0];
    write_and_wait(o, PAGE_SIZE, false);
    uint8_t *place = on_disk(o);
    memcpy(old, place, sizeof(old));
    drop(o);
    swap.cells.cursor = 0;
    write_and_wait(o, PAGE_SIZE, false);
    assert_ptr_equal(on_disk(o), place);
    memcpy(fresh, place, sizeof(fresh));
    for (unsigned mask = 0; mask < 1u << SWAP_CELL_SECTORS; mask++) {
        for (unsigned s = 0; s < SWAP_CELL_SECTORS; s++)
            memcpy(place + s * 512, (mask >> s & 1 ? fresh : old) + s * 512, 512);
        bool whole = mask == (1u << SWAP_CELL_SECTORS) - 1;
        assert_int_equal(read_and_wait(o), whole ? SWAP_OK : SWAP_TAMPERED);
    }
}

/* A new boot has a new key: nothing from before is believed. */
static void test_key_is_per_boot(void **state)
{
    (void)state;
    static uint8_t before[SWAP_CELL_BYTES];
    write_and_wait(&objects[0], PAGE_SIZE, false);
    memcpy(before, on_disk(&objects[0]), sizeof(before));
    swap_init();
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    objects[0].state = ABSENT;
    write_and_wait(&objects[0], PAGE_SIZE, false);
    memcpy(on_disk(&objects[0]), before, sizeof(before));
    assert_int_equal(read_and_wait(&objects[0]), SWAP_TAMPERED);
}

/* Pages full of a canary: not one copy of it on the disk (P6). */
static void test_no_plain_text(void **state)
{
    (void)state;
    static const char canary[] = "BALLASTCANARY-7f3a";
    uint8_t page[PAGE_SIZE];
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        page[i] = (uint8_t)canary[i % (sizeof(canary) - 1)];
    for (unsigned i = 0; i < 100; i++) {
        objects[i].io.done = on_written;
        objects[i].state = OUT;
        while (swap_write(&objects[i].io, page, (uint16_t)(PAGE_SIZE - i * 31), i % 2) == SWAP_BUSY)
            disk_complete_all();
        objects[i].slot = objects[i].io.slot;
    }
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(stats().pages_written, 100);
    unsigned hits = 0;
    const uint8_t *bytes = (const uint8_t *)disk;
    for (size_t i = 0; i + 8 <= (size_t)DISK_SECTORS * BLOCK_SECTOR_SIZE; i++)
        hits += memcmp(bytes + i, canary, 8) == 0;
    assert_int_equal(hits, 0);
}

/* A device that takes no more than one page at once. */
static void test_short_requests(void **state)
{
    (void)state;
    begin(NULL);
    device.max_sectors = 10;
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(write_and_wait(&objects[i], PAGE_SIZE, false), SWAP_OK);
        assert_int_equal(read_and_wait(&objects[i]), SWAP_OK);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < SWAP_STATUS_COUNT; i++)
        assert_non_null(swap_status_name((enum swap_status)i));
    for (int i = 0; i < SWAP_OPEN_RESULT_COUNT; i++)
        assert_non_null(swap_open_result_name((enum swap_open_result)i));
    assert_string_equal(swap_status_name(SWAP_STATUS_COUNT), "?");
    assert_string_equal(swap_open_result_name(SWAP_OPEN_RESULT_COUNT), "?");
}

#define CLOSED(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define OPEN(name)   cmocka_unit_test_setup_teardown(name, begin_open, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED(test_open),
        CLOSED(test_open_flipped),
        CLOSED(test_open_fields),
        CLOSED(test_open_ranges),
        CLOSED(test_open_read_errors),
        CLOSED(test_open_no_memory),
        CLOSED(test_mkswap),
        OPEN(test_round_trip_every_size),
        OPEN(test_clusters),
        OPEN(test_small_extents_share_cells),
        OPEN(test_read_before_written),
        OPEN(test_reads_are_bounded),
        OPEN(test_random_operations),
        OPEN(test_random_operations_with_errors),
        OPEN(test_random_operations_with_lies),
        OPEN(test_capacity_is_a_promise),
        OPEN(test_full),
        OPEN(test_no_frames_for_books),
        OPEN(test_books_are_small),
        OPEN(test_write_error),
        OPEN(test_read_error),
        OPEN(test_gone),
        OPEN(test_gone_while_open),
        OPEN(test_completed_twice),
        OPEN(test_freed_during_read),
        OPEN(test_bad_slots),
        OPEN(test_generations_end),
        OPEN(test_flipped),
        OPEN(test_hostile_headers),
        OPEN(test_stale),
        OPEN(test_misdirected),
        OPEN(test_torn),
        OPEN(test_key_is_per_boot),
        OPEN(test_no_plain_text),
        OPEN(test_short_requests),
        CLOSED(test_names),
    };
    return cmocka_run_group_tests_name("swap", tests, NULL, NULL);
}
