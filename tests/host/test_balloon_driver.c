/*
 * The guest's balloon driver (guest-driver/balloon_core.c) against a fake device:
 * the order of initialization, inflating and deflating in batches, statistics,
 * out of memory, and a device that breaks the rules.
 *
 * The fake checks what a device may rely on (VIRTIO 1.2, 2.7 and 4.2): registers
 * in order, descriptors before the index, one buffer at a time, pages given up
 * once.
 */
#include "tests/host/support.h"

#include <string.h>

#include "guest-driver/balloon_core.h"

#define PAGES   2000u
#define FIRST   100u /* number of the guest's first page */
#define LOG_MAX 64
#define ALL_FEATURES                                                                               \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BALLOON_F_STATS_VQ |                              \
     1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | 1ull << VIRTIO_BALLOON_F_PAGE_REPORTING |           \
     1ull << VIRTIO_F_EVENT_IDX)

enum owner { GUEST_FREE, GUEST_USED, DEVICE };

struct fake {
    struct balloon balloon;
    uint32_t stack[PAGES];

    /* the device */
    uint64_t offered, accepted;
    uint32_t status, interrupt, features_select, driver_select, queue_select, queue_max;
    uint32_t num_pages, actual;
    struct {
        uint32_t size, ready;
        uint64_t desc, avail, used;
        uint16_t seen;
        bool notified;
    } queues[BALLOON_QUEUES];
    bool present, keeps_status, refuses_features, queue_in_use;
    bool answers_in_wait; /* works when the driver waits */
    unsigned writes_to_status;
    uint32_t status_log[LOG_MAX];
    uint64_t wait_count;

    /* the guest */
    enum owner owner[PAGES];
    uint32_t available; /* how many pages page_alloc() still gives */
    uint64_t free_bytes;
    unsigned largest_batch, buffers;
    struct virtio_balloon_stat stats[VIRTIO_BALLOON_S_COUNT];
    unsigned stats_count, stats_received;
};

/* ---- the device ------------------------------------------------------------------ */

static uint32_t device_read(void *context, uint32_t offset)
{
    struct fake *f = context;
    switch (offset) {
    case VIRTIO_MMIO_MAGIC:
        return VIRTIO_MMIO_MAGIC_VALUE;
    case VIRTIO_MMIO_VERSION:
        return VIRTIO_MMIO_VERSION_VALUE;
    case VIRTIO_MMIO_DEVICE_ID:
        return f->present ? VIRTIO_ID_BALLOON : 0;
    case VIRTIO_MMIO_STATUS:
        return f->status;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return (uint32_t)(f->offered >> 32 * f->features_select);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return f->queue_select < BALLOON_QUEUES ? f->queue_max : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return f->queue_in_use || f->queues[f->queue_select].ready;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return f->interrupt;
    case VIRTIO_MMIO_CONFIG:
        return f->num_pages;
    case VIRTIO_MMIO_CONFIG + 4:
        return f->actual;
    default:
        fail_msg("read of register 0x%x", offset);
        return 0;
    }
}

static void set_half(uint64_t *address, uint32_t value, bool high)
{
    *address = high ? (*address & UINT32_MAX) | (uint64_t)value << 32
                    : (*address & ~(uint64_t)UINT32_MAX) | value;
}

static void device_status(struct fake *f, uint32_t value)
{
    assert_true(f->writes_to_status < LOG_MAX);
    f->status_log[f->writes_to_status++] = value;
    if (value == 0) {
        memset(f->queues, 0, sizeof(f->queues));
        f->accepted = 0;
    }
    if (value & VIRTIO_STATUS_FEATURES_OK && !(f->status & VIRTIO_STATUS_FEATURES_OK)) {
        assert_int_equal(f->accepted & ~f->offered, 0);
        if (f->refuses_features)
            value &= ~VIRTIO_STATUS_FEATURES_OK;
    }
    if (value & VIRTIO_STATUS_DRIVER_OK)
        assert_true(f->queues[0].ready && f->queues[1].ready);
    f->status = f->keeps_status && !value ? f->status : value;
}

