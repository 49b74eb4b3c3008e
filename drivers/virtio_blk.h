/*
 * virtio-blk over PCI, without the legacy interface: one split virtqueue. Internal
 * to drivers/; others use drivers/disk.h and struct block_device.
 *
 * Source: VIRTIO 1.2 (2.1 status, 2.7 split virtqueues, 3.1 initialisation, 4.1
 * PCI, 5.2 block device). Slot n uses descriptors 3n to 3n + 2: header, data, and
 * the byte in which the device tells how it went.
 *
 * The device is not trusted: a used element counts only when it names the first
 * descriptor of a slot that runs; anything else is a reset.
 */
#ifndef DRIVERS_VIRTIO_BLK_H
#define DRIVERS_VIRTIO_BLK_H

#include "abi/virtio.h"
#include "drivers/disk_driver.h"
#include "lib/assert.h"

#define VIRTIO_PCI_VENDOR             0x1af4
#define VIRTIO_PCI_BLOCK_TRANSITIONAL 0x1001
#define VIRTIO_PCI_BLOCK              0x1042

/* Capabilities (4.1.4), as offsets in each. */
#define VIRTIO_PCI_CAP_TYPE       3
#define VIRTIO_PCI_CAP_BAR        4
#define VIRTIO_PCI_CAP_OFFSET     8
#define VIRTIO_PCI_CAP_LENGTH     12
#define VIRTIO_PCI_CAP_MULTIPLIER 16
enum virtio_pci_window {
    VIRTIO_PCI_COMMON = 1,
    VIRTIO_PCI_NOTIFY = 2,
    VIRTIO_PCI_ISR = 3,
    VIRTIO_PCI_DEVICE = 4,
    VIRTIO_PCI_WINDOWS
};

/* Common configuration (4.1.4.3). */
#define VIRTIO_COMMON_DEVICE_SELECT  0x00
#define VIRTIO_COMMON_DEVICE_FEATURE 0x04
#define VIRTIO_COMMON_DRIVER_SELECT  0x08
#define VIRTIO_COMMON_DRIVER_FEATURE 0x0c
#define VIRTIO_COMMON_STATUS         0x14 /* 8 bits */
#define VIRTIO_COMMON_GENERATION     0x15 /* 8 bits */
#define VIRTIO_COMMON_QUEUE_SELECT   0x16 /* 16 bits, like the next four */
#define VIRTIO_COMMON_QUEUE_SIZE     0x18
#define VIRTIO_COMMON_QUEUE_VECTOR   0x1a
#define VIRTIO_COMMON_QUEUE_ENABLE   0x1c
#define VIRTIO_COMMON_QUEUE_NOTIFY   0x1e
#define VIRTIO_COMMON_QUEUE_DESC     0x20 /* 64 bits, like the next two */
#define VIRTIO_COMMON_QUEUE_DRIVER   0x28
#define VIRTIO_COMMON_QUEUE_DEVICE   0x30
#define VIRTIO_COMMON_BYTES          0x38
#define VIRTIO_NO_VECTOR             0xffff

/* Feature bits (5.2.3, 6), as numbers. */
#define VIRTIO_BLK_F_SIZE_MAX    1
#define VIRTIO_BLK_F_RO          5
#define VIRTIO_F_ACCESS_PLATFORM 33

/* Device configuration (5.2.4). */
#define VIRTIO_BLK_CAPACITY 0 /* 64 bits, in sectors of 512 bytes */
#define VIRTIO_BLK_SIZE_MAX 8 /* 32 bits, bytes of a descriptor */
#define VIRTIO_BLK_BYTES    16

/* Requests (5.2.6). */
#define VIRTIO_BLK_T_IN      0
#define VIRTIO_BLK_T_OUT     1
#define VIRTIO_BLK_S_OK      0
#define VIRTIO_BLK_S_IOERR   1
#define VIRTIO_BLK_S_UNSUPP  2
#define VIRTIO_BLK_S_PENDING 0xff /* ours: the device has not written it */

struct virtio_blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};
static_assert(sizeof(struct virtio_blk_header) == 16, "VIRTIO 1.2, 5.2.6");

#define VIRTIO_BLK_QUEUE_MAX   128u /* descriptors: three for each of 32 slots */
#define VIRTIO_BLK_DESCRIPTORS 3u
#define VIRTIO_BLK_DEVICES     4u

/* What the device reads and writes. */
struct virtio_blk_memory {
    struct virtq_desc descriptors[VIRTIO_BLK_QUEUE_MAX];
    struct {
        uint16_t flags, idx, ring[VIRTIO_BLK_QUEUE_MAX], event;
    } avail;
    struct {
        uint16_t flags, idx;
        struct virtq_used_elem ring[VIRTIO_BLK_QUEUE_MAX];
        uint16_t event;
    } used __attribute__((aligned(4)));
    struct virtio_blk_header headers[DISK_DEPTH_MAX] __attribute__((aligned(16)));
    uint8_t statuses[DISK_DEPTH_MAX];
};

struct virtio_blk {
    struct disk_queue queue;
    struct pci_interrupt interrupt;
    volatile void *windows[VIRTIO_PCI_WINDOWS];
    uint32_t window_bytes[VIRTIO_PCI_WINDOWS];
    uint32_t notify_multiplier, notify_offset; /* bytes */
    uint64_t features;
    unsigned size; /* descriptors in use, a power of two */
    uint16_t avail_idx, used_idx;
    volatile struct virtio_blk_memory *memory;
    hpa_t memory_address;
};

/* ---- virtio_blk_queue.c: requests ------------------------------------------------------ */

/* From whatever state to one where requests are taken. NULL, or what failed. */
const char *virtio_blk_bring_up(struct virtio_blk *blk);

extern const struct disk_queue_ops virtio_blk_queue_ops;

#endif
