/* The task file of an IDE channel: select, command, wait, reset. See ide.h. */
#include "drivers/ide.h"

#include "drivers/port.h"

#define DEVICE_LBA           0xe0u /* with the two bits that used to be always set */
#define DEVICE_SLAVE         0x10u
#define CONTROL_NO_INTERRUPT 0x02u
#define CONTROL_RESET        0x04u

/* A status read takes about 1 us on a real bus, so this is half a second: after a
 * reset a drive may take 31 s (ATA-6, 9.2), but those at hand have long spun up. */
#define READY_TRIES 500000u
#define RESET_HOLD  100u  /* reads; at least 5 us (9.2) */
#define RESET_QUIET 4000u /* reads; at least 2 ms before the status counts */

uint8_t ide_status(const struct ide_channel *channel)
{
    return port_read8(channel->control);
}

bool ide_wait_ready(const struct ide_channel *channel)
{
    for (unsigned i = 0; i < READY_TRIES; i++) {
        uint8_t status = ide_status(channel);
        if (status == 0xff)
            return false; /* nobody drives the bus */
        if (!(status & ATA_STATUS_BUSY))
            return true;
    }
    return false;
}

/* 400 ns until the status of a newly selected drive is valid (ATA-6, 9.3). */
static void settle(const struct ide_channel *channel)
{
    for (unsigned i = 0; i < 4; i++)
        ide_status(channel);
}

bool ide_select(const struct ide_channel *channel, unsigned unit, unsigned lba_bits)
{
    if (!ide_wait_ready(channel))
        return false;
    port_write8(channel->command + IDE_DEVICE,
                (uint8_t)(DEVICE_LBA | (unit ? DEVICE_SLAVE : 0) | lba_bits));
    settle(channel);
    return ide_wait_ready(channel);
}

static void write_address(const struct ide_channel *channel, unsigned shift, uint64_t lba)
{
    port_write8(channel->command + IDE_LBA_LOW, (uint8_t)(lba >> shift));
    port_write8(channel->command + IDE_LBA_MIDDLE, (uint8_t)(lba >> (shift + 8)));
    port_write8(channel->command + IDE_LBA_HIGH, (uint8_t)(lba >> (shift + 16)));
}

bool ide_command(struct ide_channel *channel, const struct ide_drive *drive,
                 const struct block_request *request)
{
    const struct ide_transfer *transfer = drive->transfer;
    bool read = request->operation == BLOCK_READ;
    bool ext = request->sector + request->sector_count > ATA_LBA28_LIMIT;
    unsigned top = ext ? 0 : (unsigned)(request->sector >> 24) & 15;
    if (!ide_select(channel, drive->unit, top))
        return false;
    if (ext) {
        /* The registers are two deep: high bytes first (ATA-6, 6.20). */
        port_write8(channel->command + IDE_COUNT, (uint8_t)(request->sector_count >> 8));
        write_address(channel, 24, request->sector);
    }
    port_write8(channel->command + IDE_COUNT, (uint8_t)request->sector_count);
    write_address(channel, 0, request->sector);
    port_write8(channel->command + IDE_COMMAND,
                ext ? (read ? transfer->read_ext : transfer->write_ext)
                    : (read ? transfer->read : transfer->write));
    settle(channel);
    return true;
}

void ide_interrupts_enable(const struct ide_channel *channel, bool enable)
{
    port_write8(channel->control, enable ? 0 : CONTROL_NO_INTERRUPT);
}

void ide_reset(const struct ide_channel *channel)
{
    port_write8(channel->control, CONTROL_RESET | CONTROL_NO_INTERRUPT);
    for (unsigned i = 0; i < RESET_HOLD; i++)
        ide_status(channel);
    port_write8(channel->control, CONTROL_NO_INTERRUPT);
    for (unsigned i = 0; i < RESET_QUIET; i++)
        ide_status(channel);
    ide_wait_ready(channel);
    port_read8(channel->command + IDE_STATUS); /* drops a pending interrupt */
    ide_interrupts_enable(channel, true);
}
