/*
 * GUID partition tables (UEFI 2.10, 5.3), read only. The disk is hostile: both
 * headers and the entries are checked by CRC and by bounds, and a table that
 * fails any check yields no partition at all. Portable; no state.
 */
#ifndef DRIVERS_GPT_H
#define DRIVERS_GPT_H

#include "lib/types.h"

/* More entries than this are refused; 128 is what everybody writes. */
#define GPT_ENTRY_MAX     256
#define GPT_PARTITION_MAX 32

struct gpt_partition {
    uint8_t type[16];
    uint64_t first, count; /* sectors; count > 0, within the disk */
    unsigned number;       /* of its entry, from 1 */
};

/* Reads one 512-byte sector. False: error. */
struct gpt_disk {
    bool (*read)(void *context, uint64_t sector, void *buffer);
    void *context;
    uint64_t sector_count;
};

enum gpt_result {
    GPT_OK,
    GPT_BACKUP,        /* the first header was damaged, the one at the end was used */
    GPT_NONE,          /* no partition table */
    GPT_UNREADABLE,    /* read error */
    GPT_BAD_HEADER,    /* revision, size, place or CRC of both headers */
    GPT_BAD_BOUNDS,    /* the table or its usable range lies outside the disk */
    GPT_BAD_ENTRIES,   /* size or number of entries, or their CRC */
    GPT_BAD_PARTITION, /* outside of the usable range, or overlapping another */
    GPT_TOO_MANY,      /* more partitions than GPT_PARTITION_MAX */
    GPT_RESULT_COUNT
};
const char *gpt_result_name(enum gpt_result result);

/* Fills partitions, in the order of their entries; *count is 0 unless the result
 * is GPT_OK or GPT_BACKUP. buffer: 512 bytes the disk can read into. */
enum gpt_result gpt_read(const struct gpt_disk *disk, void *buffer,
                         struct gpt_partition partitions[GPT_PARTITION_MAX], unsigned *count);

#endif
