/*
 * virtio-mmio transport, version 2: VIRTIO 1.2, 4.2. One device per window; the
 * device model behind it is a struct virtio_ops.
 *
 * Registers are 32 bits wide and read and written as such; anything else reads
 * as 0 and is ignored when written, except in the configuration space (bytes,
 * half-words and words there). Every out-of-order step of a driver has a defined
 * result: the value is kept, or ignored, or the device says NEEDS_RESET with a
 * named reason and does nothing more until it is reset.
 */
#ifndef HV_DEV_VIRTIO_H
#define HV_DEV_VIRTIO_H

#include "hv/virtq.h"
#include "lib/types.h"

struct vm;
struct virtio;

#define VIRTIO_QUEUE_MAX 3u

struct virtio_ops {
    uint32_t device_id;
    uint64_t features; /* offered; VERSION_1 among them */
    unsigned queue_count;
    void (*reset)(struct vm *vm);
    void (*status)(struct vm *vm); /* DRIVER_OK was set, or the device failed */
    void (*notify)(struct vm *vm, unsigned queue);
    uint8_t (*config_read)(struct vm *vm, unsigned offset);
    void (*config_write)(struct vm *vm, unsigned offset, unsigned size, uint32_t value);
};

struct virtio {
    const struct virtio_ops *ops;
    uint32_t status, interrupt_status, generation;
    uint32_t device_features_select, driver_features_select, queue_select;
    uint64_t driver_features;
    struct virtq queues[VIRTIO_QUEUE_MAX];
    const char *failure; /* why the device needs a reset, NULL: it does not */
    uint64_t odd_count;  /* accesses of a wrong size, place or direction */
    uint64_t reset_count, failure_count, notify_count;
};

void dev_virtio_init(struct virtio *virtio, const struct virtio_ops *ops);
/* offset within the window, size 1, 2, 4 or 8. */
uint64_t dev_virtio_read(struct vm *vm, unsigned offset, unsigned size);
void dev_virtio_write(struct vm *vm, unsigned offset, unsigned size, uint64_t value);

/* Negotiated and DRIVER_OK, and not failed: queues may be worked on. */
bool dev_virtio_is_live(const struct virtio *virtio);
bool dev_virtio_has_feature(const struct virtio *virtio, unsigned bit);
/* DEVICE_NEEDS_RESET; reason: a few words, for the log and the telemetry. */
void dev_virtio_fail(struct vm *vm, const char *reason);
/* Raises the interrupt: VIRTIO_INTERRUPT_*. */
void dev_virtio_interrupt(struct vm *vm, uint32_t cause);
/* The configuration space changed: new generation, interrupt. */
void dev_virtio_config_changed(struct vm *vm);

#endif
