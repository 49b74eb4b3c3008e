#include "guest-driver/balloon_core.h"

#define FEATURE(bit) (1ull << (bit))
#define FEATURES_WANTED                                                                            \
    (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BALLOON_F_MUST_TELL_HOST) |                      \
     FEATURE(VIRTIO_BALLOON_F_STATS_VQ) | FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM))

#define CONFIG_NUM_PAGES (VIRTIO_MMIO_CONFIG + offsetof_num_pages)
#define CONFIG_ACTUAL    (VIRTIO_MMIO_CONFIG + offsetof_actual)
enum {
    offsetof_num_pages = __builtin_offsetof(struct virtio_balloon_config, num_pages),
    offsetof_actual = __builtin_offsetof(struct virtio_balloon_config, actual)
};

const char *balloon_status_name(enum balloon_status status)
{
    static const char *const names[BALLOON_STATUS_COUNT] = {
        [BALLOON_OK] = "ok",
        [BALLOON_NO_DEVICE] = "no device",
        [BALLOON_NO_RESET] = "device does not reset",
        [BALLOON_FEATURES_REFUSED] = "features refused",
        [BALLOON_NO_QUEUE] = "queue missing or in use",
        [BALLOON_NEEDS_RESET] = "device needs a reset",
        [BALLOON_BROKEN] = "impossible used ring",
        [BALLOON_NO_ANSWER] = "device does not answer",
    };
    return status < BALLOON_STATUS_COUNT ? names[status] : "?";
}

static uint32_t reg_read(struct balloon *b, uint32_t offset)
{
    return b->ops->read(b->context, offset);
}

static void reg_write(struct balloon *b, uint32_t offset, uint32_t value)
{
    b->ops->write(b->context, offset, value);
}

static enum balloon_status fail(struct balloon *b, enum balloon_status status)
{
    b->status = status;
    if (status != BALLOON_NO_DEVICE)
        reg_write(b, VIRTIO_MMIO_STATUS, reg_read(b, VIRTIO_MMIO_STATUS) | VIRTIO_STATUS_FAILED);
    return status;
}

/* ---- initialization -------------------------------------------------------- */

