/*
 * Block device, as the swap area needs it. Drivers implement it; the simulated
 * machine does too. Buffers are memory from machine_dma_alloc(), never guest
 * frames. Requests complete in any order; done() is called from the machine's
 * main loop (never from an interrupt handler, never from inside submit()).
 */
#ifndef MM_BLOCK_H
#define MM_BLOCK_H

#include "lib/list.h"
#include "lib/types.h"

#define BLOCK_SECTOR_SIZE 512u

enum block_operation { BLOCK_READ, BLOCK_WRITE };

enum block_status {
    BLOCK_OK,
    BLOCK_ERROR,   /* the device reported an error; a retry may help */
    BLOCK_TIMEOUT, /* no answer by the deadline; the device was reset */
    BLOCK_GONE,    /* the device does not answer any more */
    BLOCK_REFUSED  /* range outside the device, or size 0: a caller's bug */
};

struct block_request {
    enum block_operation operation;
    uint64_t sector;       /* first sector, relative to the device */
    uint32_t sector_count; /* 1 .. max_sectors of the device */
    void *buffer;
    hpa_t buffer_address;     /* the same memory, as the device addresses it */
    enum block_status status; /* set before done() */
    void (*done)(struct block_request *);
    struct list_node link; /* the driver's while the request is in flight */
};

struct block_device {
    const char *name; /* "ata0-master", for people */
    uint64_t sector_count;
    uint32_t max_sectors; /* longest request */
    unsigned queue_depth; /* requests it holds at once; more wait in its queue */
    /* Takes the request; it completes later through done(), errors too. */
    void (*submit)(struct block_device *device, struct block_request *request);
    /* Moves completions along; for boot time, before interrupts are served. */
    void (*poll)(struct block_device *device);
    void *driver;
};

#endif
