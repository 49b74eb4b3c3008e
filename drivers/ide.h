/*
 * IDE: channels, drives and the two ways to move data. Internal to drivers/;
 * others use drivers/disk.h and struct block_device.
 *
 * Sources: ATA/ATAPI-6 (T13/1410D); Intel 82371SB (PIIX3), 2.7 "IDE"; "Programming
 * Interface for Bus Master IDE Controller" 1.0.
 *
 * A channel executes one command at a time, its two drives take turns: a queue of
 * one slot (drivers/disk_queue.h), under whose lock all of this runs.
 */
#ifndef DRIVERS_IDE_H
#define DRIVERS_IDE_H

#include "drivers/ata.h"
#include "drivers/disk_queue.h"

#define IDE_CHANNEL_MAX 8
#define IDE_SECTORS_MAX 256 /* LBA28 commands take no more */

/* Task file, as offsets from the command base (ATA-6, 7). */
#define IDE_DATA       0
#define IDE_ERROR      1
#define IDE_COUNT      2
#define IDE_LBA_LOW    3
#define IDE_LBA_MIDDLE 4
#define IDE_LBA_HIGH   5
#define IDE_DEVICE     6
#define IDE_STATUS     7
#define IDE_COMMAND    7

enum ide_progress {
    IDE_PENDING, /* goes on; nothing has happened, or not all of it */
    IDE_DONE,
    IDE_FAILED,        /* the drive reported an error */
    IDE_TRANSFER_BROKE /* the transfer itself failed: DMA may not work here */
};

struct ide_drive;
struct ide_channel;

/* A way to move data; chosen for each drive, exchanged when it fails. */
struct ide_transfer {
    const char *name;
    uint8_t read, write, read_ext, write_ext; /* commands; ext: LBA48 */
    /* Prepares, before the command is written. */
    void (*prepare)(struct ide_channel *channel, const struct block_request *request);
    /* After the command was written. */
    enum ide_progress (*begin)(struct ide_channel *channel, const struct block_request *request);
    /* Looks at the hardware; may be called at any time while a command runs. */
    enum ide_progress (*advance)(struct ide_channel *channel, const struct block_request *request);
    /* Stops what is going on, before a reset. */
    void (*abort)(struct ide_channel *channel);
};
extern const struct ide_transfer ide_dma, ide_pio;

struct ide_drive {
    struct ide_channel *channel;
    struct disk_unit *disk;
    unsigned unit; /* 0 master, 1 slave */
    bool lba48;
    const struct ide_transfer *transfer;
    unsigned transfer_failures; /* in a row */
};

/* One entry of the table a bus master reads (Bus Master IDE, 1.2). */
struct ide_region {
    uint32_t address;
    uint16_t bytes; /* 0: 64 KiB */
    uint16_t flags;
};
#define IDE_REGION_LAST 0x8000u

struct ide_channel {
    struct disk_queue queue;
    unsigned index;
    uint16_t command, control; /* task file; alternate status and device control */
    uint16_t master;           /* bus master registers, 0: none */
    struct ide_drive drives[2];
    struct ide_drive *drive; /* whose request runs, or ran last */
    uint32_t sectors_moved;  /* PIO */
    struct ide_region *regions;
    hpa_t regions_address;
};

/* ide.c: what the queue of a channel needs. */
extern const struct disk_queue_ops ide_queue_ops;

/* ---- ide_task.c: the task file ------------------------------------------------------ */

/* Reads the alternate status: acknowledges nothing. */
uint8_t ide_status(const struct ide_channel *channel);
/* Waits, bounded, until not busy. False: it stays busy, or nothing is there. */
bool ide_wait_ready(const struct ide_channel *channel);
/* Selects a drive, with the bits 24-27 of an LBA28 address. */
bool ide_select(const struct ide_channel *channel, unsigned unit, unsigned lba_bits);
/* Writes address, count and command. */
bool ide_command(struct ide_channel *channel, const struct ide_drive *drive,
                 const struct block_request *request);
/* Soft reset of both drives. */
void ide_reset(const struct ide_channel *channel);
void ide_interrupts_enable(const struct ide_channel *channel, bool enable);

#endif
