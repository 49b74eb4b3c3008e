/* Disks of the host, see disk.h: controllers, drives, ranges. */
#include "drivers/disk.h"

#include "drivers/gpt.h"
#include "drivers/ide.h"
#include "lib/log.h"

/* PCI class of what is served here (PCI Local Bus 3.0, appendix D). */
#define CLASS_STORAGE 0x01
#define SUBCLASS_IDE  0x01

#define BOOT_READ_TRIES 2
/* Bounds the wait for one sector at boot, beyond the driver's own time-out. */
#define BOOT_POLLS_MAX 100000000u

static struct ide_channel channels[IDE_CHANNEL_MAX];
static unsigned channel_count;
static void *(*dma_allocate)(size_t size, hpa_t *address);

/* One page for reading partition tables. */
static void *table_buffer;
static hpa_t table_address;

static void controller_found(const struct pci_device *device)
{
    if (device->class_code == CLASS_STORAGE && device->subclass == SUBCLASS_IDE)
        ide_probe(device, dma_allocate, channels, &channel_count);
}

/* ---- reading at boot: one request at a time, waited for ---------------------- */

struct boot_read {
    struct block_request request;
    bool done;
};

static void boot_read_done(struct block_request *request)
{
    container_of(request, struct boot_read, request)->done = true;
}

static enum block_status read_once(struct block_device *device, uint64_t sector)
{
    static struct boot_read read;
    read = (struct boot_read){ .request = { .operation = BLOCK_READ,
                                            .sector = sector,
                                            .sector_count = 1,
                                            .buffer = table_buffer,
                                            .buffer_address = table_address,
                                            .done = boot_read_done } };
    device->submit(device, &read.request);
    for (unsigned i = 0; i < BOOT_POLLS_MAX && !read.done; i++)
        device->poll(device);
    return read.done ? read.request.status : BLOCK_TIMEOUT;
}

static bool table_read(void *context, uint64_t sector, void *buffer)
{
    (void)buffer; /* always table_buffer */
    for (unsigned i = 0; i < BOOT_READ_TRIES; i++)
        if (read_once(context, sector) == BLOCK_OK)
            return true;
    return false;
}

/* ---- ranges -------------------------------------------------------------------- */

struct range_list {
    struct disk_range *ranges;
    unsigned count, max;
};

static void range_add(struct range_list *list, struct block_device *device, uint64_t first,
                      uint64_t count, unsigned partition)
{
    if (list->count < list->max)
        list->ranges[list->count++] = (struct disk_range){
            .device = device, .first_sector = first, .sector_count = count, .partition = partition
        };
}

/* Partitions first, then the whole disk, for a swap area without a table. */
static void add_drive(struct range_list *list, struct ide_drive *drive)
{
    struct gpt_partition partitions[GPT_PARTITION_MAX];
    struct block_device *device = &drive->device;
    struct gpt_disk disk = { table_read, device, device->sector_count };
    unsigned count;
    enum gpt_result result = gpt_read(&disk, table_buffer, partitions, &count);
    log_info("disk %s: %s, %lu MiB, %s, %s with %u partitions", drive->name, drive->model,
             device->sector_count * BLOCK_SECTOR_SIZE >> 20, drive->transfer->name,
             gpt_result_name(result), count);
    if (result != GPT_OK && result != GPT_NONE)
        log_warn("disk %s: %s", drive->name, gpt_result_name(result));
    for (unsigned i = 0; i < count; i++)
        range_add(list, device, partitions[i].first, partitions[i].count, partitions[i].number);
    range_add(list, device, 0, device->sector_count, 0);
}

unsigned disk_init(void *(*dma_alloc)(size_t size, hpa_t *address), struct disk_range *ranges,
                   unsigned range_max)
{
    struct range_list list = { .ranges = ranges, .max = range_max };
    dma_allocate = dma_alloc;
    table_buffer = dma_alloc(PAGE_SIZE, &table_address);
    if (!table_buffer) {
        log_warn("disk: no memory that a device can reach; disks are not used");
        return 0;
    }
    pci_enumerate(controller_found);
    for (unsigned i = 0; i < channel_count; i++)
        for (unsigned unit = 0; unit < 2; unit++)
            if (channels[i].drives[unit].present)
                add_drive(&list, &channels[i].drives[unit]);
    if (!list.count)
        log_info("disk: none found");
    return list.count;
}

/* ---- the main loop --------------------------------------------------------------- */

bool disk_interrupt(uint8_t vector)
{
    bool ours = false;
    for (unsigned i = 0; i < channel_count; i++) {
        if (!channels[i].vector || channels[i].vector != vector)
            continue;
        ide_interrupt(&channels[i]);
        ours = true;
    }
    return ours;
}

void disk_poll(uint64_t now)
{
    for (unsigned i = 0; i < channel_count; i++)
        ide_poll(&channels[i], now);
}

uint64_t disk_deadline(void)
{
    uint64_t deadline = UINT64_MAX;
    for (unsigned i = 0; i < channel_count; i++)
        if (ide_deadline(&channels[i]) < deadline)
            deadline = ide_deadline(&channels[i]);
    return deadline;
}
