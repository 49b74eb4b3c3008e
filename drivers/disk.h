/*
 * Disks of the host. Finds controllers on PCI, brings up their drives, reads
 * their partition tables and offers every partition and whole disk to a caller.
 * IDE, AHCI, NVMe and virtio-blk; docs/disks.md tells what of each.
 */
#ifndef DRIVERS_DISK_H
#define DRIVERS_DISK_H

#include "mm/block.h"

/* A place where a swap area could be. */
struct disk_range {
    struct block_device *device;
    uint64_t first_sector, sector_count;
    unsigned partition; /* GPT entry number from 1; 0: the whole disk */
};

#define DISK_RANGE_MAX 64

/* dma_alloc: contiguous, cleared memory below 4 GiB, boot time (machine_dma_alloc).
 * map: makes device registers reachable, NULL when it cannot. Logs a line for each
 * disk. Returns the number of ranges written to ranges. */
unsigned disk_init(void *(*dma_alloc)(size_t size, hpa_t *address),
                   void *(*map)(hpa_t address, size_t size), struct disk_range *ranges,
                   unsigned range_max);

/* An interrupt with this vector was recorded: returns true when it was a disk's.
 * Completions run from here and from disk_poll(). */
bool disk_interrupt(uint8_t vector);

/* Time-outs and lost interrupts; now: clock_now_ns(). Called by the main loop. */
void disk_poll(uint64_t now);

/* Earliest time disk_poll() wants to be called, ns; UINT64_MAX: none. */
uint64_t disk_deadline(void);

/*
 * The fault hook of the tests: from now on the disk's requests are counted, each
 * operation from 1, and those from first to first + count - 1 complete with
 * BLOCK_ERROR. Reads do not touch the buffer then, writes do not reach the disk.
 */
void disk_fault_set(bool write, uint32_t first, uint32_t count);

#endif