/* 4.2.3.1: magic, version, a device behind the window; 3.1.1 steps 1 to 3. */
static enum balloon_status start_device(struct balloon *b)
{
    if (reg_read(b, VIRTIO_MMIO_MAGIC) != VIRTIO_MMIO_MAGIC_VALUE ||
        reg_read(b, VIRTIO_MMIO_VERSION) != VIRTIO_MMIO_VERSION_VALUE ||
        reg_read(b, VIRTIO_MMIO_DEVICE_ID) != VIRTIO_ID_BALLOON)
        return BALLOON_NO_DEVICE;
    reg_write(b, VIRTIO_MMIO_STATUS, 0);
    for (unsigned i = 0; reg_read(b, VIRTIO_MMIO_STATUS) != 0; i++) {
        if (i == BALLOON_WAIT_MAX)
            return BALLOON_NO_RESET;
        b->ops->wait(b->context);
    }
    reg_write(b, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
    reg_write(b, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    return BALLOON_OK;
}

/* 3.1.1 steps 4 to 6. */
static enum balloon_status negotiate(struct balloon *b)
{
    uint64_t offered;
    reg_write(b, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    offered = reg_read(b, VIRTIO_MMIO_DEVICE_FEATURES);
    reg_write(b, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    offered |= (uint64_t)reg_read(b, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
    if (!(offered & FEATURE(VIRTIO_F_VERSION_1)))
        return BALLOON_FEATURES_REFUSED;
    b->features = offered & FEATURES_WANTED;
    reg_write(b, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    reg_write(b, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)b->features);
    reg_write(b, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    reg_write(b, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(b->features >> 32));
    reg_write(b, VIRTIO_MMIO_STATUS,
              VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
    if (!(reg_read(b, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_FEATURES_OK))
        return BALLOON_FEATURES_REFUSED;
    return BALLOON_OK;
}

static void write_address(struct balloon *b, uint32_t low_register, const void *memory)
{
    uint64_t address = b->ops->physical(b->context, memory);
    reg_write(b, low_register, (uint32_t)address);
    reg_write(b, low_register + 4, (uint32_t)(address >> 32));
}

/* 4.2.3.2. */
static enum balloon_status setup_queue(struct balloon *b, unsigned index)
{
    struct balloon_queue *q = &b->queues[index];
    *q = (struct balloon_queue){ 0 };
    reg_write(b, VIRTIO_MMIO_QUEUE_SEL, index);
    if (reg_read(b, VIRTIO_MMIO_QUEUE_READY) != 0 ||
        reg_read(b, VIRTIO_MMIO_QUEUE_NUM_MAX) < BALLOON_QUEUE_SIZE)
        return BALLOON_NO_QUEUE;
    reg_write(b, VIRTIO_MMIO_QUEUE_NUM, BALLOON_QUEUE_SIZE);
    write_address(b, VIRTIO_MMIO_QUEUE_DESC_LOW, q->desc);
    write_address(b, VIRTIO_MMIO_QUEUE_DRIVER_LOW, &q->avail);
    write_address(b, VIRTIO_MMIO_QUEUE_DEVICE_LOW, &q->used);
    reg_write(b, VIRTIO_MMIO_QUEUE_READY, 1);
    return BALLOON_OK;
}

static bool has_feature(const struct balloon *b, unsigned bit)
{
    return b->features & FEATURE(bit);
}

/* ---- queues ------------------------------------------------------------------ */

/* 2.7.13: descriptor, ring entry, index, then the notification. */
static void queue_send(struct balloon *b, unsigned index, const void *buffer, uint32_t bytes)
{
    struct balloon_queue *q = &b->queues[index];
    uint16_t at = q->avail.index;
    q->desc[0] = (struct virtq_desc){ b->ops->physical(b->context, buffer), bytes, 0, 0 };
    q->avail.ring[at % BALLOON_QUEUE_SIZE] = 0;
    q->in_flight = true;
    __atomic_store_n(&q->avail.index, (uint16_t)(at + 1), __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    reg_write(b, VIRTIO_MMIO_QUEUE_NOTIFY, index);
}

enum queue_answer { QUEUE_NOTHING, QUEUE_RETURNED, QUEUE_BROKEN };

/* Has the device given the buffer back? */
static enum queue_answer queue_take(struct balloon_queue *q)
{
    uint16_t index = __atomic_load_n(&q->used.index, __ATOMIC_ACQUIRE);
    if (index == q->used_seen)
        return QUEUE_NOTHING;
    if (!q->in_flight || (uint16_t)(index - q->used_seen) != 1 ||
        q->used.ring[q->used_seen % BALLOON_QUEUE_SIZE].id != 0)
        return QUEUE_BROKEN;
    q->used_seen = index;
    q->in_flight = false;
    return QUEUE_RETURNED;
}

/* ---- statistics -------------------------------------------------------------- */

/* 5.5.6.3: the buffer is sent once at the start; the device returns it when it
 * wants news. */
static void send_statistics(struct balloon *b)
{
    uint64_t values[VIRTIO_BALLOON_S_COUNT];
    uint32_t count = 0;
    for (unsigned tag = 0; tag < VIRTIO_BALLOON_S_COUNT; tag++)
        values[tag] = UINT64_MAX;
    b->ops->statistics(b->context, values);
    for (uint16_t tag = 0; tag < VIRTIO_BALLOON_S_COUNT; tag++)
        if (values[tag] != UINT64_MAX)
            b->stats[count++] = (struct virtio_balloon_stat){ tag, values[tag] };
    queue_send(b, VIRTIO_BALLOON_Q_STATS, b->stats, count * sizeof(b->stats[0]));
    b->statistics_count++;
}

/* ---- moving pages -------------------------------------------------------------- */

/* The whole batch goes on the stack when it is sent: its pages are no longer the
 * guest's. */
static void start_inflate(struct balloon *b, uint32_t wanted)
{
    b->batch_count = 0;
    if (wanted > BALLOON_BATCH)
        wanted = BALLOON_BATCH;
    while (b->batch_count < wanted && b->page_count < b->page_capacity) {
        uint32_t page = b->ops->page_alloc(b->context);
        if (page == BALLOON_NO_PAGE)
            break;
        b->batch[b->batch_count++] = page;
        b->pages[b->page_count++] = page;
    }
    if (b->batch_count)
        queue_send(b, VIRTIO_BALLOON_Q_INFLATE, b->batch, b->batch_count * sizeof(b->batch[0]));
}

static void start_deflate(struct balloon *b, uint32_t wanted)
{
    b->batch_count = 0;
    if (wanted > BALLOON_BATCH)
        wanted = BALLOON_BATCH;
    while (b->batch_count < wanted && b->page_count)
        b->batch[b->batch_count++] = b->pages[--b->page_count];
    if (b->batch_count)
        queue_send(b, VIRTIO_BALLOON_Q_DEFLATE, b->batch, b->batch_count * sizeof(b->batch[0]));
}

static void report_actual(struct balloon *b)
{
    if (b->reported == b->page_count)
        return;
    b->reported = b->page_count;
    reg_write(b, CONFIG_ACTUAL, b->page_count);
}

static void finish_inflate(struct balloon *b)
{
    b->inflated_count += b->batch_count;
    report_actual(b);
}

static void finish_deflate(struct balloon *b)
{
    b->deflated_count += b->batch_count;
    for (uint32_t i = 0; i < b->batch_count; i++)
        b->ops->page_free(b->context, b->batch[i]);
    report_actual(b);
}

static bool is_moving(const struct balloon *b)
{
    return b->queues[VIRTIO_BALLOON_Q_INFLATE].in_flight ||
           b->queues[VIRTIO_BALLOON_Q_DEFLATE].in_flight;
}

/* Takes back whatever the device is done with. */
static enum balloon_status take_returned(struct balloon *b)
{
    static void (*const finish[BALLOON_QUEUES])(struct balloon *) = {
        [VIRTIO_BALLOON_Q_INFLATE] = finish_inflate,
        [VIRTIO_BALLOON_Q_DEFLATE] = finish_deflate,
        [VIRTIO_BALLOON_Q_STATS] = send_statistics,
    };
    for (unsigned i = 0; i < BALLOON_QUEUES; i++) {
        enum queue_answer answer = queue_take(&b->queues[i]);
        if (answer == QUEUE_BROKEN)
            return fail(b, BALLOON_BROKEN);
        if (answer == QUEUE_RETURNED)
            finish[i](b);
    }
    return BALLOON_OK;
}

/* ---- what the guest calls ------------------------------------------------------ */

enum balloon_status balloon_start(struct balloon *b, const struct balloon_ops *ops, void *context,
                                  uint32_t *pages, uint32_t capacity)
{
    *b = (struct balloon){
        .ops = ops, .context = context, .pages = pages, .page_capacity = capacity
    };
    b->status = start_device(b);
    if (b->status == BALLOON_OK)
        b->status = negotiate(b);
    unsigned queues = has_feature(b, VIRTIO_BALLOON_F_STATS_VQ) ? 3 : 2;
    for (unsigned i = 0; b->status == BALLOON_OK && i < queues; i++)
        b->status = setup_queue(b, i);
    if (b->status != BALLOON_OK)
        return fail(b, b->status);
    reg_write(b, VIRTIO_MMIO_STATUS,
              VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
                  VIRTIO_STATUS_DRIVER_OK);
    if (queues == 3)
        send_statistics(b);
    b->events = VIRTIO_INTERRUPT_CONFIG;
    return BALLOON_OK;
}

void balloon_interrupt(struct balloon *b)
{
    uint32_t causes = reg_read(b, VIRTIO_MMIO_INTERRUPT_STATUS);
    if (!causes)
        return;
    reg_write(b, VIRTIO_MMIO_INTERRUPT_ACK, causes);
    __atomic_or_fetch(&b->events, causes, __ATOMIC_SEQ_CST);
}

bool balloon_is_pending(const struct balloon *b)
{
    return b->events && b->status == BALLOON_OK;
}

/* Follows the device's wish. False: it asks for a reset. */
static bool read_config(struct balloon *b)
{
    if (reg_read(b, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET)
        return false;
    b->target = reg_read(b, CONFIG_NUM_PAGES);
    return true;
}

enum balloon_status balloon_work(struct balloon *b)
{
    if (b->status != BALLOON_OK)
        return b->status;
    uint32_t events = __atomic_exchange_n(&b->events, 0, __ATOMIC_SEQ_CST);
    if ((events & VIRTIO_INTERRUPT_CONFIG) && !read_config(b))
        return fail(b, BALLOON_NEEDS_RESET);
    if (take_returned(b) != BALLOON_OK || is_moving(b))
        return b->status;
    if (b->target > b->page_count && !b->held)
        start_inflate(b, b->target - b->page_count);
    else if (b->target < b->page_count)
        start_deflate(b, b->page_count - b->target);
    return b->status;
}

/* Waits until no page is on its way. */
static bool settle(struct balloon *b)
{
    for (unsigned i = 0; take_returned(b) == BALLOON_OK && is_moving(b); i++) {
        if (i == BALLOON_WAIT_MAX) {
            fail(b, BALLOON_NO_ANSWER);
            break;
        }
        b->ops->wait(b->context);
    }
    return b->status == BALLOON_OK;
}

uint32_t balloon_reclaim(struct balloon *b)
{
    if (b->status != BALLOON_OK || !has_feature(b, VIRTIO_BALLOON_F_DEFLATE_ON_OOM))
        return 0;
    uint64_t before = b->deflated_count;
    if (!settle(b))
        return 0;
    if (b->deflated_count == before && b->page_count) {
        b->held = true;
        b->oom_count++;
        start_deflate(b, BALLOON_BATCH);
        settle(b);
    }
    return (uint32_t)(b->deflated_count - before);
}

void balloon_resume(struct balloon *b)
{
    b->held = false;
}
