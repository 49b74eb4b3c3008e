/* Finding IDE channels and the drives on them, see ide.h. Boot time. */
#include "drivers/ide.h"

#include "drivers/irq.h"
#include "drivers/port.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"

#define CHECK_TRUSTING (100 * 1000000ull) /* ns until an interrupt counts as late */

/* Programming interface byte (PCI Local Bus 3.0, appendix D). */
#define INTERFACE_NATIVE(channel) (1u << (2 * (channel)))
#define INTERFACE_MASTER          0x80u

#define COMMAND_IDENTIFY 0xec
#define IDENTIFY_WORDS   256
#define ATAPI_MIDDLE     0x14 /* signature of packet devices (ATA-6, 9.12) */
#define ATAPI_HIGH       0xeb
#define DATA_TRIES       1000000u

/* Words of IDENTIFY DEVICE (ATA-6, 8.15). */
#define WORD_MODEL        27 /* to 46, bytes swapped */
#define WORD_CAPABILITIES 49
#define CAPABILITY_DMA    (1u << 8)
#define CAPABILITY_LBA    (1u << 9)
#define WORD_SECTORS      60
#define WORD_FEATURES     83
#define FEATURE_LBA48     (1u << 10)
#define WORD_SECTORS_48   100
#define WORD_SECTOR_SIZE  106 /* valid when bits 15:14 are 01; bit 12: not 512 */

static bool wait_for_data(const struct ide_channel *channel)
{
    for (unsigned i = 0; i < DATA_TRIES; i++) {
        uint8_t status = ide_status(channel);
        if (status & IDE_STATUS_BUSY)
            continue;
        if (status & (IDE_STATUS_ERROR | IDE_STATUS_FAULT))
            return false;
        if (status & IDE_STATUS_DATA)
            return true;
    }
    return false;
}

static bool identify(const struct ide_channel *channel, unsigned unit,
                     uint16_t words[IDENTIFY_WORDS])
{
    if (!ide_select(channel, unit, 0))
        return false;
    port_write8(channel->command + IDE_COUNT, 0);
    port_write8(channel->command + IDE_LBA_LOW, 0);
    port_write8(channel->command + IDE_LBA_MIDDLE, 0);
    port_write8(channel->command + IDE_LBA_HIGH, 0);
    port_write8(channel->command + IDE_COMMAND, COMMAND_IDENTIFY);
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
    port_read16_many(channel->command + IDE_DATA, words, IDENTIFY_WORDS);
    port_read8(channel->command + IDE_STATUS);
    return true;
}

static void copy_model(char model[41], const uint16_t *words)
{
    for (unsigned i = 0; i < 40; i++) {
        char c = (char)(i & 1 ? words[i / 2] & 0xff : words[i / 2] >> 8);
        model[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    unsigned length = 40;
    while (length && model[length - 1] == ' ')
        length--;
    model[length] = 0;
}

static uint64_t sector_count(const uint16_t *words, bool lba48)
{
    uint64_t count = 0;
    for (unsigned i = lba48 ? 4 : 2; i-- > 0;)
        count = count << 16 | words[(lba48 ? WORD_SECTORS_48 : WORD_SECTORS) + i];
    return count;
}

/* NULL, or why the drive cannot be used. */
static const char *drive_describe(struct ide_drive *drive, const uint16_t *words)
{
    if (!(words[WORD_CAPABILITIES] & CAPABILITY_LBA))
        return "no LBA addressing";
    if ((words[WORD_SECTOR_SIZE] & 0xd000) == 0x5000)
        return "sectors are not 512 bytes";
    drive->lba48 =
        (words[WORD_FEATURES] & 0xc000) == 0x4000 && words[WORD_FEATURES] & FEATURE_LBA48;
    uint64_t count = sector_count(words, drive->lba48);
    if (count == 0 || count > 1ull << 48)
        return "its size makes no sense";
    if (!drive->lba48 && count > 1ull << 28)
        count = 1ull << 28;
    drive->device.sector_count = count;
    drive->transfer =
        drive->channel->master && words[WORD_CAPABILITIES] & CAPABILITY_DMA ? &ide_dma : &ide_pio;
    return NULL;
}

static void drive_add(struct ide_channel *channel, unsigned unit)
{
    uint16_t words[IDENTIFY_WORDS];
    struct ide_drive *drive = &channel->drives[unit];
    drive->channel = channel;
    drive->unit = unit;
    list_init(&drive->queue);
    if (!identify(channel, unit, words))
        return;
    fmt_print(drive->name, sizeof(drive->name), "ata%u-%s", channel->index,
              unit ? "slave" : "master");
    copy_model(drive->model, words + WORD_MODEL);
    const char *problem = drive_describe(drive, words);
    if (problem) {
        log_warn("disk %s: %s: not used", drive->name, problem);
        return;
    }
    drive->device.name = drive->name;
    drive->device.max_sectors = IDE_SECTORS_MAX;
    drive->device.queue_depth = 1;
    drive->device.submit = ide_submit;
    drive->device.poll = ide_poll_device;
    drive->device.driver = drive;
    drive->present = true;
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
                        unsigned index, void *(*dma_alloc)(size_t size, hpa_t *address))
{
    list_init(&channel->finished);
    channel->deadline = channel->check_at = UINT64_MAX;
    channel->check_ns = CHECK_TRUSTING;
    if (channel->master) {
        channel->regions = dma_alloc(PAGE_SIZE, &channel->regions_address);
        if (!channel->regions)
            channel->master = 0;
    }
    ide_interrupts_enable(channel, false);
    drive_add(channel, 0);
    drive_add(channel, 1);
    if (!channel->drives[0].present && !channel->drives[1].present)
        return;
    channel->vector = device->interface & INTERFACE_NATIVE(index)
                          ? irq_route_pci(device->interrupt_line)
                          : irq_route_isa(index ? 15 : 14);
    ide_interrupts_enable(channel, true);
}

void ide_probe(const struct pci_device *device, void *(*dma_alloc)(size_t size, hpa_t *address),
               struct ide_channel *channels, unsigned *channel_count)
{
    pci_enable_io_dma(device);
    for (unsigned index = 0; index < 2 && *channel_count < IDE_CHANNEL_MAX; index++) {
        struct ide_channel *channel = &channels[*channel_count];
        memset(channel, 0, sizeof(*channel));
        channel->index = *channel_count;
        if (!channel_place(channel, device, index) || !answers(channel))
            continue;
        (*channel_count)++;
        channel_add(channel, device, index, dma_alloc);
    }
}
