#include "hv/dev_virtio.h"
#include "abi/machine.h"
#include "hv/telemetry.h"
#include "hv/vm.h"
#include "lib/log.h"
#include "lib/string.h"

#define VENDOR_ID       0x4c4c4142u /* "BALL" */
#define STATUS_WRITABLE 0xffu
#define FAILURES_TOLD   4u     /* failures with a line on the console */
#define FAILURES_MAX    1000u  /* then the guest is beyond help */
#define RESETS_MAX      10000u /* the same */

void dev_virtio_init(struct virtio *virtio, const struct virtio_ops *ops)
{
    memset(virtio, 0, sizeof(*virtio));
    virtio->ops = ops;
}

bool dev_virtio_is_live(const struct virtio *virtio)
{
    return (virtio->status & VIRTIO_STATUS_DRIVER_OK) &&
           !(virtio->status & (VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED));
}

bool dev_virtio_has_feature(const struct virtio *virtio, unsigned bit)
{
    return virtio->driver_features >> bit & 1;
}

void dev_virtio_interrupt(struct vm *vm, uint32_t cause)
{
    vm->virtio.interrupt_status |= cause;
    dev_ioapic_raise(vm, GUEST_VIRTIO_GSI);
}

void dev_virtio_config_changed(struct vm *vm)
{
    vm->virtio.generation++;
    if (dev_virtio_is_live(&vm->virtio))
        dev_virtio_interrupt(vm, VIRTIO_INTERRUPT_CONFIG);
}

void dev_virtio_fail(struct vm *vm, const char *reason)
{
    struct virtio *virtio = &vm->virtio;
    if (virtio->status & VIRTIO_STATUS_NEEDS_RESET)
        return;
    virtio->failure = reason;
    virtio->failure_count++;
    virtio->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (virtio->failure_count <= FAILURES_TOLD) {
        log_info("vm %s: balloon device needs a reset: %s", vm_name(vm), reason);
        telemetry_device(vm, "balloon", reason);
    }
    if (virtio->status & VIRTIO_STATUS_DRIVER_OK)
        dev_virtio_interrupt(vm, VIRTIO_INTERRUPT_CONFIG);
    virtio->ops->status(vm);
    if (virtio->failure_count >= FAILURES_MAX)
        vm_end(vm, VM_END_GUEST_ERRORS, "its balloon driver broke the rules %u times: %s",
               FAILURES_MAX, reason);
}

static void reset(struct vm *vm)
{
    struct virtio *virtio = &vm->virtio;
    virtio->status = virtio->interrupt_status = 0;
    virtio->driver_features = 0;
    virtio->device_features_select = virtio->driver_features_select = virtio->queue_select = 0;
    virtio->failure = NULL;
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++)
        virtq_reset(&virtio->queues[i]);
    dev_ioapic_lower(vm, GUEST_VIRTIO_GSI);
    virtio->ops->reset(vm);
}

/* One reset is little work; a driver that does nothing else would keep the core
 * and the telemetry busy with its comings and goings. */
static void reset_by_driver(struct vm *vm)
{
    if (++vm->virtio.reset_count >= RESETS_MAX)
        vm_end(vm, VM_END_GUEST_ERRORS, "its balloon driver reset the device %u times", RESETS_MAX);
    else
        reset(vm);
}

/* ---- status and features ------------------------------------------------------------ */

/* FEATURES_OK stays clear when the driver accepted what was not offered, or did
 * not accept VERSION_1 (2.2.2, 6.2). */
static bool features_are_good(const struct virtio *virtio)
{
    return !(virtio->driver_features & ~virtio->ops->features) &&
           dev_virtio_has_feature(virtio, VIRTIO_F_VERSION_1);
}

static void status_write(struct vm *vm, uint32_t value)
{
    struct virtio *virtio = &vm->virtio;
    if (!value) {
        reset_by_driver(vm);
        return;
    }
    uint32_t added = value & STATUS_WRITABLE & ~virtio->status & ~VIRTIO_STATUS_NEEDS_RESET;
    if ((added & VIRTIO_STATUS_FEATURES_OK) && !features_are_good(virtio))
        added &= ~VIRTIO_STATUS_FEATURES_OK;
    virtio->status |= added; /* bits are never cleared but by a reset (2.1.1) */
    if (!(added & VIRTIO_STATUS_DRIVER_OK))
        return;
    if (!(virtio->status & VIRTIO_STATUS_FEATURES_OK))
        dev_virtio_fail(vm, "DRIVER_OK before FEATURES_OK");
    else
        virtio->ops->status(vm);
}

static void features_write(struct virtio *virtio, uint32_t value)
{
    unsigned shift = virtio->driver_features_select ? 32 : 0;
    if (virtio->driver_features_select > 1 || (virtio->status & VIRTIO_STATUS_FEATURES_OK)) {
        virtio->odd_count++;
        return;
    }
    virtio->driver_features &= ~((uint64_t)UINT32_MAX << shift);
    virtio->driver_features |= (uint64_t)value << shift;
}

