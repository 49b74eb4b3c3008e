/*
 * Bus-master DMA (see ide.h): the controller moves the data of a whole request,
 * then the drive interrupts once.
 */
#include "drivers/ide.h"

#include "drivers/port.h"

/* Bus master registers (Bus Master IDE, 2.0). */
#define MASTER_COMMAND 0
#define MASTER_STATUS  2
#define MASTER_TABLE   4

#define COMMAND_START     0x01u
#define COMMAND_TO_MEMORY 0x08u
#define STATUS_ACTIVE     0x01u
#define STATUS_ERROR      0x02u
#define STATUS_INTERRUPT  0x04u

#define REGION_BYTES 65536u /* no region crosses a multiple of this */

static void master_stop(struct ide_channel *channel)
{
    port_write8(channel->master + MASTER_COMMAND, 0);
    /* Error and interrupt are cleared by writing 1; the capability bits stay. */
    uint8_t status = port_read8(channel->master + MASTER_STATUS);
    port_write8(channel->master + MASTER_STATUS,
                (uint8_t)(status | STATUS_ERROR | STATUS_INTERRUPT));
}

static void fill_regions(struct ide_channel *channel, const struct block_request *request)
{
    uint64_t at = request->buffer_address.v;
    uint64_t end = at + (uint64_t)request->sector_count * BLOCK_SECTOR_SIZE;
    struct ide_region *region = channel->regions;
    for (;; region++) {
        uint64_t bytes = REGION_BYTES - (at & (REGION_BYTES - 1));
        if (bytes > end - at)
            bytes = end - at;
        *region = (struct ide_region){ .address = (uint32_t)at, .bytes = (uint16_t)bytes };
        at += bytes;
        if (at == end)
            break;
    }
    region->flags = IDE_REGION_LAST;
}

static void dma_prepare(struct ide_channel *channel, const struct block_request *request)
{
    fill_regions(channel, request);
    master_stop(channel);
    port_write32(channel->master + MASTER_TABLE, (uint32_t)channel->regions_address.v);
    port_write8(channel->master + MASTER_COMMAND,
                request->operation == BLOCK_READ ? COMMAND_TO_MEMORY : 0);
}

static enum ide_progress dma_begin(struct ide_channel *channel, const struct block_request *request)
{
    port_write8(channel->master + MASTER_COMMAND,
                (request->operation == BLOCK_READ ? COMMAND_TO_MEMORY : 0) | COMMAND_START);
    return IDE_PENDING;
}

static enum ide_progress dma_advance(struct ide_channel *channel,
                                     const struct block_request *request)
{
    (void)request;
    uint8_t master = port_read8(channel->master + MASTER_STATUS);
    if (!(master & (STATUS_INTERRUPT | STATUS_ERROR)))
        return IDE_PENDING;
    if (ide_status(channel) & ATA_STATUS_BUSY)
        return IDE_PENDING;
    master_stop(channel);
    uint8_t status = port_read8(channel->command + IDE_STATUS); /* acknowledges */
    if (status & (ATA_STATUS_ERROR | ATA_STATUS_FAULT))
        return IDE_FAILED;
    /* Still active: the drive was done before the table was, a short transfer. */
    if (master & (STATUS_ERROR | STATUS_ACTIVE) || status & ATA_STATUS_DATA)
        return IDE_TRANSFER_BROKE;
    return IDE_DONE;
}

const struct ide_transfer ide_dma = {
    .name = "DMA",
    .read = ATA_COMMAND_READ_DMA,
    .write = ATA_COMMAND_WRITE_DMA,
    .read_ext = ATA_COMMAND_READ_DMA_EXT,
    .write_ext = ATA_COMMAND_WRITE_DMA_EXT,
    .prepare = dma_prepare,
    .begin = dma_begin,
    .advance = dma_advance,
    .abort = master_stop,
};
