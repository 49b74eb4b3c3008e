/*
 * The swap area's one record, shared by mm/swap.c, swap_open.c, swap_write.c,
 * swap_read.c and swap_ahead.c.
 *
 * Lock: swap.lock around every access; never held while a caller's done() runs,
 * so that done() may call any function of mm/swap.h. It is held over the
 * device's submit(), which never calls back.
 */
#ifndef MM_SWAP_AREA_H
#define MM_SWAP_AREA_H

#include "lib/assert.h"
#include "lib/lock.h"
#include "mm/aead.h"
#include "mm/swap.h"
#include "mm/swap_books.h"
#include "mm/swap_format.h"

/* A cluster is up to this many neighbouring cells: 63 KiB. */
#define SWAP_CLUSTER_CELLS   14u
#define SWAP_CLUSTER_BYTES   (16u * PAGE_SIZE)
#define SWAP_CLUSTER_COUNT   4u
#define SWAP_READ_COUNT      32u
#define SWAP_READ_ROOM_BYTES 5120u
static_assert(SWAP_CLUSTER_CELLS * SWAP_CELL_BYTES <= SWAP_CLUSTER_BYTES, "a cluster fits");
static_assert(SWAP_CELL_BYTES <= SWAP_READ_ROOM_BYTES, "the longest extent fits");
static_assert(SWAP_CELL_BYTES >= sizeof(struct swap_extent_header) + PAGE_SIZE, "a page fits");

enum swap_cluster_state {
    SWAP_CLUSTER_IDLE,
    SWAP_CLUSTER_OPEN,   /* being filled; at most one */
    SWAP_CLUSTER_WRITING /* with the device */
};

struct swap_cluster {
    enum swap_cluster_state state;
    struct block_request request;
    uint8_t *buffer;
    hpa_t address;
    uint32_t first_cell, cell_count;  /* the run found for it */
    uint8_t fill[SWAP_CLUSTER_CELLS]; /* sectors used in each cell */
    struct list_node ios;             /* struct swap_io, in the order of arrival */
    struct list_node readers;         /* struct swap_reader: want a slot of this cluster */
};

enum swap_reader_state {
    SWAP_READER_FREE,
    SWAP_READER_CLUSTER, /* waits for a cluster to be written */
    SWAP_READER_DEVICE,  /* with the device */
    SWAP_READER_DONE     /* its answer is being given */
};

struct swap_reader {
    enum swap_reader_state state;
    struct block_request request;
    uint8_t *buffer;
    hpa_t address;
    struct swap_io *io;
    struct swap_extent extent;
    uint32_t generation; /* of the slot when the read began */
    struct list_node link;
};

/* Pages read ahead with one request. */
#define SWAP_GROUP_COUNT 2u
static_assert(SWAP_AHEAD_MAX <= SWAP_CLUSTER_CELLS, "a group of whole pages fits");

struct swap_group {
    struct block_request request;
    uint8_t *buffer; /* SWAP_CLUSTER_BYTES; NULL: there was none to be had */
    hpa_t address;
    unsigned count; /* 0: the group is free */
    bool answered;  /* by the device; the callers are being told */
    uint32_t first; /* sector */
    struct swap_io *ios[SWAP_AHEAD_MAX];
    struct swap_extent extents[SWAP_AHEAD_MAX];
    uint32_t generations[SWAP_AHEAD_MAX]; /* of the slots when the read began */
};

struct swap_area {
    struct spinlock lock;
    bool online;
    struct block_device *device;
    uint64_t first_sector; /* of the first cell, on the device */
    uint64_t sector_count; /* of the area */
    uint64_t sectors_used;
    struct aead_key key;
    struct swap_cells cells;
    struct swap_slots slots;
    struct swap_cluster clusters[SWAP_CLUSTER_COUNT];
    struct swap_reader readers[SWAP_READ_COUNT];
    struct list_node free_readers;
    struct swap_group groups[SWAP_GROUP_COUNT];
    uint32_t cluster_cells; /* SWAP_CLUSTER_CELLS, or fewer for the device's sake */
    uint64_t buffer_bytes;
    struct swap_stats counts; /* the counters among them */
};
extern struct swap_area swap;

static inline uint64_t swap_nonce(swap_slot_t slot, uint32_t generation)
{
    return (uint64_t)slot.v << 32 | generation;
}
/* What the tag covers besides the payload: size, compressed, reserved. */
#define SWAP_EXTRA_BYTES 8u
static_assert(sizeof(struct swap_extent_header) ==
                  offsetof(struct swap_extent_header, size) + SWAP_EXTRA_BYTES,
              "the authenticated fields close the header");

/* Books of one slot and its extent; the lock is held. */
void swap_slot_give_back(swap_slot_t slot);

/* The device does not answer any more. The lock is held. */
void swap_go_offline(void);

/* swap_write.c: the cluster that holds this extent and is not on disk yet; NULL. */
struct swap_cluster *swap_cluster_of(struct swap_extent extent);
/* Hands an open cluster to the device. The lock is held. */
void swap_cluster_send(struct swap_cluster *cluster);
/* The device is gone: what waited to be sent has failed as well. The lock is
 * not held. */
void swap_cluster_fail_open(void);
/* Where an extent lies in the cluster's buffer. */
const uint8_t *swap_cluster_extent(const struct swap_cluster *cluster, struct swap_extent extent);

/* swap_read.c: the extent was copied to the reader's buffer, or status says why
 * not. Verifies, decrypts, calls done(). The lock is not held. */
void swap_reader_finish(struct swap_reader *reader, enum swap_status status);
void swap_read_done(struct block_request *request);
/* The slot is in use, and was not given back and taken since. The lock is held. */
bool swap_slot_is_current(swap_slot_t slot, uint32_t generation);
/* Opens an extent in place: true when it is what was written under slot and
 * generation; sets buffer, size and compressed of the io. The lock is not held. */
bool swap_extent_open(struct swap_io *io, uint8_t *at, struct swap_extent extent,
                      uint32_t generation);
/* swap_ahead.c */
void swap_ahead_done(struct block_request *request);
void swap_write_done(struct block_request *request);

#endif