static uint32_t features_read(const struct virtio *virtio)
{
    if (virtio->device_features_select > 1)
        return 0;
    return (uint32_t)(virtio->ops->features >> (virtio->device_features_select ? 32 : 0));
}

/* ---- queues --------------------------------------------------------------------------- */

static struct virtq *selected(struct virtio *virtio)
{
    return virtio->queue_select < virtio->ops->queue_count ? &virtio->queues[virtio->queue_select]
                                                           : NULL;
}

static void ready_write(struct vm *vm, struct virtq *queue, uint32_t value)
{
    if (!(value & 1)) {
        virtq_reset(queue);
        return;
    }
    if (queue->ready)
        return;
    const char *problem = vm->virtio.status & VIRTIO_STATUS_FEATURES_OK
                              ? virtq_check(vm, queue)
                              : "queue made ready before FEATURES_OK";
    if (problem)
        dev_virtio_fail(vm, problem);
    else
        queue->ready = true;
}

static void half_write(uint64_t *address, bool high, uint32_t value)
{
    unsigned shift = high ? 32 : 0;
    *address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

/* Size and addresses of a queue that is ready stay as they are. */
static void queue_write(struct vm *vm, unsigned offset, uint32_t value)
{
    struct virtq *queue = selected(&vm->virtio);
    if (!queue || (queue->ready && offset != VIRTIO_MMIO_QUEUE_READY)) {
        vm->virtio.odd_count++;
        return;
    }
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        queue->size = value;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        ready_write(vm, queue, value);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        half_write(&queue->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
    case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
        half_write(&queue->avail, offset == VIRTIO_MMIO_QUEUE_DRIVER_HIGH, value);
        break;
    case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
    case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
        half_write(&queue->used, offset == VIRTIO_MMIO_QUEUE_DEVICE_HIGH, value);
        break;
    default:
        vm->virtio.odd_count++;
    }
}

static void notify_write(struct vm *vm, uint32_t value)
{
    struct virtio *virtio = &vm->virtio;
    virtio->notify_count++;
    if (!dev_virtio_is_live(virtio) || value >= virtio->ops->queue_count ||
        !virtio->queues[value].ready)
        virtio->odd_count++;
    else
        virtio->ops->notify(vm, value);
}

/* ---- registers ------------------------------------------------------------------------- */

static uint32_t register_read(struct vm *vm, unsigned offset)
{
    struct virtio *virtio = &vm->virtio;
    struct virtq *queue = selected(virtio);
    switch (offset) {
    case VIRTIO_MMIO_MAGIC:
        return VIRTIO_MMIO_MAGIC_VALUE;
    case VIRTIO_MMIO_VERSION:
        return VIRTIO_MMIO_VERSION_VALUE;
    case VIRTIO_MMIO_DEVICE_ID:
        return virtio->ops->device_id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR_ID;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return features_read(virtio);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? VIRTQ_SIZE_MAX : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue && queue->ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return virtio->interrupt_status;
    case VIRTIO_MMIO_STATUS:
        return virtio->status;
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return virtio->generation;
    }
    virtio->odd_count++;
    return 0;
}

static void register_write(struct vm *vm, unsigned offset, uint32_t value)
{
    struct virtio *virtio = &vm->virtio;
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        virtio->device_features_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        features_write(virtio, value);
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        virtio->driver_features_select = value;
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        virtio->queue_select = value;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        notify_write(vm, value);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        virtio->interrupt_status &= ~value;
        if (!virtio->interrupt_status)
            dev_ioapic_lower(vm, GUEST_VIRTIO_GSI);
        break;
    case VIRTIO_MMIO_STATUS:
        status_write(vm, value);
        break;
    default:
        queue_write(vm, offset, value);
    }
}

static bool config_access_is_good(unsigned offset, unsigned size)
{
    return (size == 1 || size == 2 || size == 4) && !(offset & (size - 1));
}

uint64_t dev_virtio_read(struct vm *vm, unsigned offset, unsigned size)
{
    struct virtio *virtio = &vm->virtio;
    if (offset >= VIRTIO_MMIO_CONFIG && config_access_is_good(offset, size)) {
        uint64_t value = 0;
        for (unsigned i = 0; i < size; i++)
            value |= (uint64_t)virtio->ops->config_read(vm, offset - VIRTIO_MMIO_CONFIG + i)
                     << (8 * i);
        return value;
    }
    if (offset < VIRTIO_MMIO_CONFIG && size == 4 && !(offset & 3))
        return register_read(vm, offset);
    virtio->odd_count++;
    return 0;
}

void dev_virtio_write(struct vm *vm, unsigned offset, unsigned size, uint64_t value)
{
    struct virtio *virtio = &vm->virtio;
    if (offset >= VIRTIO_MMIO_CONFIG && config_access_is_good(offset, size))
        virtio->ops->config_write(vm, offset - VIRTIO_MMIO_CONFIG, size, (uint32_t)value);
    else if (offset < VIRTIO_MMIO_CONFIG && size == 4 && !(offset & 3))
        register_write(vm, offset, (uint32_t)value);
    else
        virtio->odd_count++;
}
