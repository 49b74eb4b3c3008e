/*
 * Virtio 1.2 (OASIS committee specification 01, 1 July 2022): the parts that
 * the balloon device and its driver use.
 */
#ifndef ABI_VIRTIO_H
#define ABI_VIRTIO_H

#include <stdint.h>

/* 4.2.2 MMIO device register layout, version 2. */
#define VIRTIO_MMIO_MAGIC               0x000 /* R  "virt" */
#define VIRTIO_MMIO_VERSION             0x004 /* R  2 */
#define VIRTIO_MMIO_DEVICE_ID           0x008 /* R  */
#define VIRTIO_MMIO_VENDOR_ID           0x00c /* R  */
#define VIRTIO_MMIO_DEVICE_FEATURES     0x010 /* R  */
#define VIRTIO_MMIO_DEVICE_FEATURES_SEL 0x014 /* W  */
#define VIRTIO_MMIO_DRIVER_FEATURES     0x020 /* W  */
#define VIRTIO_MMIO_DRIVER_FEATURES_SEL 0x024 /* W  */
#define VIRTIO_MMIO_QUEUE_SEL           0x030 /* W  */
#define VIRTIO_MMIO_QUEUE_NUM_MAX       0x034 /* R  */
#define VIRTIO_MMIO_QUEUE_NUM           0x038 /* W  */
#define VIRTIO_MMIO_QUEUE_READY         0x044 /* RW */
#define VIRTIO_MMIO_QUEUE_NOTIFY        0x050 /* W  */
#define VIRTIO_MMIO_INTERRUPT_STATUS    0x060 /* R  */
#define VIRTIO_MMIO_INTERRUPT_ACK       0x064 /* W  */
#define VIRTIO_MMIO_STATUS              0x070 /* RW */
#define VIRTIO_MMIO_QUEUE_DESC_LOW      0x080 /* W  */
#define VIRTIO_MMIO_QUEUE_DESC_HIGH     0x084 /* W  */
#define VIRTIO_MMIO_QUEUE_DRIVER_LOW    0x090 /* W  available ring */
#define VIRTIO_MMIO_QUEUE_DRIVER_HIGH   0x094 /* W  */
#define VIRTIO_MMIO_QUEUE_DEVICE_LOW    0x0a0 /* W  used ring */
#define VIRTIO_MMIO_QUEUE_DEVICE_HIGH   0x0a4 /* W  */
#define VIRTIO_MMIO_CONFIG_GENERATION   0x0fc /* R  */
#define VIRTIO_MMIO_CONFIG              0x100 /* RW */

#define VIRTIO_MMIO_MAGIC_VALUE   0x74726976u
#define VIRTIO_MMIO_VERSION_VALUE 2u
#define VIRTIO_ID_BALLOON         5u

#define VIRTIO_INTERRUPT_USED   (1u << 0)
#define VIRTIO_INTERRUPT_CONFIG (1u << 1)

/* 2.1 Device status. */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER      0x02u
#define VIRTIO_STATUS_DRIVER_OK   0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED      0x80u

/* 6 Reserved feature bits, as bit numbers. */
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX     29
#define VIRTIO_F_VERSION_1     32

/* 2.7 Split virtqueues. */
#define VIRTQ_DESC_F_NEXT     1u
#define VIRTQ_DESC_F_WRITE    2u
#define VIRTQ_DESC_F_INDIRECT 4u
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1u

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct virtq_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
};

struct virtq_used_elem {
    uint32_t id;
    uint32_t len;
};

struct virtq_used {
    uint16_t flags;
    uint16_t idx;
    struct virtq_used_elem ring[];
};

_Static_assert(sizeof(struct virtq_desc) == 16, "descriptor is 16 bytes");
_Static_assert(sizeof(struct virtq_used_elem) == 8, "used element is 8 bytes");

#endif
