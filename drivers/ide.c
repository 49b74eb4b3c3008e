/*
 * Requests of IDE drives, see ide.h: one command at a time, and what to do when the
 * drive, or the transfer, fails.
 */
#include "drivers/ide.h"

/* Transfers that broke in a row before DMA is given up for PIO. */
#define BROKEN_MAX 3u

static struct ide_channel *channel_of(struct disk_queue *queue)
{
    return container_of(queue, struct ide_channel, queue);
}

static enum disk_verdict progress(struct ide_channel *channel, enum ide_progress what)
{
    switch (what) {
    case IDE_PENDING:
        return DISK_FINE;
    case IDE_DONE:
        channel->drive->transfer_failures = 0;
        disk_queue_end(&channel->queue, 0, BLOCK_OK);
        return DISK_FINE;
    case IDE_FAILED:
        channel->drive->transfer->abort(channel);
        disk_queue_end(&channel->queue, 0, BLOCK_ERROR);
        return DISK_FINE;
    case IDE_TRANSFER_BROKE:
        disk_queue_end(&channel->queue, 0, BLOCK_ERROR);
        return DISK_RESET;
    }
    return DISK_NONSENSE;
}

static enum disk_verdict ide_start(struct disk_queue *queue, unsigned slot)
{
    struct ide_channel *channel = channel_of(queue);
    const struct block_request *request = queue->slots[slot].request;
    struct ide_drive *drive = &channel->drives[queue->slots[slot].unit->index];
    channel->drive = drive;
    drive->transfer->prepare(channel, request);
    if (!ide_command(channel, drive, request))
        return DISK_NONSENSE;
    return progress(channel, drive->transfer->begin(channel, request));
}

static enum disk_verdict ide_advance(struct disk_queue *queue)
{
    struct ide_channel *channel = channel_of(queue);
    if (!disk_queue_runs(queue, 0))
        return DISK_FINE;
    return progress(channel, channel->drive->transfer->advance(channel, queue->slots[0].request));
}

static void transfer_broke(struct ide_channel *channel, struct ide_drive *drive)
{
    drive->transfer->abort(channel);
    if (++drive->transfer_failures < BROKEN_MAX || drive->transfer == &ide_pio)
        return;
    log_warn("disk %s: %s failed %u times in a row, falling back to %s", drive->disk->name,
             drive->transfer->name, drive->transfer_failures, ide_pio.name);
    drive->transfer = &ide_pio;
    drive->disk->transfer = ide_pio.name;
    drive->transfer_failures = 0;
}

/* Both drives are reset; who is still there? */
static void ide_reset_queue(struct disk_queue *queue)
{
    struct ide_channel *channel = channel_of(queue);
    transfer_broke(channel, channel->drive);
    ide_reset(channel);
    for (unsigned unit = 0; unit < 2; unit++) {
        struct disk_unit *disk = channel->drives[unit].disk;
        if (disk->present && !disk->gone &&
            (!ide_select(channel, unit, 0) || !(ide_status(channel) & ATA_STATUS_READY)))
            disk_unit_lost(disk);
    }
}

const struct disk_queue_ops ide_queue_ops = {
    .start = ide_start,
    .advance = ide_advance,
    .reset = ide_reset_queue,
};
