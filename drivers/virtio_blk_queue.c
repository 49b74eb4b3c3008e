/* A virtio-blk device: from reset to its queue, and requests. See virtio_blk.h. */
#include "drivers/virtio_blk.h"

#include "drivers/wait.h"
#include "lib/string.h"

#define RESET_TIMEOUT (500 * WAIT_MS)

#define FEATURE(n) (1ull << (n))
#define FEATURES_WANTED                                                                            \
    (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_F_ACCESS_PLATFORM) |                             \
     FEATURE(VIRTIO_BLK_F_SIZE_MAX))

/* ---- bringing it up ------------------------------------------------------------------------ */

static uint8_t status_get(const struct virtio_blk *blk)
{
    return mmio_read8(blk->windows[VIRTIO_PCI_COMMON], VIRTIO_COMMON_STATUS);
}

static void status_add(struct virtio_blk *blk, uint8_t bits)
{
    mmio_write8(blk->windows[VIRTIO_PCI_COMMON], VIRTIO_COMMON_STATUS,
                (uint8_t)(status_get(blk) | bits));
}

static const char *reset(struct virtio_blk *blk)
{
    uint64_t end = clock_now_ns() + RESET_TIMEOUT;
    mmio_write8(blk->windows[VIRTIO_PCI_COMMON], VIRTIO_COMMON_STATUS, 0);
    while (status_get(blk) != 0)
        if (clock_now_ns() >= end)
            return "does not come out of reset";
    return NULL;
}

static const char *negotiate(struct virtio_blk *blk)
{
    volatile void *common = blk->windows[VIRTIO_PCI_COMMON];
    uint64_t offered = 0;
    status_add(blk, VIRTIO_STATUS_ACKNOWLEDGE);
    status_add(blk, VIRTIO_STATUS_DRIVER);
    for (uint32_t half = 0; half < 2; half++) {
        mmio_write32(common, VIRTIO_COMMON_DEVICE_SELECT, half);
        offered |= (uint64_t)mmio_read32(common, VIRTIO_COMMON_DEVICE_FEATURE) << (32 * half);
    }
    if (!(offered & FEATURE(VIRTIO_F_VERSION_1)))
        return "an old device: no version 1";
    if (offered & FEATURE(VIRTIO_BLK_F_RO))
        return "read only";
    blk->features = offered & FEATURES_WANTED;
    for (uint32_t half = 0; half < 2; half++) {
        mmio_write32(common, VIRTIO_COMMON_DRIVER_SELECT, half);
        mmio_write32(common, VIRTIO_COMMON_DRIVER_FEATURE,
                     (uint32_t)(blk->features >> (32 * half)));
    }
    status_add(blk, VIRTIO_STATUS_FEATURES_OK);
    return status_get(blk) & VIRTIO_STATUS_FEATURES_OK ? NULL : "refuses the features it offers";
}

static void write64(volatile void *common, unsigned offset, uint64_t value)
{
    mmio_write32(common, offset, (uint32_t)value);
    mmio_write32(common, offset + 4, (uint32_t)(value >> 32));
}

/* The largest power of two that both have room for. */
static const char *choose_size(struct virtio_blk *blk)
{
    volatile void *common = blk->windows[VIRTIO_PCI_COMMON];
    unsigned offered = mmio_read16(common, VIRTIO_COMMON_QUEUE_SIZE);
    unsigned size = VIRTIO_BLK_QUEUE_MAX;
    while (size > offered)
        size /= 2;
    if (size < VIRTIO_BLK_DESCRIPTORS)
        return "its queue is too short";
    if (blk->size && blk->size != size)
        return "its queue has another size than before";
    blk->size = size;
    return NULL;
}

static void place(struct virtio_blk *blk)
{
    volatile void *common = blk->windows[VIRTIO_PCI_COMMON];
    uint64_t address = blk->memory_address.v;
    memset((void *)blk->memory, 0, sizeof(*blk->memory));
    blk->avail_idx = blk->used_idx = 0;
    mmio_write16(common, VIRTIO_COMMON_QUEUE_SIZE, (uint16_t)blk->size);
    write64(common, VIRTIO_COMMON_QUEUE_DESC,
            address + offsetof(struct virtio_blk_memory, descriptors));
    write64(common, VIRTIO_COMMON_QUEUE_DRIVER,
            address + offsetof(struct virtio_blk_memory, avail));
    write64(common, VIRTIO_COMMON_QUEUE_DEVICE, address + offsetof(struct virtio_blk_memory, used));
}

static const char *queue_set(struct virtio_blk *blk)
{
    volatile void *common = blk->windows[VIRTIO_PCI_COMMON];
    mmio_write16(common, VIRTIO_COMMON_QUEUE_SELECT, 0);
    const char *problem = choose_size(blk);
    if (problem)
        return problem;
    place(blk);
    uint16_t vector = blk->interrupt.kind == PCI_INTERRUPT_MSIX ? 0 : VIRTIO_NO_VECTOR;
    mmio_write16(common, VIRTIO_COMMON_QUEUE_VECTOR, vector);
    if (mmio_read16(common, VIRTIO_COMMON_QUEUE_VECTOR) != vector)
        return "refuses its interrupt vector";
    uint64_t notify =
        (uint64_t)mmio_read16(common, VIRTIO_COMMON_QUEUE_NOTIFY) * blk->notify_multiplier;
    if (notify + 2 > blk->window_bytes[VIRTIO_PCI_NOTIFY] || notify & 1)
        return "its notifications lie outside of their range";
    blk->notify_offset = (uint32_t)notify;
    mmio_write16(common, VIRTIO_COMMON_QUEUE_ENABLE, 1);
    return NULL;
}

