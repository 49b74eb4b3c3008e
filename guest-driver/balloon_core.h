/*
 * Driver for the traditional virtio balloon over virtio-mmio: VIRTIO 1.2, 3.1
 * (initialization), 4.2 (MMIO), 2.7 (split queues), 5.5 (balloon). Portable: all
 * it needs of the machine below is struct balloon_ops, so it runs in the minimal
 * guest and, against a fake device, in tests/host.
 *
 * Invariants:
 * - at most one buffer of each queue is with the device (descriptor 0);
 * - of the inflate and the deflate queue, at most one has a buffer with the
 *   device: a page is never on its way in both directions;
 * - a page on the stack `pages` is not used by the guest; it is used again only
 *   after the device has acknowledged its deflation.
 *
 * The device is not trusted to follow the rules: a used ring that says what
 * cannot be ends with BALLOON_BROKEN and status FAILED.
 *
 * Context: balloon_interrupt() may interrupt any of the other functions, which
 * themselves must not run concurrently.
 */
#ifndef GUEST_BALLOON_CORE_H
#define GUEST_BALLOON_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/virtio.h"
#include "abi/virtio_balloon.h"

#define BALLOON_BATCH      256u /* page numbers in a buffer */
#define BALLOON_QUEUE_SIZE 4u
#define BALLOON_QUEUES     3u
#define BALLOON_NO_PAGE    0u
/* How often wait() is called for one answer before the device counts as gone. */
#define BALLOON_WAIT_MAX 1000000u

enum balloon_status {
    BALLOON_OK,
    BALLOON_NO_DEVICE,        /* nothing there, or not a balloon */
    BALLOON_NO_RESET,         /* status does not become 0 */
    BALLOON_FEATURES_REFUSED, /* VERSION_1 not offered, or FEATURES_OK not kept */
    BALLOON_NO_QUEUE,         /* a queue is missing, too small or in use */
    BALLOON_NEEDS_RESET,      /* the device gave up */
    BALLOON_BROKEN,           /* its used ring says what cannot be */
    BALLOON_NO_ANSWER,
    BALLOON_STATUS_COUNT
};
const char *balloon_status_name(enum balloon_status status);

struct balloon_ops {
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    /* Where the device finds this memory. */
    uint64_t (*physical)(void *context, const void *memory);
    /* A page to give up; BALLOON_NO_PAGE: none at the moment. Must not call back. */
    uint32_t (*page_alloc)(void *context);
    void (*page_free)(void *context, uint32_t page);
    /* Values by tag, bytes or counts; UINT64_MAX: not known, not sent. */
    void (*statistics)(void *context, uint64_t values[VIRTIO_BALLOON_S_COUNT]);
    /* Returns when the device may have got on. */
    void (*wait)(void *context);
};

struct balloon_queue {
    _Alignas(16) struct virtq_desc desc[BALLOON_QUEUE_SIZE];
    struct {
        uint16_t flags, index;
        uint16_t ring[BALLOON_QUEUE_SIZE];
        uint16_t used_event;
    } avail;
    _Alignas(4) struct {
        uint16_t flags, index;
        struct virtq_used_elem ring[BALLOON_QUEUE_SIZE];
        uint16_t avail_event;
    } used;
    uint16_t used_seen;
    bool in_flight;
};

/* Must lie in physically contiguous memory. */
struct balloon {
    const struct balloon_ops *ops;
    void *context;
    enum balloon_status status;
    uint64_t features; /* negotiated */
    uint32_t target;   /* the device's num_pages when last read */
    uint32_t reported; /* `actual` as the device was told */
    bool held;         /* deflated on OOM: does not inflate until balloon_resume() */

    uint32_t *pages; /* stack of pages given up */
    uint32_t page_count, page_capacity;

    volatile uint32_t events; /* VIRTIO_INTERRUPT_* not yet worked on */
    struct balloon_queue queues[BALLOON_QUEUES];
    uint32_t batch[BALLOON_BATCH]; /* of the inflate or the deflate queue */
    uint32_t batch_count;
    struct virtio_balloon_stat stats[VIRTIO_BALLOON_S_COUNT];

    uint64_t inflated_count, deflated_count, oom_count, statistics_count;
};

/* Initializes the device in the order of 3.1.1 and says DRIVER_OK. pages: room
 * for `capacity` page numbers. A failure is also kept in balloon->status. */
enum balloon_status balloon_start(struct balloon *balloon, const struct balloon_ops *ops,
                                  void *context, uint32_t *pages, uint32_t capacity);

/* From the interrupt handler: reads and acknowledges the causes. */
void balloon_interrupt(struct balloon *balloon);
/* Something is waiting to be worked on. */
bool balloon_is_pending(const struct balloon *balloon);

/* Takes what the device gave back and starts the next batch towards the target.
 * Does not wait. Inflates as far as page_alloc() gives: call it again later. */
enum balloon_status balloon_work(struct balloon *balloon);

/* Out of memory: takes up to a batch of pages back, waiting for the device.
 * Returns how many were freed; 0 without DEFLATE_ON_OOM. */
uint32_t balloon_reclaim(struct balloon *balloon);
/* The shortage is over: inflate again. */
void balloon_resume(struct balloon *balloon);

#endif
