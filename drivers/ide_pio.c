/*
 * Programmed I/O (see ide.h): one interrupt for each sector, and the CPU moves
 * the data. Slow, but works on every controller.
 */
#include "drivers/ide.h"

#include "drivers/port.h"

#define SECTOR_WORDS (BLOCK_SECTOR_SIZE / 2)

static char *next_sector(struct ide_channel *channel, const struct block_request *request)
{
    return (char *)request->buffer + (size_t)channel->sectors_moved++ * BLOCK_SECTOR_SIZE;
}

static void pio_prepare(struct ide_channel *channel, const struct block_request *request)
{
    (void)request;
    channel->sectors_moved = 0;
}

static void write_sector(struct ide_channel *channel, const struct block_request *request)
{
    port_write16_many(channel->command + IDE_DATA, next_sector(channel, request), SECTOR_WORDS);
    /* Until the status shows what the drive does with it: 400 ns (ATA-6, 9.6). */
    for (unsigned i = 0; i < 4; i++)
        ide_status(channel);
}

/* The first sector of a write goes out without an interrupt before it. */
static enum ide_progress pio_begin(struct ide_channel *channel, const struct block_request *request)
{
    if (request->operation == BLOCK_READ)
        return IDE_PENDING;
    if (!ide_wait_ready(channel))
        return IDE_TRANSFER_BROKE;
    uint8_t status = ide_status(channel);
    if (status & (ATA_STATUS_ERROR | ATA_STATUS_FAULT))
        return IDE_FAILED;
    if (!(status & ATA_STATUS_DATA))
        return IDE_TRANSFER_BROKE;
    write_sector(channel, request);
    return IDE_PENDING;
}

static enum ide_progress pio_advance(struct ide_channel *channel,
                                     const struct block_request *request)
{
    bool read = request->operation == BLOCK_READ;
    if (ide_status(channel) & ATA_STATUS_BUSY)
        return IDE_PENDING;
    uint8_t status = port_read8(channel->command + IDE_STATUS); /* acknowledges */
    if (status & (ATA_STATUS_ERROR | ATA_STATUS_FAULT))
        return IDE_FAILED;
    if (!(status & ATA_STATUS_DATA))
        return !read && channel->sectors_moved == request->sector_count ? IDE_DONE : IDE_PENDING;
    if (channel->sectors_moved == request->sector_count)
        return IDE_TRANSFER_BROKE; /* it wants more than was agreed */
    if (!read) {
        write_sector(channel, request);
        return IDE_PENDING;
    }
    port_read16_many(channel->command + IDE_DATA, next_sector(channel, request), SECTOR_WORDS);
    return channel->sectors_moved == request->sector_count ? IDE_DONE : IDE_PENDING;
}

static void pio_abort(struct ide_channel *channel)
{
    (void)channel; /* the reset that follows is all it takes */
}

const struct ide_transfer ide_pio = {
    .name = "PIO",
    .read = 0x20,
    .write = 0x30,
    .read_ext = 0x24,
    .write_ext = 0x34,
    .prepare = pio_prepare,
    .begin = pio_begin,
    .advance = pio_advance,
    .abort = pio_abort,
};
