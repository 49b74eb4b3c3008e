#include "tests/guest/raw_virtio.h"

#include "abi/machine.h"
#include "guest-driver/cpu.h"
#include "lib/string.h"
#include "tests/guest/hostile.h"

/* Register reads to wait for the device; each is an exit, so the host gets on. */
#define WAIT_READS 300u

static uint64_t base = GUEST_VIRTIO_BASE;

uint32_t raw_read(uint32_t offset)
{
    return mmio_read32(base + offset);
}

void raw_write(uint32_t offset, uint32_t value)
{
    mmio_write32(base + offset, value);
}

bool raw_find(const struct guest_boot *boot)
{
    base = hostile_number(boot, "virtio", GUEST_VIRTIO_BASE);
    return raw_is_present();
}

bool raw_is_present(void)
{
    return raw_read(VIRTIO_MMIO_MAGIC) == VIRTIO_MMIO_MAGIC_VALUE &&
           raw_read(VIRTIO_MMIO_VERSION) == VIRTIO_MMIO_VERSION_VALUE &&
           raw_read(VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_BALLOON;
}

void raw_negotiate(uint32_t features)
{
    raw_write(VIRTIO_MMIO_STATUS, 0);
    raw_write(VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
    raw_write(VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    raw_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    raw_write(VIRTIO_MMIO_DRIVER_FEATURES, features);
    raw_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    raw_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
    raw_write(VIRTIO_MMIO_STATUS,
              VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
}

void raw_queue_setup_at(unsigned index, uint32_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
    raw_write(VIRTIO_MMIO_QUEUE_SEL, index);
    raw_write(VIRTIO_MMIO_QUEUE_NUM, size);
    raw_write(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
    raw_write(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
    raw_write(VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)avail);
    raw_write(VIRTIO_MMIO_QUEUE_DRIVER_HIGH, (uint32_t)(avail >> 32));
    raw_write(VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)used);
    raw_write(VIRTIO_MMIO_QUEUE_DEVICE_HIGH, (uint32_t)(used >> 32));
    raw_write(VIRTIO_MMIO_QUEUE_READY, 1);
}

void raw_queue_setup(unsigned index, struct raw_queue *queue, uint32_t size)
{
    memset(queue, 0, sizeof(*queue));
    raw_queue_setup_at(index, size, (uint64_t)queue->desc, (uint64_t)queue->avail,
                       (uint64_t)&queue->used_flags);
}

void raw_driver_ok(void)
{
    raw_write(VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                                      VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}

void raw_offer(struct raw_queue *queue, uint32_t size, uint16_t head)
{
    uint16_t index = queue->avail[1];
    queue->avail[2 + index % size] = head;
    __atomic_store_n(&queue->avail[1], (uint16_t)(index + 1), __ATOMIC_SEQ_CST);
}

void raw_notify(uint32_t index)
{
    raw_write(VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

enum raw_outcome raw_wait(const struct raw_queue *queue, uint16_t count)
{
    for (unsigned i = 0; i < WAIT_READS; i++) {
        if (__atomic_load_n(&queue->used_index, __ATOMIC_ACQUIRE) == count)
            return RAW_USED;
        if (raw_read(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET)
            return RAW_NEEDS_RESET;
    }
    return RAW_IGNORED;
}

bool raw_send(unsigned index, struct raw_queue *queue, uint32_t size, const void *data,
              uint32_t bytes)
{
    enum raw_outcome outcome;
    queue->desc[0] = (struct virtq_desc){ (uint64_t)data, bytes, 0, 0 };
    raw_offer(queue, size, 0);
    raw_notify(index);
    do {
        outcome = raw_wait(queue, queue->avail[1]);
    } while (outcome == RAW_IGNORED);
    return outcome == RAW_USED;
}

const char *raw_outcome_name(enum raw_outcome outcome)
{
    static const char *const names[] = { "used", "needs reset", "ignored" };
    return names[outcome];
}
