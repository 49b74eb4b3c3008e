/* Disks of the host, see disk.h: controllers, drives, ranges. */
#include "drivers/disk.h"

#include "drivers/disk_driver.h"
#include "drivers/gpt.h"
#include "drivers/irq.h"

#define BOOT_READ_TRIES 2
/* Bounds the wait for one sector at boot, beyond the driver's own time-out. */
#define BOOT_POLLS_MAX 100000000u

#define QUEUE_MAX 16
/* Interrupts of a vector in a row for which no disk had a reason. */
#define IDLE_INTERRUPTS_MAX 10000u

static const struct disk_driver *const drivers[] = { &ide_driver, &ahci_driver, &nvme_driver,
                                                     &virtio_blk_driver };

static struct disk_queue *queues[QUEUE_MAX];
static unsigned queue_count;
static unsigned idle_interrupts;

/* One page for reading partition tables. */
static void *table_buffer;
static hpa_t table_address;

static struct disk_host host;

static bool queue_add(struct disk_queue *queue)
{
    if (queue_count == QUEUE_MAX) {
        log_warn("disk %s: too many controllers, not used", queue->name);
        return false;
    }
    queues[queue_count++] = queue;
    return true;
}

static bool serves(const struct disk_driver *driver, const struct pci_device *device)
{
    return driver->class_code == device->class_code && driver->subclass == device->subclass &&
           (driver->interface == DISK_DRIVER_ANY || driver->interface == device->interface) &&
           (driver->vendor == DISK_DRIVER_ANY || driver->vendor == device->vendor);
}

static void controller_found(const struct pci_device *device)
{
    for (unsigned i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (serves(drivers[i], device))
            drivers[i]->probe(device, &host);
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
static void add_unit(struct range_list *list, struct disk_unit *unit)
{
    struct gpt_partition partitions[GPT_PARTITION_MAX];
    struct block_device *device = &unit->device;
    struct gpt_disk disk = { table_read, device, device->sector_count };
    unsigned count;
    enum gpt_result result = gpt_read(&disk, table_buffer, partitions, &count);
    log_info("disk %s: %s, %lu MiB, %s, depth %u, %s with %u partitions", unit->name, unit->model,
             device->sector_count * BLOCK_SECTOR_SIZE >> 20, unit->transfer, device->queue_depth,
             gpt_result_name(result), count);
    if (result != GPT_OK && result != GPT_NONE)
        log_warn("disk %s: %s", unit->name, gpt_result_name(result));
    for (unsigned i = 0; i < count; i++)
        range_add(list, device, partitions[i].first, partitions[i].count, partitions[i].number);
    range_add(list, device, 0, device->sector_count, 0);
}

unsigned disk_init(void *(*dma_alloc)(size_t size, hpa_t *address),
                   void *(*map)(hpa_t address, size_t size), struct disk_range *ranges,
                   unsigned range_max)
{
    struct range_list list = { .ranges = ranges, .max = range_max };
    host = (struct disk_host){ .dma_alloc = dma_alloc, .map = map, .add = queue_add };
    table_buffer = dma_alloc(PAGE_SIZE, &table_address);
    if (!table_buffer) {
        log_warn("disk: no memory that a device can reach; disks are not used");
        return 0;
    }
    pci_enumerate(controller_found);
    for (unsigned i = 0; i < queue_count; i++)
        for (unsigned unit = 0; unit < DISK_UNIT_MAX; unit++)
            if (queues[i]->units[unit].present)
                add_unit(&list, &queues[i]->units[unit]);
    if (!list.count)
        log_info("disk: none found");
    return list.count;
}

/* ---- the main loop --------------------------------------------------------------- */

/* The line, or a message, comes again and again for no reason: it is shut off, and
 * the disks on it are looked at by time. */
static void silence(uint8_t vector)
{
    log_warn("disk: interrupt 0x%x without a reason, %u times in a row: switched off", vector,
             IDLE_INTERRUPTS_MAX);
    irq_mask(vector);
    for (unsigned i = 0; i < queue_count; i++) {
        if (queues[i]->vector != vector)
            continue;
        pci_interrupt_stop(&queues[i]->pci);
        disk_queue_distrust(queues[i]);
        queues[i]->vector = 0;
    }
}

bool disk_interrupt(uint8_t vector)
{
    bool ours = false, ended = false;
    for (unsigned i = 0; i < queue_count; i++) {
        if (!queues[i]->vector || queues[i]->vector != vector)
            continue;
        ended |= disk_queue_interrupt(queues[i]);
        ours = true;
    }
    if (ended)
        idle_interrupts = 0;
    else if (ours && ++idle_interrupts == IDLE_INTERRUPTS_MAX)
        silence(vector);
    return ours;
}

void disk_poll(uint64_t now)
{
    for (unsigned i = 0; i < queue_count; i++)
        disk_queue_poll(queues[i], now);
}

uint64_t disk_deadline(void)
{
    uint64_t deadline = UINT64_MAX;
    for (unsigned i = 0; i < queue_count; i++) {
        uint64_t next = disk_queue_deadline(queues[i]);
        if (next < deadline)
            deadline = next;
    }
    return deadline;
}