static void device_queue_register(struct fake *f, uint32_t offset, uint32_t value)
{
    assert_true(f->queue_select < BALLOON_QUEUES);
    /* 4.2.3.2: after FEATURES_OK, before DRIVER_OK, and not once it is ready. */
    assert_true(f->status & VIRTIO_STATUS_FEATURES_OK);
    assert_false(f->status & VIRTIO_STATUS_DRIVER_OK);
    assert_false(f->queues[f->queue_select].ready);
    bool high = offset % 8 == 4;
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        f->queues[f->queue_select].size = value;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        assert_true(f->queues[f->queue_select].desc && f->queues[f->queue_select].avail &&
                    f->queues[f->queue_select].used);
        f->queues[f->queue_select].ready = value;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_half(&f->queues[f->queue_select].desc, value, high);
        break;
    case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
    case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
        set_half(&f->queues[f->queue_select].avail, value, high);
        break;
    case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
    case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
        set_half(&f->queues[f->queue_select].used, value, high);
        break;
    default:
        fail_msg("write of register 0x%x", offset);
    }
}

static void device_write(void *context, uint32_t offset, uint32_t value)
{
    struct fake *f = context;
    switch (offset) {
    case VIRTIO_MMIO_STATUS:
        device_status(f, value);
        break;
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        f->features_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        f->driver_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        assert_false(f->status & VIRTIO_STATUS_FEATURES_OK);
        f->accepted |= (uint64_t)value << 32 * f->driver_select;
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        f->queue_select = value;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        assert_true(f->status & VIRTIO_STATUS_DRIVER_OK);
        assert_true(value < BALLOON_QUEUES && f->queues[value].ready);
        f->queues[value].notified = true;
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        f->interrupt &= ~value;
        break;
    case VIRTIO_MMIO_CONFIG + 4:
        f->actual = value;
        break;
    default:
        device_queue_register(f, offset, value);
    }
}

static void device_page(struct fake *f, unsigned queue, uint32_t page)
{
    assert_in_range(page, FIRST, FIRST + PAGES - 1);
    enum owner *owner = &f->owner[page - FIRST];
    assert_int_equal(*owner, queue == VIRTIO_BALLOON_Q_INFLATE ? GUEST_USED : DEVICE);
    *owner = queue == VIRTIO_BALLOON_Q_INFLATE ? DEVICE : GUEST_USED;
}

static void device_buffer(struct fake *f, unsigned queue, const struct virtq_desc *desc)
{
    assert_int_equal(desc->flags, 0);
    if (queue == VIRTIO_BALLOON_Q_STATS) {
        assert_int_equal(desc->len % sizeof(struct virtio_balloon_stat), 0);
        assert_in_range(desc->len, 0, sizeof(f->stats));
        memcpy(f->stats, (void *)(uintptr_t)desc->addr, desc->len);
        f->stats_count = desc->len / sizeof(struct virtio_balloon_stat);
        f->stats_received++;
        return;
    }
    const uint32_t *pages = (const uint32_t *)(uintptr_t)desc->addr;
    unsigned count = desc->len / 4;
    assert_in_range(count, 1, BALLOON_BATCH);
    f->largest_batch = count > f->largest_batch ? count : f->largest_batch;
    f->buffers++;
    for (unsigned i = 0; i < count; i++)
        device_page(f, queue, pages[i]);
}

/* Gives back an entry with this id, `steps` indexes further. */
static void device_return(struct fake *f, unsigned queue, uint32_t id, uint16_t steps)
{
    uint16_t *used = (uint16_t *)(uintptr_t)f->queues[queue].used;
    struct virtq_used_elem *ring = (struct virtq_used_elem *)(used + 2);
    ring[used[1] % f->queues[queue].size] = (struct virtq_used_elem){ id, 0 };
    used[1] = (uint16_t)(used[1] + steps);
    f->interrupt |= VIRTIO_INTERRUPT_USED;
}

