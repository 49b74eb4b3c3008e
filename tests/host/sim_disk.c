/*
 * The simulated disk: requests wait in a queue until the test (or the pump)
 * completes one, in order, in reverse or at random. It can fail, lie and die.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/swap_format.h"
#include "tests/host/sim.h"

static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    uint32_t crc = ~0u;
    while (size--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void submit(struct block_device *device, struct block_request *request)
{
    struct sim_disk *disk = device->driver;
    sim_check(request->sector_count <= device->max_sectors, "request longer than the disk allows");
    sim_trace("  disk %s sector %llu count %u", request->operation == BLOCK_READ ? "read" : "write",
              (unsigned long long)request->sector, request->sector_count);
    request->status = BLOCK_OK;
    if (!request->sector_count || request->sector >= device->sector_count ||
        request->sector_count > device->sector_count - request->sector)
        request->status = BLOCK_REFUSED;
    list_append(&disk->queue, &request->link);
    disk->queued++;
}

static void poll(struct block_device *device)
{
    (void)device;
    sim_disk_complete();
}

static bool fails(uint64_t number, uint64_t first, uint64_t count, unsigned permille)
{
    if (first && number >= first && number - first < count)
        return true;
    return permille && rng_below(&sim.meanwhile, 1000) < permille;
}

static bool damages(struct sim_disk *disk, bool read)
{
    if (disk->damage == SIM_INTACT || (disk->damage == SIM_STALE) != read || !disk->damage_count)
        return false;
    if (disk->damage_permille && rng_below(&sim.meanwhile, 1000) >= disk->damage_permille)
        return false;
    if (disk->damage_count != UINT64_MAX)
        disk->damage_count--;
    disk->damaged++;
    return true;
}

static void copy_out(struct sim_disk *disk, const struct block_request *request)
{
    size_t size = (size_t)request->sector_count * BLOCK_SECTOR_SIZE;
    uint64_t at = request->sector * BLOCK_SECTOR_SIZE;
    const uint8_t *from = damages(disk, true) ? disk->old : disk->bytes;
    memcpy(request->buffer, from + at, size);
}

static void copy_in(struct sim_disk *disk, const struct block_request *request)
{
    size_t size = (size_t)request->sector_count * BLOCK_SECTOR_SIZE;
    uint64_t at = request->sector * BLOCK_SECTOR_SIZE;
    uint8_t *to = disk->bytes + at;
    sim_check(request->sector >= SWAP_DATA_SECTOR, "the swap header is written to");
    if (sim_hooks.written_out)
        sim_hooks.written_out(request->buffer, size);
    memcpy(disk->old + at, to, size);
    if (!damages(disk, false)) {
        memcpy(to, request->buffer, size);
        return;
    }
    switch (disk->damage) {
    case SIM_FLIPPED: /* one bit in every sector, so that padding alone is never all of it */
        memcpy(to, request->buffer, size);
        for (size_t i = 0; i < size; i += BLOCK_SECTOR_SIZE)
            to[i + rng_below(&sim.meanwhile, 16)] ^= (uint8_t)(1u << rng_below(&sim.meanwhile, 8));
        break;
    case SIM_TORN: /* all but the last sector of each page */
        for (size_t i = 0; i < size; i += BLOCK_SECTOR_SIZE)
            if (i / BLOCK_SECTOR_SIZE % 4)
                memcpy(to + i, (uint8_t *)request->buffer + i, BLOCK_SECTOR_SIZE);
        break;
    case SIM_MISDIRECTED: {
        uint64_t end = disk->device.sector_count * BLOCK_SECTOR_SIZE;
        uint64_t other = at + size + size <= end ? at + size : SWAP_DATA_SECTOR * BLOCK_SECTOR_SIZE;
        memcpy(disk->bytes + other, request->buffer, size);
        break;
    }
    default: /* LOST */
        break;
    }
}

static struct block_request *choose(struct sim_disk *disk)
{
    uint64_t skip = 0;
    if (disk->order == SIM_LIFO)
        skip = disk->queued - 1;
    if (disk->order == SIM_RANDOM)
        skip = rng_below(&sim.meanwhile, disk->queued);
    struct list_node *node = disk->queue.next;
    while (skip--)
        node = node->next;
    return container_of(node, struct block_request, link);
}

static void carry_out(struct sim_disk *disk, struct block_request *request)
{
    bool read = request->operation == BLOCK_READ;
    uint64_t number = read ? ++disk->reads : ++disk->writes;
    if (request->status == BLOCK_REFUSED)
        return;
    bool failed =
        read ? fails(number, disk->fail_read_first, disk->fail_read_count, disk->fail_read_permille)
             : fails(number, disk->fail_write_first, disk->fail_write_count,
                     disk->fail_write_permille);
    if (disk->gone) {
        request->status = BLOCK_GONE;
    } else if (failed) {
        request->status = number % 2 ? BLOCK_ERROR : BLOCK_TIMEOUT;
    } else if (read) {
        copy_out(disk, request);
    } else {
        copy_in(disk, request);
    }
    if (request->status != BLOCK_OK)
        read ? disk->failed_reads++ : disk->failed_writes++;
}

bool sim_disk_complete(void)
{
    struct sim_disk *disk = &sim.disk;
    if (!disk->queued)
        return false;
    struct block_request *request = choose(disk);
    list_remove(&request->link);
    disk->queued--;
    carry_out(disk, request);
    sim_trace("disk completes %s sector %llu: %d",
              request->operation == BLOCK_READ ? "read" : "write",
              (unsigned long long)request->sector, request->status);
    SIM_CORE(request->done(request));
    return true;
}

void sim_disk_heal(void)
{
    struct sim_disk *disk = &sim.disk;
    disk->gone = false;
    disk->reads = disk->writes = disk->failed_reads = disk->failed_writes = 0;
    disk->fail_read_first = disk->fail_read_count = 0;
    disk->fail_write_first = disk->fail_write_count = 0;
    disk->fail_read_permille = disk->fail_write_permille = disk->damage_permille = 0;
    disk->damage = SIM_INTACT;
    disk->damage_count = disk->damaged = 0;
}

void sim_disk_format(void)
{
    struct swap_header header = { .magic = SWAP_MAGIC,
                                  .version = SWAP_VERSION,
                                  .sector_size = BLOCK_SECTOR_SIZE,
                                  .sector_count = sim.disk.device.sector_count };
    header.check = crc32_of((const uint8_t *)&header, offsetof(struct swap_header, check));
    memset(sim.disk.bytes, 0, BLOCK_SECTOR_SIZE);
    memcpy(sim.disk.bytes, &header, sizeof header);
}

void sim_disk_init(uint32_t pages)
{
    struct sim_disk *disk = &sim.disk;
    memset(disk, 0, sizeof *disk);
    /* A page and its header take 9 sectors. */
    uint64_t sectors = SWAP_DATA_SECTOR + (uint64_t)pages * 9;
    disk->bytes = calloc(sectors, BLOCK_SECTOR_SIZE);
    disk->old = calloc(sectors, BLOCK_SECTOR_SIZE);
    list_init(&disk->queue);
    disk->device = (struct block_device){ .name = "sim0",
                                          .sector_count = sectors,
                                          .max_sectors = 256,
                                          .queue_depth = 1,
                                          .submit = submit,
                                          .poll = poll,
                                          .driver = disk };
    sim_disk_format();
}

void sim_disk_free(void)
{
    free(sim.disk.bytes);
    free(sim.disk.old);
    memset(&sim.disk, 0, sizeof sim.disk);
}
