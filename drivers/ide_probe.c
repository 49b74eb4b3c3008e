/* Finding IDE channels and the drives on them, see ide.h. Boot time. */
#include "drivers/ide.h"

#include "drivers/ata.h"
#include "drivers/disk_driver.h"
#include "drivers/irq.h"
#include "drivers/port.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"

/* Programming interface byte (PCI Local Bus 3.0, appendix D). */
#define INTERFACE_NATIVE(channel) (1u << (2 * (channel)))
#define INTERFACE_MASTER          0x80u

#define ATAPI_MIDDLE 0x14 /* signature of packet devices (ATA-6, 9.12) */
#define ATAPI_HIGH   0xeb
#define DATA_TRIES   1000000u

static struct ide_channel channels[IDE_CHANNEL_MAX];
static unsigned channel_count;

static bool wait_for_data(const struct ide_channel *channel)
{
    for (unsigned i = 0; i < DATA_TRIES; i++) {
        uint8_t status = ide_status(channel);
        if (status & ATA_STATUS_BUSY)
            continue;
        if (status & (ATA_STATUS_ERROR | ATA_STATUS_FAULT))
            return false;
        if (status & ATA_STATUS_DATA)
            return true;
    }
    return false;
}

static bool identify(const struct ide_channel *channel, unsigned unit,
                     uint16_t words[ATA_IDENTIFY_WORDS])
{
    if (!ide_select(channel, unit, 0))
        return false;
    port_write8(channel->command + IDE_COUNT, 0);
    port_write8(channel->command + IDE_LBA_LOW, 0);
    port_write8(channel->command + IDE_LBA_MIDDLE, 0);
    port_write8(channel->command + IDE_LBA_HIGH, 0);
    port_write8(channel->command + IDE_COMMAND, ATA_COMMAND_IDENTIFY);
    uint8_t status = ide_status(channel);
    if (status == 0 || status == 0xff || !ide_wait_ready(channel))
        return false;
    if (port_read8(channel->command + IDE_LBA_MIDDLE) == ATAPI_MIDDLE &&
        port_read8(channel->command + IDE_LBA_HIGH) == ATAPI_HIGH) {
        log_info("ide%u unit %u: packet device, not used", channel->index, unit);
        return false;
    }
    if (!wait_for_data(channel))
        return false;
    port_read16_many(channel->command + IDE_DATA, words, ATA_IDENTIFY_WORDS);
    port_read8(channel->command + IDE_STATUS);
    return true;
}

/* NULL, or why the drive cannot be used. */
static const char *drive_describe(struct ide_drive *drive, const uint16_t *words)
{
    struct ata_identity identity;
    const char *problem = ata_identify_parse(words, &identity);
    memcpy(drive->disk->model, identity.model, sizeof(drive->disk->model));
    if (problem)
        return problem;
    drive->lba48 = identity.lba48;
    drive->transfer = drive->channel->master && identity.dma ? &ide_dma : &ide_pio;
    drive->disk->transfer = drive->transfer->name;
    return disk_unit_set(&drive->channel->queue, drive->unit, identity.sector_count,
                         IDE_SECTORS_MAX);
}

static void drive_add(struct ide_channel *channel, unsigned unit)
{
    uint16_t words[ATA_IDENTIFY_WORDS];
    struct ide_drive *drive = &channel->drives[unit];
    drive->channel = channel;
    drive->disk = &channel->queue.units[unit];
    drive->unit = unit;
    if (!identify(channel, unit, words))
        return;
    fmt_print(drive->disk->name, sizeof(drive->disk->name), "ata%u-%s", channel->index,
              unit ? "slave" : "master");
    const char *problem = drive_describe(drive, words);
    if (problem)
        log_warn("disk %s: %s: not used", drive->disk->name, problem);
}

/* A floating bus reads as ones; the task file of a drive remembers what is
 * written to it. */
static bool answers(const struct ide_channel *channel)
{
    if (port_read8(channel->command + IDE_STATUS) == 0xff)
        return false;
    port_write8(channel->command + IDE_DEVICE, 0xe0);
    port_write8(channel->command + IDE_LBA_LOW, 0x55);
    port_write8(channel->command + IDE_LBA_MIDDLE, 0xaa);
    return port_read8(channel->command + IDE_LBA_LOW) == 0x55 &&
           port_read8(channel->command + IDE_LBA_MIDDLE) == 0xaa;
}

static bool channel_place(struct ide_channel *channel, const struct pci_device *device,
                          unsigned index)
{
    if (device->interface & INTERFACE_NATIVE(index)) {
        uint16_t control = pci_io_base(device, 2 * index + 1);
        channel->command = pci_io_base(device, 2 * index);
        channel->control = control ? (uint16_t)(control + 2) : 0;
    } else {
        channel->command = index ? 0x170 : 0x1f0;
        channel->control = index ? 0x376 : 0x3f6;
    }
    uint16_t master = device->interface & INTERFACE_MASTER ? pci_io_base(device, 4) : 0;
    channel->master = master ? (uint16_t)(master + 8 * index) : 0;
    return channel->command && channel->control;
}

static void channel_add(struct ide_channel *channel, const struct pci_device *device,
                        unsigned index, const struct disk_host *host)
{
    struct disk_queue *queue = &channel->queue;
    if (channel->master) {
        channel->regions = host->dma_alloc(PAGE_SIZE, &channel->regions_address);
        if (!channel->regions)
            channel->master = 0;
    }
    ide_interrupts_enable(channel, false);
    drive_add(channel, 0);
    drive_add(channel, 1);
    channel->drive = &channel->drives[0];
    if (!queue->units[0].present && !queue->units[1].present)
        return;
    queue->pci = *device;
    queue->vector = device->interface & INTERFACE_NATIVE(index)
                        ? irq_route_pci(device->interrupt_line)
                        : irq_route_isa(index ? 15 : 14);
    ide_interrupts_enable(channel, true);
    host->add(queue);
}

static void ide_probe(const struct pci_device *device, const struct disk_host *host)
{
    pci_enable_io_dma(device);
    for (unsigned index = 0; index < 2 && channel_count < IDE_CHANNEL_MAX; index++) {
        struct ide_channel *channel = &channels[channel_count];
        memset(channel, 0, sizeof(*channel));
        disk_queue_init(&channel->queue, &ide_queue_ops, 1);
        channel->index = channel_count;
        fmt_print(channel->queue.name, sizeof(channel->queue.name), "ata%u", channel->index);
        if (!channel_place(channel, device, index) || !answers(channel))
            continue;
        channel_count++;
        channel_add(channel, device, index, host);
    }
}

const struct disk_driver ide_driver = {
    .name = "IDE",
    .class_code = 0x01,
    .subclass = 0x01,
    .interface = DISK_DRIVER_ANY,
    .vendor = DISK_DRIVER_ANY,
    .probe = ide_probe,
};