/* Takes what is available. True: there was a buffer. A buffer of the statistics
 * queue is kept until device_return(). */
static bool device_take(struct fake *f, unsigned queue)
{
    const uint16_t *avail = (const uint16_t *)(uintptr_t)f->queues[queue].avail;
    if (!f->queues[queue].ready || avail[1] == f->queues[queue].seen)
        return false;
    assert_true(f->queues[queue].notified);
    assert_int_equal((uint16_t)(avail[1] - f->queues[queue].seen), 1);
    uint16_t head = avail[2 + f->queues[queue].seen % f->queues[queue].size];
    assert_true(head < f->queues[queue].size);
    device_buffer(f, queue, (const struct virtq_desc *)(uintptr_t)f->queues[queue].desc + head);
    f->queues[queue].seen++;
    f->queues[queue].notified = false;
    return true;
}

/* One buffer of the inflate and of the deflate queue. True: did something. */
static bool device_work(struct fake *f)
{
    bool did = false;
    for (unsigned queue = 0; queue < 2; queue++)
        if (device_take(f, queue)) {
            device_return(f, queue, 0, 1);
            did = true;
        }
    device_take(f, VIRTIO_BALLOON_Q_STATS);
    return did;
}

static void device_wants(struct fake *f, uint32_t pages)
{
    f->num_pages = pages;
    f->interrupt |= VIRTIO_INTERRUPT_CONFIG;
}

/* ---- the guest -------------------------------------------------------------------- */

static uint64_t guest_physical(void *context, const void *memory)
{
    (void)context;
    return (uint64_t)(uintptr_t)memory;
}

static uint32_t guest_page_alloc(void *context)
{
    struct fake *f = context;
    for (uint32_t i = 0; f->available && i < PAGES; i++)
        if (f->owner[i] == GUEST_FREE) {
            f->owner[i] = GUEST_USED;
            f->available--;
            return FIRST + i;
        }
    return BALLOON_NO_PAGE;
}

static void guest_page_free(void *context, uint32_t page)
{
    struct fake *f = context;
    assert_in_range(page, FIRST, FIRST + PAGES - 1);
    /* Not before the device gave it back. */
    assert_int_equal(f->owner[page - FIRST], GUEST_USED);
    f->owner[page - FIRST] = GUEST_FREE;
    f->available++;
}

static void guest_statistics(void *context, uint64_t values[VIRTIO_BALLOON_S_COUNT])
{
    struct fake *f = context;
    values[VIRTIO_BALLOON_S_FREE_MEMORY] = f->free_bytes;
    values[VIRTIO_BALLOON_S_CACHES] = 0;
}

static void guest_wait(void *context)
{
    struct fake *f = context;
    f->wait_count++;
    if (f->answers_in_wait)
        device_work(f);
}

static const struct balloon_ops ops = {
    .read = device_read,
    .write = device_write,
    .physical = guest_physical,
    .page_alloc = guest_page_alloc,
    .page_free = guest_page_free,
    .statistics = guest_statistics,
    .wait = guest_wait,
};

static struct fake fake;

static struct fake *fresh(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.present = true;
    fake.offered = ALL_FEATURES;
    fake.queue_max = 64;
    fake.available = PAGES;
    fake.status = VIRTIO_STATUS_FAILED; /* of somebody before */
    return &fake;
}

static enum balloon_status start(struct fake *f)
{
    return balloon_start(&f->balloon, &ops, f, f->stack, PAGES);
}

static uint32_t owned_by_device(const struct fake *f)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < PAGES; i++)
        count += f->owner[i] == DEVICE;
    return count;
}

/* Device and driver take turns until neither has anything to do. */
static void run(struct fake *f)
{
    for (unsigned i = 0; i < 100; i++) {
        bool did = device_work(f);
        balloon_interrupt(&f->balloon);
        uint32_t before = f->balloon.page_count;
        assert_int_equal(balloon_work(&f->balloon), BALLOON_OK);
        if (!did && before == f->balloon.page_count)
            return;
    }
    fail_msg("driver and device do not settle");
}

