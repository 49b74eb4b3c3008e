/*
 * The swap area: guest pages on disk, encrypted and authenticated.
 *
 * A partition or disk that begins with our header (mm/swap_format.h); anything
 * else is never written. Space is handed out in extents of sectors: a header of
 * 32 bytes and the payload, a page or a compressed block as it is. An extent
 * lies within one cell of nine sectors, so an area of N cells holds any N pages
 * (mm/swap_books.h). Pages are collected into clusters of up to 63 KiB and
 * written with one request.
 *
 * Books: a slot is an index into a table of 8-byte entries {extent, generation},
 * whose pages are taken when first needed and never given back. The nonce is
 * slot and generation, so it never repeats under the per-boot key, and since it
 * is taken from memory, stale, lost, torn and misdirected data fail the tag
 * (P5, P6). A generation that would wrap retires its slot.
 *
 * Read errors are retried SWAP_READ_TRIES times, then reported to the caller.
 * Write errors set the cells of that cluster aside for good and are reported.
 * done() may call any function declared here. Lock: one, not held in done().
 */
#ifndef MM_SWAP_H
#define MM_SWAP_H

#include "mm/block.h"
#include "lib/types.h"

/* Index of a slot; SWAP_SLOT_NONE is none. */
typedef struct {
    uint32_t v;
} swap_slot_t;
#define SWAP_SLOT_NONE  ((swap_slot_t){ UINT32_MAX })
#define SWAP_READ_TRIES 3u

enum swap_status {
    SWAP_OK,
    SWAP_BUSY,     /* no bounce buffer now: try again after a completion */
    SWAP_FULL,     /* no extent or no slot */
    SWAP_OFFLINE,  /* no area, or the device is gone */
    SWAP_IO_ERROR, /* after all retries */
    SWAP_TAMPERED, /* the tag or the header does not fit */
    SWAP_STATUS_COUNT
};
const char *swap_status_name(enum swap_status status);

/* Why a device is not our swap area. */
enum swap_open_result {
    SWAP_OPEN_OK,
    SWAP_OPEN_NO_SIGNATURE,
    SWAP_OPEN_BAD_VERSION,
    SWAP_OPEN_BAD_CHECK, /* header damaged */
    SWAP_OPEN_TOO_SMALL, /* fewer sectors than the header says, or useless */
    SWAP_OPEN_IO_ERROR,
    SWAP_OPEN_NO_MEMORY,
    SWAP_OPEN_ALREADY, /* an area is open; this range was not looked at */
    SWAP_OPEN_RESULT_COUNT
};
const char *swap_open_result_name(enum swap_open_result result);

/* Forgets any area and draws the per-boot key from machine_entropy(). Once at
 * boot, before swap_open(). */
void swap_init(void);

/* Examines one range of a device (a partition, or all of it) and opens it as
 * the swap area when it carries the signature. Boot time: polls the device.
 * Reads only. At most one area is open. */
enum swap_open_result swap_open(struct block_device *device, uint64_t first_sector,
                                uint64_t sector_count);

/* One page on its way. Owned by the caller (the core's in-flight record) until
 * done() was called. */
struct swap_io {
    swap_slot_t slot;
    bool compressed; /* payload is an LZ4 block, not a page */
    uint16_t size;   /* payload bytes, 1 .. PAGE_SIZE */
    void (*done)(struct swap_io *io, enum swap_status status);
    /* Private to mm/swap*.c: */
    void *buffer;
    uint8_t tries;
    struct list_node link;
};

/* Takes a slot and an extent, encrypts the payload into the open cluster (the
 * source is not needed afterwards). done() comes once the cluster is on disk or
 * has failed; a failed io's slot is already given back then, and io->slot
 * is only its name for reports.
 * OK, or BUSY / FULL / OFFLINE without any effect on the io; FULL also when there
 * is no frame for the books. */
enum swap_status swap_write(struct swap_io *io, const void *payload, uint16_t size,
                            bool compressed);

/* Sends a cluster that is not full. */
void swap_write_flush(void);

/* Starts reading slot; done() comes with OK, IO_ERROR or TAMPERED. On OK and
 * only inside done(), swap_read_payload() gives the decrypted payload; size and
 * compressed are set. The slot stays until swap_slot_free(). A slot whose write
 * is not done yet is read from its cluster. BUSY or OFFLINE: no effect. */
enum swap_status swap_read(struct swap_io *io, swap_slot_t slot);
const void *swap_read_payload(const struct swap_io *io);

/*
 * Reading ahead (mm/swap_ahead.c). choose: which of at most SWAP_AHEAD_MAX slots lie
 * close enough together for one request, bit i for slots[i]; 0 also when the device is
 * busy with what others wait for. start: one request for ios of chosen slots, their
 * `slot` and `done` set; done() comes for each as for swap_read(), but nothing is tried
 * again or counted as tampered. OK, or BUSY without any effect: try no further.
 */
#define SWAP_AHEAD_MAX 14u
uint32_t swap_ahead_choose(const swap_slot_t slots[], unsigned count);
enum swap_status swap_ahead_start(struct swap_io *const ios[], unsigned count);

/* Not before the slot's write is done. A read of it that is on its way ends in
 * IO_ERROR. */
void swap_slot_free(swap_slot_t slot);

/* Is there an area whose device answers? */
bool swap_is_online(void);

/* Is there room for slots that nobody needs (mm/clean.h)? More than a quarter of
 * the area is free. */
bool swap_is_roomy(void);
/* Less than an eighth is free: such slots have to go. */
bool swap_is_tight(void);

struct swap_stats {
    bool online;
    uint64_t sectors, sectors_used, sectors_bad;
    uint64_t slots_used;
    uint64_t reads, writes; /* requests to the device */
    uint64_t pages_read, pages_written;
    uint64_t read_errors, write_errors, tampered, retries;
    uint64_t strays;         /* completions of nothing in flight: late or twice */
    uint64_t metadata_bytes; /* books: slot table, cell map, records */
    uint64_t buffer_bytes;   /* bounce buffers for clusters and reads */
};
void swap_stats_get(struct swap_stats *stats);

/* Pages (worst case, uncompressed) the area can hold in all; for admission. */
uint64_t swap_capacity_pages(void);

/* Calls visit for every slot in use; for the audit. */
void swap_audit(void (*visit)(swap_slot_t slot, void *context), void *context);

#endif
