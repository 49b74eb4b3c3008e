/*
 * Requests of IDE drives: queues, completion, time-outs (see ide.h).
 *
 * A request is in exactly one place: its drive's queue, channel->current, or
 * channel->finished. done() is called from ide_poll(), ide_interrupt() and
 * ide_poll_device() only, after the request has left the last of these; it may
 * submit again.
 */
#include "drivers/ide.h"

#include "drivers/clock.h"
#include "drivers/disk_fault.h"
#include "lib/log.h"

#define MS 1000000ull

#define REQUEST_TIMEOUT (5000 * MS)
/* A drive that lost this many interrupts in a row is looked at this often. */
#define LOST_MAX     3
#define CHECK_POLLED (1 * MS)
/* Transfers that broke in a row before DMA is given up for PIO. */
#define BROKEN_MAX 3

static void finish(struct ide_channel *channel, struct block_request *request,
                   enum block_status status)
{
    request->status = status;
    list_append(&channel->finished, &request->link);
}

static void drive_lost(struct ide_drive *drive)
{
    log_warn("disk %s: does not answer any more", drive->name);
    drive->gone = true;
    while (!list_is_empty(&drive->queue))
        finish(drive->channel, container_of(list_pop(&drive->queue), struct block_request, link),
               BLOCK_GONE);
}

/* After a reset: who is still there? */
static void reset(struct ide_channel *channel)
{
    ide_reset(channel);
    for (unsigned unit = 0; unit < 2; unit++) {
        struct ide_drive *drive = &channel->drives[unit];
        if (drive->present && !drive->gone &&
            (!ide_select(channel, unit, 0) || !(ide_status(channel) & IDE_STATUS_READY)))
            drive_lost(drive);
    }
}

static void current_end(struct ide_channel *channel, enum block_status status)
{
    struct block_request *request = channel->current;
    if (status != BLOCK_OK && channel->drive->gone)
        status = BLOCK_GONE;
    channel->current = NULL;
    channel->drive = NULL;
    channel->deadline = channel->check_at = UINT64_MAX;
    finish(channel, request, status);
}

static void transfer_broke(struct ide_channel *channel, enum block_status status)
{
    struct ide_drive *drive = channel->drive;
    drive->transfer->abort(channel);
    reset(channel);
    if (++drive->transfer_failures >= BROKEN_MAX && drive->transfer != &ide_pio && !drive->gone) {
        log_warn("disk %s: %s failed %u times in a row, falling back to %s", drive->name,
                 drive->transfer->name, drive->transfer_failures, ide_pio.name);
        drive->transfer = &ide_pio;
        drive->transfer_failures = 0;
    }
    current_end(channel, status);
}

static void progress(struct ide_channel *channel, enum ide_progress what)
{
    switch (what) {
    case IDE_PENDING:
        return;
    case IDE_DONE:
        channel->drive->transfer_failures = 0;
        current_end(channel, BLOCK_OK);
        return;
    case IDE_FAILED:
        channel->drive->transfer->abort(channel);
        current_end(channel, BLOCK_ERROR);
        return;
    case IDE_TRANSFER_BROKE:
        transfer_broke(channel, BLOCK_ERROR);
        return;
    }
}

static void start(struct ide_channel *channel, struct ide_drive *drive)
{
    struct block_request *request =
        container_of(list_pop(&drive->queue), struct block_request, link);
    uint64_t now = clock_now_ns();
    channel->drive = drive;
    channel->current = request;
    channel->deadline = now + REQUEST_TIMEOUT;
    channel->check_at = now + channel->check_ns;
    drive->transfer->prepare(channel, request);
    if (!ide_command(channel, drive, request))
        transfer_broke(channel, BLOCK_TIMEOUT);
    else
        progress(channel, drive->transfer->begin(channel, request));
}

/* Drives take turns; ends with a command running or both queues empty. */
static void start_next(struct ide_channel *channel)
{
    for (unsigned idle = 0; !channel->current && idle < 2;) {
        struct ide_drive *drive = &channel->drives[channel->turn];
        channel->turn ^= 1;
        if (drive->present && !list_is_empty(&drive->queue)) {
            start(channel, drive);
            idle = 0;
        } else {
            idle++;
        }
    }
}

/* Hands out what has finished so far. What done() adds waits for the next round,
 * so the work of one call is bounded. */
static void complete(struct ide_channel *channel)
{
    struct list_node batch;
    list_init(&batch);
    while (!list_is_empty(&channel->finished))
        list_append(&batch, list_pop(&channel->finished));
    start_next(channel);
    while (!list_is_empty(&batch)) {
        struct block_request *request = container_of(list_pop(&batch), struct block_request, link);
        request->done(request);
    }
}

static bool is_valid(const struct block_device *device, const struct block_request *request)
{
    uint64_t bytes = (uint64_t)request->sector_count * BLOCK_SECTOR_SIZE;
    return request->sector_count && request->sector_count <= device->max_sectors &&
           request->sector < device->sector_count &&
           request->sector_count <= device->sector_count - request->sector &&
           !(request->buffer_address.v & 1) && request->buffer_address.v + bytes <= 4 * GIB;
}

void ide_submit(struct block_device *device, struct block_request *request)
{
    struct ide_drive *drive = device->driver;
    if (!is_valid(device, request))
        finish(drive->channel, request, BLOCK_REFUSED);
    else if (drive->gone)
        finish(drive->channel, request, BLOCK_GONE);
    else if (disk_fault_due(request->operation))
        finish(drive->channel, request, BLOCK_ERROR);
    else
        list_append(&drive->queue, &request->link);
    if (!drive->channel->current)
        start_next(drive->channel);
}

/* Lets a running command go on as far as it can without waiting. */
static void advance(struct ide_channel *channel)
{
    if (channel->current)
        progress(channel, channel->drive->transfer->advance(channel, channel->current));
}

void ide_interrupt(struct ide_channel *channel)
{
    if (channel->current)
        channel->lost_interrupts = 0;
    advance(channel);
    complete(channel);
}

void ide_poll_device(struct block_device *device)
{
    struct ide_drive *drive = device->driver;
    advance(drive->channel);
    ide_poll(drive->channel, clock_now_ns());
}

/* The interrupt is late: has the command ended all the same? */
static void check(struct ide_channel *channel, uint64_t now)
{
    struct block_request *request = channel->current;
    channel->check_at = now + channel->check_ns;
    advance(channel);
    if (channel->current == request || channel->check_ns == CHECK_POLLED)
        return;
    if (++channel->lost_interrupts < LOST_MAX)
        return;
    log_warn("ide%u: %u interrupts lost in a row, looking every millisecond from now on",
             channel->index, channel->lost_interrupts);
    channel->check_ns = CHECK_POLLED;
}

void ide_poll(struct ide_channel *channel, uint64_t now)
{
    if (channel->current && now >= channel->check_at)
        check(channel, now);
    if (channel->current && now >= channel->deadline) {
        log_warn("disk %s: no answer to a %s of %u sectors at %lu, resetting the channel",
                 channel->drive->name, channel->current->operation == BLOCK_READ ? "read" : "write",
                 channel->current->sector_count, channel->current->sector);
        transfer_broke(channel, BLOCK_TIMEOUT);
    }
    complete(channel);
}

uint64_t ide_deadline(const struct ide_channel *channel)
{
    if (!list_is_empty(&channel->finished))
        return 0;
    if (!channel->current)
        return UINT64_MAX;
    return channel->check_at < channel->deadline ? channel->check_at : channel->deadline;
}
