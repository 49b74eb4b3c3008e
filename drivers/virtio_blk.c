/* Finding virtio-blk devices, see virtio_blk.h. Boot time. */
#include "drivers/virtio_blk.h"

#include "drivers/pci_regs.h"
#include "drivers/port.h"
#include "lib/fmt.h"
#include "lib/string.h"

#define WINDOW_BYTES_MAX (64 * KIB) /* more is not looked at */
#define READS_MAX        16u        /* until two reads of a 64-bit field agree */

static struct virtio_blk devices[VIRTIO_BLK_DEVICES];
static unsigned device_count;

static const uint32_t window_bytes_min[VIRTIO_PCI_WINDOWS] = {
    [VIRTIO_PCI_COMMON] = VIRTIO_COMMON_BYTES,
    [VIRTIO_PCI_NOTIFY] = 2,
    [VIRTIO_PCI_ISR] = 1,
    [VIRTIO_PCI_DEVICE] = VIRTIO_BLK_BYTES,
};

/* Maps what the capability describes, when it lies inside of its BAR. The first
 * usable one of a kind counts (4.1.4.1). */
static void window_add(struct virtio_blk *blk, const struct pci_device *device,
                       const struct disk_host *host, unsigned at)
{
    unsigned type = pci_read32(device, at) >> (8 * VIRTIO_PCI_CAP_TYPE);
    unsigned bar = pci_read32(device, at + VIRTIO_PCI_CAP_BAR) & 0xff;
    uint32_t offset = pci_read32(device, at + VIRTIO_PCI_CAP_OFFSET);
    uint32_t length = pci_read32(device, at + VIRTIO_PCI_CAP_LENGTH);
    uint64_t base, bytes;
    if (type == 0 || type >= VIRTIO_PCI_WINDOWS || blk->windows[type] || offset & 3 ||
        length < window_bytes_min[type])
        return;
    if (!pci_memory_bar(device, bar, &base, &bytes) || offset > bytes || length > bytes - offset)
        return;
    length = length < WINDOW_BYTES_MAX ? length : WINDOW_BYTES_MAX;
    blk->windows[type] = host->map(hpa(base + offset), length);
    blk->window_bytes[type] = length;
    if (type == VIRTIO_PCI_NOTIFY)
        blk->notify_multiplier = pci_read32(device, at + VIRTIO_PCI_CAP_MULTIPLIER);
}

static const char *windows_map(struct virtio_blk *blk, const struct pci_device *device,
                               const struct disk_host *host)
{
    unsigned at = 0;
    while ((at = pci_capability(device, PCI_CAPABILITY_VENDOR, at)) != 0)
        window_add(blk, device, host, at);
    for (unsigned type = VIRTIO_PCI_COMMON; type < VIRTIO_PCI_WINDOWS; type++)
        if (!blk->windows[type])
            return "no registers, or the legacy interface only";
    return NULL;
}

/* The capacity is wider than an access, and may change in between (4.1.4.3.2). */
static bool capacity_read(const struct virtio_blk *blk, uint64_t *sectors)
{
    const volatile void *config = blk->windows[VIRTIO_PCI_DEVICE];
    for (unsigned i = 0; i < READS_MAX; i++) {
        uint8_t before = mmio_read8(blk->windows[VIRTIO_PCI_COMMON], VIRTIO_COMMON_GENERATION);
        *sectors = mmio_read32(config, VIRTIO_BLK_CAPACITY) |
                   (uint64_t)mmio_read32(config, VIRTIO_BLK_CAPACITY + 4) << 32;
        if (mmio_read8(blk->windows[VIRTIO_PCI_COMMON], VIRTIO_COMMON_GENERATION) == before)
            return true;
    }
    return false;
}

static const char *describe(struct virtio_blk *blk)
{
    uint64_t sectors;
    uint32_t most = DISK_SECTORS_MAX;
    struct disk_unit *unit = &blk->queue.units[0];
    if (!capacity_read(blk, &sectors))
        return "its size keeps changing";
    if (blk->features & 1ull << VIRTIO_BLK_F_SIZE_MAX)
        most =
            mmio_read32(blk->windows[VIRTIO_PCI_DEVICE], VIRTIO_BLK_SIZE_MAX) / BLOCK_SECTOR_SIZE;
    memcpy(unit->name, blk->queue.name, sizeof(blk->queue.name));
    memcpy(unit->model, "virtio block device", sizeof("virtio block device"));
    unit->transfer = blk->interrupt.kind == PCI_INTERRUPT_MSIX ? "virtio, MSI-X" : "virtio";
    unsigned slots = blk->size / VIRTIO_BLK_DESCRIPTORS;
    blk->queue.depth = slots < DISK_DEPTH_MAX ? slots : DISK_DEPTH_MAX;
    return disk_unit_set(&blk->queue, 0, sectors, most);
}

static const char *device_start(struct virtio_blk *blk, const struct pci_device *device,
                                const struct disk_host *host)
{
    const char *problem = windows_map(blk, device, host);
    if (problem)
        return problem;
    blk->memory = host->dma_alloc(sizeof(struct virtio_blk_memory), &blk->memory_address);
    if (!blk->memory)
        return "no memory for its queue";
    blk->interrupt = pci_interrupt_start(device, host->map);
    blk->queue.vector = blk->interrupt.vector;
    blk->queue.address_limit = UINT64_MAX;
    problem = virtio_blk_bring_up(blk);
    return problem ? problem : describe(blk);
}

static void virtio_probe(const struct pci_device *device, const struct disk_host *host)
{
    if (device_count == VIRTIO_BLK_DEVICES ||
        (device->device != VIRTIO_PCI_BLOCK && device->device != VIRTIO_PCI_BLOCK_TRANSITIONAL))
        return;
    struct virtio_blk *blk = &devices[device_count];
    memset(blk, 0, sizeof(*blk));
    disk_queue_init(&blk->queue, &virtio_blk_queue_ops, DISK_DEPTH_MAX);
    blk->queue.pci = *device;
    blk->queue.owns_function = true;
    fmt_print(blk->queue.name, sizeof(blk->queue.name), "virtio%u", device_count);
    pci_enable_memory_dma(device);
    const char *problem = device_start(blk, device, host);
    if (problem) {
        log_warn("disk %s: %s: not used", blk->queue.name, problem);
        pci_interrupt_stop(device);
        pci_disable_dma(device);
        return;
    }
    device_count += host->add(&blk->queue);
}

const struct disk_driver virtio_blk_driver = {
    .name = "virtio-blk",
    .class_code = 0x01,
    .subclass = 0x00,
    .interface = DISK_DRIVER_ANY,
    .vendor = VIRTIO_PCI_VENDOR,
    .probe = virtio_probe,
};
