/*
 * A virtio-mmio driver without scruples: every register, ring and index can be
 * given any value.
 */
#ifndef TESTS_GUEST_RAW_VIRTIO_H
#define TESTS_GUEST_RAW_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/virtio.h"
#include "abi/virtio_balloon.h"
#include "guest-driver/guest.h"

#define RAW_QUEUE_MAX 256u /* entries */

/* The rings of one queue, each in pages of its own. */
struct raw_queue {
    _Alignas(4096) struct virtq_desc desc[RAW_QUEUE_MAX];
    _Alignas(4096) uint16_t avail[3 + RAW_QUEUE_MAX]; /* flags, index, ring, event */
    _Alignas(4096) uint16_t used_flags;
    uint16_t used_index;
    struct virtq_used_elem used_ring[RAW_QUEUE_MAX];
};

uint32_t raw_read(uint32_t offset);
void raw_write(uint32_t offset, uint32_t value);

/* Looks for a balloon where the command line says (virtio=ADDRESS, decimal; else
 * where Ballast has it). */
bool raw_find(const struct guest_boot *boot);
/* Is there still one? */
bool raw_is_present(void);
/* Reset, ACKNOWLEDGE, DRIVER, VERSION_1 and these features, FEATURES_OK. */
void raw_negotiate(uint32_t features);
/* Empty rings where they should be; size entries. */
void raw_queue_setup(unsigned index, struct raw_queue *queue, uint32_t size);
/* Any addresses. */
void raw_queue_setup_at(unsigned index, uint32_t size, uint64_t desc, uint64_t avail,
                        uint64_t used);
void raw_driver_ok(void);
/* Makes the chain that starts at descriptor `head` available, without a notification. */
void raw_offer(struct raw_queue *queue, uint32_t size, uint16_t head);
void raw_notify(uint32_t index);

enum raw_outcome { RAW_USED, RAW_NEEDS_RESET, RAW_IGNORED };
/* Looks at the device for a bounded time: did it use `count` chains, or give up? */
enum raw_outcome raw_wait(const struct raw_queue *queue, uint16_t count);
/* One chain of one descriptor, offered and waited for as long as it takes. False: the
 * device gave up. */
bool raw_send(unsigned index, struct raw_queue *queue, uint32_t size, const void *data,
              uint32_t bytes);
const char *raw_outcome_name(enum raw_outcome outcome);

#endif