const char *virtio_blk_bring_up(struct virtio_blk *blk)
{
    const char *problem = reset(blk);
    if (!problem)
        problem = negotiate(blk);
    if (!problem)
        problem = queue_set(blk);
    if (!problem)
        status_add(blk, VIRTIO_STATUS_DRIVER_OK);
    return problem;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static struct virtio_blk *blk_of(struct disk_queue *queue)
{
    return container_of(queue, struct virtio_blk, queue);
}

static void set_descriptor(struct virtio_blk *blk, unsigned index, uint64_t address, uint32_t bytes,
                           uint16_t flags)
{
    blk->memory->descriptors[index] = (struct virtq_desc){
        .addr = address, .len = bytes, .flags = flags, .next = (uint16_t)(index + 1)
    };
}

static enum disk_verdict blk_start(struct disk_queue *queue, unsigned slot)
{
    struct virtio_blk *blk = blk_of(queue);
    const struct block_request *request = queue->slots[slot].request;
    bool read = request->operation == BLOCK_READ;
    unsigned first = slot * VIRTIO_BLK_DESCRIPTORS;
    uint64_t base = blk->memory_address.v;
    blk->memory->headers[slot] =
        (struct virtio_blk_header){ .type = read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
                                    .sector = request->sector };
    blk->memory->statuses[slot] = VIRTIO_BLK_S_PENDING;
    set_descriptor(blk, first,
                   base + offsetof(struct virtio_blk_memory, headers) +
                       slot * sizeof(struct virtio_blk_header),
                   sizeof(struct virtio_blk_header), VIRTQ_DESC_F_NEXT);
    set_descriptor(blk, first + 1, request->buffer_address.v,
                   request->sector_count * BLOCK_SECTOR_SIZE,
                   (uint16_t)(VIRTQ_DESC_F_NEXT | (read ? VIRTQ_DESC_F_WRITE : 0)));
    set_descriptor(blk, first + 2, base + offsetof(struct virtio_blk_memory, statuses) + slot, 1,
                   VIRTQ_DESC_F_WRITE);
    blk->memory->avail.ring[blk->avail_idx % blk->size] = (uint16_t)first;
    dma_fence();
    blk->memory->avail.idx = ++blk->avail_idx;
    dma_fence();
    mmio_write16(blk->windows[VIRTIO_PCI_NOTIFY], blk->notify_offset, 0);
    return DISK_FINE;
}

static enum disk_verdict take_one(struct virtio_blk *blk, uint32_t id)
{
    struct disk_queue *queue = &blk->queue;
    unsigned slot = id / VIRTIO_BLK_DESCRIPTORS;
    if (id % VIRTIO_BLK_DESCRIPTORS || !disk_queue_runs(queue, slot)) {
        disk_complain(queue, "used descriptor %u, which is not in use", id);
        return DISK_NONSENSE;
    }
    uint8_t status = blk->memory->statuses[slot];
    if (status != VIRTIO_BLK_S_OK)
        disk_complain(queue, "request failed: status %u", status);
    disk_queue_end(queue, slot, status == VIRTIO_BLK_S_OK ? BLOCK_OK : BLOCK_ERROR);
    return status > VIRTIO_BLK_S_UNSUPP ? DISK_NONSENSE : DISK_FINE;
}

static enum disk_verdict take_used(struct virtio_blk *blk)
{
    uint16_t count = (uint16_t)(blk->memory->used.idx - blk->used_idx);
    enum disk_verdict verdict = DISK_FINE;
    if (count > blk->queue.running) {
        disk_complain(&blk->queue, "%u descriptors used, %u requests run", count,
                      blk->queue.running);
        return DISK_NONSENSE;
    }
    dma_fence();
    for (; count && verdict == DISK_FINE; count--)
        verdict = take_one(blk, blk->memory->used.ring[blk->used_idx++ % blk->size].id);
    return verdict;
}

static enum disk_verdict blk_advance(struct disk_queue *queue)
{
    struct virtio_blk *blk = blk_of(queue);
    if (blk->interrupt.kind == PCI_INTERRUPT_LINE) /* reading acknowledges (4.1.4.5) */
        mmio_read8(blk->windows[VIRTIO_PCI_ISR], 0);
    uint8_t status = status_get(blk);
    if (status & VIRTIO_STATUS_NEEDS_RESET) {
        disk_complain(queue, "wants a reset: status 0x%x", status);
        return DISK_NONSENSE;
    }
    return take_used(blk);
}

static void blk_reset(struct disk_queue *queue)
{
    const char *problem = virtio_blk_bring_up(blk_of(queue));
    if (!problem)
        return;
    disk_complain(queue, "reset: %s", problem);
    disk_queue_lost(queue);
}

const struct disk_queue_ops virtio_blk_queue_ops = {
    .start = blk_start,
    .advance = blk_advance,
    .reset = blk_reset,
};
