/*
 * Rig for the tests of the swap area, included by one file of each program: the
 * machine below it, a disk in RAM that completes in any order, fails, lies and
 * goes away, and objects that are written, read and compared.
 */
#ifndef TESTS_HOST_SWAP_RIG_H
#define TESTS_HOST_SWAP_RIG_H

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
    unsigned fail_at; /* the request of this number ends as fail_as; 0: none */
    enum block_status fail_as;
} faults;
static uint32_t area_sectors;
static unsigned lost_or_torn, requests_ended;

static inline void disk_submit(struct block_device *device, struct block_request *request)
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

static inline void transfer(struct block_request *r)
{
    bool reads = r->operation == BLOCK_READ;
    size_t size = (size_t)r->sector_count * BLOCK_SECTOR_SIZE;
    r->status = BLOCK_OK;
    if (++requests_ended == faults.fail_at) {
        r->status = faults.fail_as;
        faults.gone |= r->status == BLOCK_GONE;
    } else if (faults.gone) {
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
static inline bool disk_complete_one(void)
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

static inline void disk_complete_all(void)
{
    while (disk_complete_one())
        ;
}

static unsigned polls;
static inline void disk_poll(struct block_device *device)
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
static inline uint32_t crc32_table_wise(const uint8_t *bytes, size_t size)
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

static inline struct swap_header *header(void)
{
    return (struct swap_header *)disk[AREA_FIRST];
}

static inline void seal_header(void)
{
    header()->check = crc32_table_wise(disk[AREA_FIRST], offsetof(struct swap_header, check));
}

static inline void format(uint32_t sectors)
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

static inline int begin(void **state)
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
    frames_taken = dma_calls = queued = lost_or_torn = requests_ended = 0;
    frames_allowed = FRAMES;
    dma_allowed = 64;
    device.max_sectors = 256;
    list_init(&queue);
    format(20000);
    swap_init();
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < dma_calls; i++)
        free(dma_blocks[i]);
    dma_calls = 0;
    return 0;
}

static inline enum swap_open_result open_area(void)
{
    return swap_open(&device, AREA_FIRST, area_sectors);
}

static inline struct swap_stats stats(void)
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

static inline void content(const struct object *o, uint8_t *bytes)
{
    struct rng own;
    rng_seed(&own, o->seed);
    for (uint32_t i = 0; i < o->size; i++)
        bytes[i] = (uint8_t)rng_next(&own);
}

static inline void on_written(struct swap_io *io, enum swap_status status)
{
    struct object *o = container_of(io, struct object, io);
    assert_int_equal(o->state, OUT);
    o->answers++;
    o->status = status;
    o->state = status == SWAP_OK ? STORED : ABSENT;
    assert_int_equal(io->slot.v, o->slot.v);
    if (status == SWAP_OK)
        stored++;
    else
        assert_true(expect_trouble);
}

static inline void on_read(struct swap_io *io, enum swap_status status)
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

static inline enum swap_status write_sized(struct object *o, uint16_t size, bool compressed)
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

static inline enum swap_status write_any(struct object *o)
{
    bool compressed = rng_below(&rng, 2);
    return write_sized(o, (uint16_t)(compressed ? 1 + rng_below(&rng, 3072) : PAGE_SIZE),
                       compressed);
}

static inline enum swap_status read_back(struct object *o)
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

static inline void drop(struct object *o)
{
    if (o->state == IN)
        o->freed = true;
    else
        o->state = ABSENT;
    swap_slot_free(o->slot);
    stored--;
}

static inline enum swap_status write_and_wait(struct object *o, uint16_t size, bool compressed)
{
    enum swap_status status = write_sized(o, size, compressed);
    if (status != SWAP_OK)
        return status;
    swap_write_flush();
    disk_complete_all();
    assert_int_equal(o->answers, 1);
    return o->status;
}

static inline enum swap_status read_and_wait(struct object *o)
{
    enum swap_status status = read_back(o);
    if (status != SWAP_OK)
        return status;
    disk_complete_all();
    assert_int_equal(o->answers, 1);
    return o->status;
}

static inline void on_slot(swap_slot_t slot, void *context)
{
    (void)slot;
    ++*(unsigned *)context;
}

/* The books against the objects: slots, sectors, cells. */
static inline void audit(void)
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

static inline int begin_open(void **state)
{
    begin(state);
    memset(objects, 0, sizeof(objects));
    stored = 0;
    expect_trouble = false;
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    return 0;
}

static inline struct object *any_in(enum object_state state)
{
    unsigned start = (unsigned)rng_below(&rng, OBJECTS);
    for (unsigned i = 0; i < OBJECTS; i++)
        if (objects[(start + i) % OBJECTS].state == state)
            return &objects[(start + i) % OBJECTS];
    return NULL;
}

/* All that is left goes; the books are empty then. */
static inline void finish_all(void)
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

#define CLOSED(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define OPEN(name)   cmocka_unit_test_setup_teardown(name, begin_open, end)

#endif
