/*
 * Is this our swap area? Every field of the header must be as we write it, or
 * the range is refused by name and never written.
 */
#include "mm/swap_area.h"

#include "lib/atomic.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/locks.h"
#include "mm/machine.h"

/* Fewer cells than one cluster are no use. */
#define CELLS_MIN SWAP_CLUSTER_CELLS

static const char *const result_names[SWAP_OPEN_RESULT_COUNT] = {
    [SWAP_OPEN_OK] = "ok",
    [SWAP_OPEN_NO_SIGNATURE] = "no signature",
    [SWAP_OPEN_BAD_VERSION] = "unknown version",
    [SWAP_OPEN_BAD_CHECK] = "header damaged",
    [SWAP_OPEN_TOO_SMALL] = "too small",
    [SWAP_OPEN_IO_ERROR] = "read error",
    [SWAP_OPEN_NO_MEMORY] = "no memory for buffers",
    [SWAP_OPEN_ALREADY] = "another area is open",
};

const char *swap_open_result_name(enum swap_open_result result)
{
    return (unsigned)result < SWAP_OPEN_RESULT_COUNT ? result_names[result] : "?";
}

void swap_init(void)
{
    uint8_t key[AEAD_KEY_BYTES];
    memset(&swap, 0, sizeof(swap));
    swap.lock = SPINLOCK(RANK_SWAP);
    machine_entropy(key, sizeof(key));
    aead_key_load(&swap.key, key);
    memset(key, 0, sizeof(key));
    list_init(&swap.free_readers);
    swap_cells_init(&swap.cells, 0);
    swap_slots_init(&swap.slots);
}

/* ---- buffers ------------------------------------------------------------------------- */

/* Once, before the first range is looked at; kept for the next one. */
static bool allocate_buffers(void)
{
    for (unsigned i = 0; i < SWAP_CLUSTER_COUNT; i++) {
        struct swap_cluster *cluster = &swap.clusters[i];
        if (cluster->buffer)
            continue;
        cluster->buffer = machine_dma_alloc(SWAP_CLUSTER_BYTES, &cluster->address);
        if (!cluster->buffer)
            return false;
        list_init(&cluster->ios);
        list_init(&cluster->readers);
        swap.buffer_bytes += SWAP_CLUSTER_BYTES;
    }
    if (swap.readers[0].buffer)
        return true;
    static_assert(SWAP_READ_COUNT * SWAP_READ_ROOM_BYTES % PAGE_SIZE == 0, "whole pages");
    hpa_t address;
    uint8_t *buffers = machine_dma_alloc(SWAP_READ_COUNT * SWAP_READ_ROOM_BYTES, &address);
    if (!buffers)
        return false;
    for (unsigned i = 0; i < SWAP_READ_COUNT; i++) {
        struct swap_reader *reader = &swap.readers[i];
        reader->buffer = buffers + i * SWAP_READ_ROOM_BYTES;
        reader->address = hpa(address.v + i * SWAP_READ_ROOM_BYTES);
        list_append(&swap.free_readers, &reader->link);
    }
    swap.buffer_bytes += SWAP_READ_COUNT * SWAP_READ_ROOM_BYTES;
    /* Without these nothing is read ahead. */
    for (unsigned i = 0; i < SWAP_GROUP_COUNT; i++) {
        swap.groups[i].buffer = machine_dma_alloc(SWAP_CLUSTER_BYTES, &swap.groups[i].address);
        swap.buffer_bytes += swap.groups[i].buffer ? SWAP_CLUSTER_BYTES : 0;
    }
    return true;
}

/* ---- the header ---------------------------------------------------------------------- */

/* CRC-32 of IEEE 802.3, reflected, bit by bit: 56 bytes once at boot. */
static uint32_t crc32(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static bool probe_finished;
static void probe_done(struct block_request *request)
{
    (void)request;
    probe_finished = true;
}

static enum swap_open_result read_header(struct block_device *device, uint64_t sector,
                                         struct swap_reader *reader)
{
    for (unsigned attempt = 0; attempt < SWAP_READ_TRIES; attempt++) {
        struct block_request *request = &reader->request;
        *request = (struct block_request){
            .operation = BLOCK_READ,
            .sector = sector,
            .sector_count = 1,
            .buffer = reader->buffer,
            .buffer_address = reader->address,
            .done = probe_done,
        };
        list_init(&request->link);
        probe_finished = false;
        device->submit(device, request);
        /* The driver answers every request, by its own deadline at the latest. */
        while (!probe_finished)
            device->poll(device);
        if (request->status == BLOCK_OK)
            return SWAP_OPEN_OK;
    }
    return SWAP_OPEN_IO_ERROR;
}

static enum swap_open_result check_header(const uint8_t *sector, uint64_t sector_count)
{
    struct swap_header header;
    memcpy(&header, sector, sizeof(header));
    if (memcmp(header.magic, SWAP_MAGIC, sizeof(header.magic)) != 0)
        return SWAP_OPEN_NO_SIGNATURE;
    if (crc32(sector, offsetof(struct swap_header, check)) != header.check)
        return SWAP_OPEN_BAD_CHECK;
    for (size_t i = sizeof(header); i < BLOCK_SECTOR_SIZE; i++)
        if (sector[i])
            return SWAP_OPEN_BAD_CHECK;
    if (header.version != SWAP_VERSION || header.sector_size != BLOCK_SECTOR_SIZE ||
        header.reserved != 0)
        return SWAP_OPEN_BAD_VERSION;
    if (header.sector_count > sector_count ||
        header.sector_count < SWAP_DATA_SECTOR + CELLS_MIN * SWAP_CELL_SECTORS)
        return SWAP_OPEN_TOO_SMALL;
    return SWAP_OPEN_OK;
}

static void go_online(struct block_device *device, uint64_t first_sector, const uint8_t *sector)
{
    struct swap_header header;
    memcpy(&header, sector, sizeof(header));
    uint64_t cells = (header.sector_count - SWAP_DATA_SECTOR) / SWAP_CELL_SECTORS;
    swap.device = device;
    swap.first_sector = first_sector + SWAP_DATA_SECTOR;
    swap.sector_count = header.sector_count;
    uint32_t longest = device->max_sectors / SWAP_CELL_SECTORS;
    swap.cluster_cells = longest < SWAP_CLUSTER_CELLS ? longest : SWAP_CLUSTER_CELLS;
    ensure(swap.cluster_cells > 0);
    swap_cells_init(&swap.cells, cells < SWAP_CELLS_MAX ? (uint32_t)cells : SWAP_CELLS_MAX);
    swap_slots_init(&swap.slots);
    atomic_set(swap.online, true);
}

enum swap_open_result swap_open(struct block_device *device, uint64_t first_sector,
                                uint64_t sector_count)
{
    if (swap.device)
        return SWAP_OPEN_ALREADY;
    if (first_sector >= device->sector_count ||
        sector_count > device->sector_count - first_sector || sector_count < SWAP_DATA_SECTOR)
        return SWAP_OPEN_TOO_SMALL;
    if (!allocate_buffers())
        return SWAP_OPEN_NO_MEMORY;
    struct swap_reader *reader = &swap.readers[0];
    enum swap_open_result result = read_header(device, first_sector, reader);
    if (result == SWAP_OPEN_OK)
        result = check_header(reader->buffer, sector_count);
    if (result == SWAP_OPEN_OK)
        go_online(device, first_sector, reader->buffer);
    return result;
}
