/*
 * Virtio 1.2, section 5.5: traditional memory balloon device.
 */
#ifndef ABI_VIRTIO_BALLOON_H
#define ABI_VIRTIO_BALLOON_H

#include <stdint.h>

/* 5.5.2 Virtqueues, as the specification numbers them. */
#define VIRTIO_BALLOON_Q_INFLATE   0
#define VIRTIO_BALLOON_Q_DEFLATE   1
#define VIRTIO_BALLOON_Q_STATS     2
#define VIRTIO_BALLOON_Q_FREE_PAGE 3
#define VIRTIO_BALLOON_Q_REPORTING 4

/* 5.5.3 Feature bits, as bit numbers. */
#define VIRTIO_BALLOON_F_MUST_TELL_HOST 0
#define VIRTIO_BALLOON_F_STATS_VQ       1
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM 2
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT 3
#define VIRTIO_BALLOON_F_PAGE_POISON    4
#define VIRTIO_BALLOON_F_PAGE_REPORTING 5

/* 5.5.4 Device configuration layout. */
struct virtio_balloon_config {
    uint32_t num_pages; /* the host's wish, in 4 KiB pages; read-only for the driver */
    uint32_t actual;    /* what the driver has given up */
};

/* 5.5.6.3 Memory statistics: packed, 10 bytes each. */
struct virtio_balloon_stat {
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));

#define VIRTIO_BALLOON_S_SWAP_IN      0 /* bytes */
#define VIRTIO_BALLOON_S_SWAP_OUT     1 /* bytes */
#define VIRTIO_BALLOON_S_MAJOR_FAULTS 2
#define VIRTIO_BALLOON_S_MINOR_FAULTS 3
#define VIRTIO_BALLOON_S_FREE_MEMORY  4 /* bytes */
#define VIRTIO_BALLOON_S_TOTAL_MEMORY 5 /* bytes */
#define VIRTIO_BALLOON_S_AVAILABLE    6 /* bytes */
#define VIRTIO_BALLOON_S_CACHES       7 /* bytes */
#define VIRTIO_BALLOON_S_COUNT        8 /* tags known here; others are ignored */

_Static_assert(sizeof(struct virtio_balloon_stat) == 10, "a statistic is 10 bytes");

#endif