/* ---- tests ---------------------------------------------------------------------------- */

static void test_initialization_order(void **state)
{
    (void)state;
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    static const uint32_t order[] = { 0, 1, 3, 0xb, 0xf };
    assert_int_equal(f->writes_to_status, 5);
    assert_memory_equal(f->status_log, order, sizeof(order));
    assert_int_equal(f->accepted, 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BALLOON_F_STATS_VQ |
                                      1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
    assert_true(f->queues[0].ready && f->queues[1].ready && f->queues[2].ready);
    assert_true(f->queues[2].notified); /* statistics are primed */
}

static void test_without_statistics(void **state)
{
    (void)state;
    struct fake *f = fresh();
    f->offered &= ~(1ull << VIRTIO_BALLOON_F_STATS_VQ);
    assert_int_equal(start(f), BALLOON_OK);
    assert_false(f->queues[2].ready);
    device_wants(f, 10);
    run(f);
    assert_int_equal(owned_by_device(f), 10);
}

static void test_refusals(void **state)
{
    (void)state;
    struct fake *f = fresh();
    f->present = false;
    assert_int_equal(start(f), BALLOON_NO_DEVICE);
    assert_int_equal(f->writes_to_status, 0);

    f = fresh();
    f->offered &= ~(1ull << VIRTIO_F_VERSION_1);
    assert_int_equal(start(f), BALLOON_FEATURES_REFUSED);
    assert_true(f->status & VIRTIO_STATUS_FAILED);

    f = fresh();
    f->refuses_features = true;
    assert_int_equal(start(f), BALLOON_FEATURES_REFUSED);

    f = fresh();
    f->queue_max = BALLOON_QUEUE_SIZE / 2;
    assert_int_equal(start(f), BALLOON_NO_QUEUE);
    assert_true(f->status & VIRTIO_STATUS_FAILED);

    f = fresh();
    f->queue_in_use = true;
    assert_int_equal(start(f), BALLOON_NO_QUEUE);

    f = fresh();
    f->keeps_status = true;
    assert_int_equal(start(f), BALLOON_NO_RESET);
}

static void test_inflate_and_deflate(void **state)
{
    (void)state;
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    device_wants(f, 1000);
    run(f);
    assert_int_equal(owned_by_device(f), 1000);
    assert_int_equal(f->actual, 1000);
    assert_int_equal(f->buffers, 4); /* 256 + 256 + 256 + 232 */
    assert_int_equal(f->largest_batch, BALLOON_BATCH);

    device_wants(f, 300);
    run(f);
    assert_int_equal(owned_by_device(f), 300);
    assert_int_equal(f->actual, 300);
    assert_int_equal(f->available, PAGES - 300);
    assert_int_equal(f->balloon.inflated_count, 1000);
    assert_int_equal(f->balloon.deflated_count, 700);

    device_wants(f, 0);
    run(f);
    assert_int_equal(owned_by_device(f), 0);
    assert_int_equal(f->actual, 0);
}

static void test_wish_beyond_memory(void **state)
{
    (void)state;
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    f->available = 100;
    device_wants(f, UINT32_MAX);
    run(f);
    assert_int_equal(owned_by_device(f), 100);
    f->available = 50; /* somebody freed some: found when asked again */
    assert_int_equal(balloon_work(&f->balloon), BALLOON_OK);
    run(f);
    assert_int_equal(owned_by_device(f), 150);
    assert_int_equal(f->actual, 150);
}

static void test_one_direction_at_a_time(void **state)
{
    (void)state;
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    device_wants(f, 256);
    balloon_interrupt(&f->balloon);
    balloon_work(&f->balloon);
    assert_true(f->balloon.queues[0].in_flight);
    device_wants(f, 0); /* changes its mind before it has looked */
    balloon_interrupt(&f->balloon);
    balloon_work(&f->balloon);
    assert_false(f->balloon.queues[1].in_flight);
    run(f);
    assert_int_equal(owned_by_device(f), 0);
    assert_int_equal(f->available, PAGES);
}

static void test_reclaim(void **state)
{
    (void)state;
    struct fake *f = fresh();
    f->answers_in_wait = true;
    assert_int_equal(start(f), BALLOON_OK);
    device_wants(f, 600);
    run(f);
    assert_int_equal(balloon_reclaim(&f->balloon), BALLOON_BATCH);
    assert_int_equal(owned_by_device(f), 600 - BALLOON_BATCH);
    assert_int_equal(f->actual, 600 - BALLOON_BATCH);
    run(f); /* does not grow again at once */
    assert_int_equal(owned_by_device(f), 600 - BALLOON_BATCH);
    balloon_resume(&f->balloon);
    balloon_work(&f->balloon);
    run(f);
    assert_int_equal(owned_by_device(f), 600);
    assert_int_equal(f->balloon.oom_count, 1);
}

/* The batch that is under way must have arrived before its pages come back. */
static void test_reclaim_while_inflating(void **state)
{
    (void)state;
    struct fake *f = fresh();
    f->answers_in_wait = true;
    assert_int_equal(start(f), BALLOON_OK);
    device_wants(f, 200);
    balloon_interrupt(&f->balloon);
    balloon_work(&f->balloon);
    assert_int_equal(owned_by_device(f), 0);
    assert_int_equal(balloon_reclaim(&f->balloon), 200);
    assert_int_equal(owned_by_device(f), 0);
    assert_int_equal(f->available, PAGES);
    assert_int_equal(balloon_reclaim(&f->balloon), 0); /* empty */
}

static void test_reclaim_not_negotiated(void **state)
{
    (void)state;
    struct fake *f = fresh();
    f->offered &= ~(1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
    assert_int_equal(start(f), BALLOON_OK);
    device_wants(f, 100);
    run(f);
    assert_int_equal(balloon_reclaim(&f->balloon), 0);
    assert_int_equal(owned_by_device(f), 100);
}

static void test_no_answer(void **state)
{
    (void)state;
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    device_wants(f, 100);
    run(f);
    assert_int_equal(balloon_reclaim(&f->balloon), 0);
    assert_int_equal(f->balloon.status, BALLOON_NO_ANSWER);
    assert_true(f->wait_count <= BALLOON_WAIT_MAX);
    assert_true(f->status & VIRTIO_STATUS_FAILED);
}

static void test_statistics(void **state)
{
    (void)state;
    struct fake *f = fresh();
    f->free_bytes = 12345;
    assert_int_equal(start(f), BALLOON_OK);
    run(f);
    assert_int_equal(f->stats_received, 1);
    assert_int_equal(f->stats_count, 2); /* only what is known */
    assert_int_equal(f->stats[0].tag, VIRTIO_BALLOON_S_FREE_MEMORY);
    assert_int_equal(f->stats[0].value, 12345);
    f->free_bytes = 54321;
    run(f);
    assert_int_equal(f->stats_received, 1); /* not asked for */
    device_return(f, VIRTIO_BALLOON_Q_STATS, 0, 1);
    run(f);
    device_work(f);
    assert_int_equal(f->stats_received, 2);
    assert_int_equal(f->stats[0].value, 54321);
}

/* Whatever the used ring says, the driver stops and touches nothing more. */
static void expect_broken(unsigned queue, uint32_t id, uint16_t steps)
{
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    device_wants(f, 10);
    balloon_interrupt(&f->balloon);
    balloon_work(&f->balloon);
    device_return(f, queue, id, steps);
    balloon_interrupt(&f->balloon);
    assert_int_equal(balloon_work(&f->balloon), BALLOON_BROKEN);
    assert_true(f->status & VIRTIO_STATUS_FAILED);
    assert_false(balloon_is_pending(&f->balloon));
    assert_int_equal(balloon_work(&f->balloon), BALLOON_BROKEN);
    assert_int_equal(balloon_reclaim(&f->balloon), 0);
}

static void test_broken_device(void **state)
{
    (void)state;
    expect_broken(VIRTIO_BALLOON_Q_INFLATE, 1, 1);
    expect_broken(VIRTIO_BALLOON_Q_INFLATE, UINT32_MAX, 1);
    expect_broken(VIRTIO_BALLOON_Q_INFLATE, 0, 2);
    expect_broken(VIRTIO_BALLOON_Q_INFLATE, 0, 65535);
    expect_broken(VIRTIO_BALLOON_Q_DEFLATE, 0, 1); /* nothing was sent */
    expect_broken(VIRTIO_BALLOON_Q_STATS, 3, 1);
}

static void test_needs_reset(void **state)
{
    (void)state;
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    run(f);
    f->status |= VIRTIO_STATUS_NEEDS_RESET;
    f->interrupt |= VIRTIO_INTERRUPT_CONFIG;
    balloon_interrupt(&f->balloon);
    assert_int_equal(balloon_work(&f->balloon), BALLOON_NEEDS_RESET);
}

static void test_interrupts(void **state)
{
    (void)state;
    struct fake *f = fresh();
    assert_int_equal(start(f), BALLOON_OK);
    run(f);
    assert_false(balloon_is_pending(&f->balloon));
    balloon_interrupt(&f->balloon); /* not ours */
    assert_false(balloon_is_pending(&f->balloon));
    f->interrupt = VIRTIO_INTERRUPT_USED | VIRTIO_INTERRUPT_CONFIG;
    balloon_interrupt(&f->balloon);
    assert_int_equal(f->interrupt, 0);
    assert_true(balloon_is_pending(&f->balloon));
}

static void test_names(void **state)
{
    (void)state;
    for (unsigned status = 0; status < BALLOON_STATUS_COUNT; status++)
        assert_string_not_equal(balloon_status_name(status), "?");
    assert_string_equal(balloon_status_name(BALLOON_STATUS_COUNT), "?");
}

/* Random wishes, shortages and delays: every page is in one place, the counts agree. */
static void test_random(void **state)
{
    (void)state;
    struct fake *f = fresh();
    uint64_t x = 1;
    f->answers_in_wait = true;
    assert_int_equal(start(f), BALLOON_OK);
    for (unsigned step = 0; step < 20000; step++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        switch (x >> 61) {
        case 0:
            device_wants(f, (uint32_t)(x >> 32) % (PAGES + 100));
            break;
        case 1:
            balloon_reclaim(&f->balloon);
            break;
        case 2:
            balloon_resume(&f->balloon);
            break;
        case 3:
            if (!f->balloon.queues[VIRTIO_BALLOON_Q_STATS].in_flight || f->interrupt)
                break;
            device_take(f, VIRTIO_BALLOON_Q_STATS);
            break;
        case 4:
            balloon_interrupt(&f->balloon);
            break;
        case 5:
            device_work(f);
            break;
        default:
            assert_int_equal(balloon_work(&f->balloon), BALLOON_OK);
        }
    }
    balloon_resume(&f->balloon);
    device_wants(f, 777);
    run(f);
    run(f);
    assert_int_equal(owned_by_device(f), 777);
    assert_int_equal(f->actual, 777);
    assert_int_equal(f->available, PAGES - 777);
    assert_int_equal(f->balloon.inflated_count - f->balloon.deflated_count, 777);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_initialization_order),
        cmocka_unit_test(test_without_statistics),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_inflate_and_deflate),
        cmocka_unit_test(test_wish_beyond_memory),
        cmocka_unit_test(test_one_direction_at_a_time),
        cmocka_unit_test(test_reclaim),
        cmocka_unit_test(test_reclaim_while_inflating),
        cmocka_unit_test(test_reclaim_not_negotiated),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_broken_device),
        cmocka_unit_test(test_needs_reset),
        cmocka_unit_test(test_interrupts),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
