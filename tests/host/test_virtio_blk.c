/*
 * The virtio-blk driver on a device made of variables: capabilities, negotiation,
 * the virtqueue as the specification has it. It can fail, be silent and lie.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/virtio_blk.h"
#include "lib/rng.h"
#include "tests/host/fake_pci.h"
#include "tests/host/support.h"

#define SECTORS 4096u
#define BAR     2u /* common at 0, isr at 0x1000, device at 0x2000, notify at 0x3000 */

static struct {
    uint32_t select[2], driver_features[2];
    uint8_t status;
    uint16_t size, enabled, vector;
    uint64_t places[3]; /* descriptors, available, used */
    uint16_t seen, used;
    unsigned resets, isr_reads, generation;
    /* What it is like. */
    uint64_t features, capacity, bad_sector;
    uint32_t size_max;
    uint16_t size_offered, notify_offset;
    uint8_t bad_status;
    bool gone, hold, no_reset, refuses_features, refuses_vector, changes, wrong_id, too_many;
    bool status_unwritten;
} device;
static uint8_t *store;

/* ---- the device --------------------------------------------------------------------------------
 */

static struct virtq_desc *descriptor(unsigned index)
{
    assert_true(index < device.size);
    return (struct virtq_desc *)(uintptr_t)device.places[0] + index;
}

static void use(uint32_t id)
{
    uint8_t *ring = (uint8_t *)(uintptr_t)device.places[2];
    struct virtq_used_elem element = { .id = device.wrong_id ? id + 1 : id, .len = 1 };
    memcpy(ring + 4 + device.used % device.size * sizeof element, &element, sizeof element);
    device.used++;
    uint16_t idx = (uint16_t)(device.used + (device.too_many ? 100 : 0));
    memcpy(ring + 2, &idx, 2);
}

static void run_one(uint16_t first)
{
    struct virtq_desc *at = descriptor(first), *data, *status;
    struct virtio_blk_header header;
    assert_int_equal(at->len, 16);
    assert_int_equal(at->flags, VIRTQ_DESC_F_NEXT);
    memcpy(&header, (void *)(uintptr_t)at->addr, 16);
    data = descriptor(at->next);
    status = descriptor(data->next);
    assert_int_equal(status->flags, VIRTQ_DESC_F_WRITE);
    assert_int_equal(status->len, 1);
    uint32_t count = data->len / 512;
    assert_true(header.sector + count <= SECTORS);
    assert_int_equal(data->flags & VIRTQ_DESC_F_WRITE ? 0 : 1, header.type);
    uint8_t *buffer = (uint8_t *)(uintptr_t)data->addr;
    bool bad = device.bad_sector >= header.sector && device.bad_sector < header.sector + count;
    if (!bad && header.type == VIRTIO_BLK_T_OUT)
        memcpy(store + header.sector * 512, buffer, data->len);
    else if (!bad)
        memcpy(buffer, store + header.sector * 512, data->len);
    if (!device.status_unwritten)
        *(uint8_t *)(uintptr_t)status->addr = bad ? device.bad_status : VIRTIO_BLK_S_OK;
    use(first);
}

/* From the last to the first: the order is the device's affair. */
static void run(void)
{
    uint16_t idx, firsts[VIRTIO_BLK_QUEUE_MAX];
    unsigned count = 0;
    if (!(device.status & VIRTIO_STATUS_DRIVER_OK) || !device.enabled)
        return;
    const uint8_t *ring = (const uint8_t *)(uintptr_t)device.places[1];
    memcpy(&idx, ring + 2, 2);
    assert_true((uint16_t)(idx - device.seen) <= device.size);
    for (; device.seen != idx; device.seen++)
        memcpy(&firsts[count++], ring + 4 + device.seen % device.size * 2, 2);
    while (count-- > 0)
        run_one(firsts[count]);
}

static uint32_t common_read(unsigned offset)
{
    switch (offset) {
    case VIRTIO_COMMON_DEVICE_FEATURE:
        return (uint32_t)(device.features >> (32 * (device.select[0] & 1)));
    case VIRTIO_COMMON_STATUS:
        return device.status;
    case VIRTIO_COMMON_GENERATION:
        return device.changes ? ++device.generation & 0xff : 0;
    case VIRTIO_COMMON_QUEUE_SIZE:
        return device.enabled ? device.size : device.size_offered;
    case VIRTIO_COMMON_QUEUE_VECTOR:
        return device.refuses_vector ? VIRTIO_NO_VECTOR : device.vector;
    case VIRTIO_COMMON_QUEUE_NOTIFY:
        return device.notify_offset;
    }
    return 0;
}

static uint32_t read_register(unsigned bar, unsigned offset, unsigned bytes)
{
    assert_int_equal(bar, BAR);
    if (device.gone)
        return UINT32_MAX;
    if (offset == 0x1000)
        device.isr_reads++;
    if (offset == 0x2000)
        return (uint32_t)device.capacity;
    if (offset == 0x2004)
        return (uint32_t)(device.capacity >> 32);
    if (offset == 0x2008)
        return device.size_max;
    (void)bytes;
    return offset < 0x1000 ? common_read(offset) : 0;
}

static void status_write(uint8_t value)
{
    if (value == 0 && !device.no_reset) {
        device.resets++;
        device.enabled = device.seen = device.used = 0;
    }
    if (device.refuses_features)
        value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    device.status = device.no_reset ? device.status | value : value;
}

static void write_register(unsigned bar, unsigned offset, unsigned bytes, uint32_t value)
{
    if (bar != BAR || device.gone) /* the other is the table of MSI-X */
        return;
    switch (offset) {
    case VIRTIO_COMMON_DEVICE_SELECT:
        device.select[0] = value;
        return;
    case VIRTIO_COMMON_DRIVER_SELECT:
        device.select[1] = value;
        return;
    case VIRTIO_COMMON_DRIVER_FEATURE:
        device.driver_features[device.select[1] & 1] = value;
        return;
    case VIRTIO_COMMON_STATUS:
        status_write((uint8_t)value);
        return;
    case VIRTIO_COMMON_QUEUE_SIZE:
        assert_true(value <= device.size_offered && (value & (value - 1)) == 0);
        device.size = (uint16_t)value;
        return;
    case VIRTIO_COMMON_QUEUE_VECTOR:
        device.vector = (uint16_t)value;
        return;
    case VIRTIO_COMMON_QUEUE_ENABLE:
        device.enabled = 1;
        return;
    case 0x3000:
        assert_int_equal(bytes, 2);
        if (!device.hold)
            run();
        return;
    }
    if (offset >= VIRTIO_COMMON_QUEUE_DESC && offset < VIRTIO_COMMON_BYTES)
        memcpy((char *)device.places + offset - VIRTIO_COMMON_QUEUE_DESC, &value, 4);
}

/* ---- what tests begin with
 * ------------------------------------------------------------------------ */

static void window_add(unsigned type, uint32_t offset, uint32_t length)
{
    unsigned at = fake_capability_add(9, 20);
    fake_config[at + 3] = (uint8_t)type;
    fake_config[at + 4] = BAR;
    fake_config_write32(at + 8, offset);
    fake_config_write32(at + 12, length);
    fake_config_write32(at + 16, 4);
}

static void prepare_with(bool msix, uint32_t notify_bytes)
{
    memset(&device, 0, sizeof device);
    fake_pci_reset(0x1af4, 0x1042, 1, 0, 0);
    fake_bar_set(BAR, 16384);
    fake_bar_set(1, 4096);
    if (msix)
        fake_msix_add(1);
    window_add(1, 0, 0x1000);
    window_add(3, 0x1000, 0x1000);
    window_add(4, 0x2000, 0x1000);
    window_add(2, 0x3000, notify_bytes);
    fake_read = read_register;
    fake_write = write_register;
    device.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_EVENT_IDX;
    device.capacity = SECTORS;
    device.size_offered = 256;
    device.bad_sector = UINT64_MAX;
    device.bad_status = VIRTIO_BLK_S_IOERR;
    if (!store)
        store = malloc(SECTORS * 512);
    for (unsigned i = 0; i < SECTORS * 512; i++)
        store[i] = (uint8_t)(i / 512 * 13 + i);
}

static void prepare(void)
{
    prepare_with(true, 0x1000);
}

static unsigned units(void)
{
    fake_probe(&virtio_blk_driver);
    return fake_queue ? fake_queue->units[0].present : 0;
}

static int setup(void **state)
{
    (void)state;
    prepare();
    assert_int_equal(units(), 1);
    return 0;
}

/* ---- tests
 * -------------------------------------------------------------------------------------------- */

static void comes_up(void **state)
{
    (void)state;
    assert_int_equal(fake_queue->depth, 32);
    assert_int_equal(device.size, 128);
    assert_int_equal(fake_queue->vector, FAKE_VECTOR);
    assert_int_equal(device.vector, 0);
    assert_int_equal(device.driver_features[1], 1); /* version 1 and nothing else */
    assert_int_equal(device.driver_features[0], 0);
    assert_int_equal(fake_queue->units[0].device.max_sectors, 256);
    prepare();
    device.features |= 1 << VIRTIO_BLK_F_SIZE_MAX;
    device.size_max = 65536;
    assert_int_equal(units(), 1);
    assert_int_equal(fake_queue->units[0].device.max_sectors, 128);
}

static void moves_data(void **state)
{
    static const uint32_t counts[] = { 1, 2, 8, 17, 126, 255, 256 };
    (void)state;
    for (unsigned i = 0; i < 7; i++) {
        struct block_request *r = fake_submit(i, false, 3 * i, counts[i]);
        assert_int_equal(fake_wait(i), BLOCK_OK);
        assert_memory_equal(r->buffer, store + 3 * i * 512, counts[i] * 512);
        memset(r->buffer, (int)i + 1, counts[i] * 512);
        fake_submit(i, true, 1000 + i, counts[i]);
        assert_int_equal(fake_wait(i), BLOCK_OK);
        assert_int_equal(store[(1000 + i) * 512 + 5], i + 1);
    }
}

static void many(uint16_t offered, unsigned depth)
{
    prepare();
    device.size_offered = offered;
    assert_int_equal(units(), 1);
    assert_int_equal(fake_queue->depth, depth);
    for (unsigned round = 0; round < 50; round++) { /* past the end of the rings */
        device.hold = true;
        for (unsigned i = 0; i < 40; i++)
            fake_submit(i, false, i, 8);
        device.hold = false;
        for (unsigned i = 0; i < 60 && fake_done_count < 40; i++) {
            run();
            disk_queue_interrupt(fake_queue);
        }
        assert_int_equal(fake_done_count, 40);
        for (unsigned i = 0; i < 40; i++)
            assert_int_equal(fake_requests[i].status, BLOCK_OK);
        fake_done_count = 0;
    }
    assert_int_equal(device.resets, 1);
}

static void holds_many(void **state)
{
    (void)state;
    many(256, 32);
    many(128, 32);
    many(16, 5);
    many(4, 1);
}

static void acknowledges_its_line(void **state)
{
    (void)state;
    prepare_with(false, 0x1000);
    assert_int_equal(units(), 1);
    assert_int_equal(fake_messages, 0);
    assert_int_equal(device.vector, VIRTIO_NO_VECTOR);
    fake_submit(0, false, 0, 1);
    assert_true(disk_queue_interrupt(fake_queue));
    assert_int_equal(device.isr_reads, 1);
}

static void reports_errors(void **state)
{
    for (uint8_t status = VIRTIO_BLK_S_IOERR; status <= VIRTIO_BLK_S_UNSUPP; status++) {
        setup(state);
        device.bad_sector = 20;
        device.bad_status = status;
        for (unsigned i = 0; i < 4; i++)
            fake_submit(i, i & 1, i * 8, 8);
        disk_queue_interrupt(fake_queue);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(fake_requests[i].status, i == 2 ? BLOCK_ERROR : BLOCK_OK);
        assert_int_equal(device.resets, 1);
    }
}

static void lost_interrupts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        fake_submit(i, false, i, 1);
        fake_now += (i < 3 ? 101 : 2) * FAKE_MS;
        disk_queue_poll(fake_queue, fake_now);
        assert_true(fake_done[i]);
    }
}

static void times_out(void **state)
{
    (void)state;
    device.hold = true;
    fake_submit(0, false, 0, 1);
    fake_now += 18000 * FAKE_MS;
    fake_submit(1, false, 1, 1);
    fake_now += 15000 * FAKE_MS;
    disk_queue_poll(fake_queue, fake_now);
    assert_int_equal(device.resets, 2);
    assert_int_equal(fake_requests[0].status, BLOCK_TIMEOUT);
    device.hold = false;
    run();
    assert_int_equal(fake_wait(1), BLOCK_OK);
}

static void garbage_completions(void **state)
{
    bool *ways[] = { &device.wrong_id, &device.too_many, &device.status_unwritten };
    for (unsigned way = 0; way < 3; way++) {
        setup(state);
        *ways[way] = true;
        for (unsigned i = 0; i < 12; i++) {
            fake_submit(i, false, i, 1);
            enum block_status status = fake_wait(i);
            assert_true(status == BLOCK_ERROR || status == BLOCK_GONE);
        }
        assert_true(fake_queue->units[0].gone);
        assert_false(fake_bus_master());
    }
}

static void dies(void **state)
{
    bool *ways[] = { &device.gone, &device.no_reset, &device.refuses_features };
    for (unsigned way = 0; way < 3; way++) {
        setup(state);
        device.hold = true;
        for (unsigned i = 0; i < 40; i++)
            fake_submit(i, false, i, 1);
        *ways[way] = true;
        for (unsigned i = 0; i < 40; i++)
            assert_int_equal(fake_wait(i), BLOCK_GONE);
        assert_false(fake_bus_master());
    }
}

static void wants_a_reset(void **state)
{
    (void)state;
    device.hold = true;
    fake_submit(0, false, 0, 1);
    device.status |= VIRTIO_STATUS_NEEDS_RESET;
    device.hold = false;
    disk_queue_interrupt(fake_queue);
    assert_int_equal(device.resets, 2);
    assert_int_equal(fake_wait(0), BLOCK_OK);
}

static void refuses(void **state)
{
    (void)state;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        prepare();                                                                                 \
        change;                                                                                    \
        assert_int_equal(units(), 0);                                                              \
    } while (0)
    REFUSED(device.gone = true);
    REFUSED(device.no_reset = true; device.status = 1);
    REFUSED(device.features = 0);
    REFUSED(device.features |= 1 << VIRTIO_BLK_F_RO);
    REFUSED(device.features |= 1 << VIRTIO_BLK_F_SIZE_MAX; device.size_max = 512);
    REFUSED(device.refuses_features = true);
    REFUSED(device.refuses_vector = true);
    REFUSED(device.size_offered = 2);
    REFUSED(device.size_offered = 0);
    REFUSED(device.notify_offset = 0x400);
    REFUSED(device.changes = true);
    REFUSED(device.capacity = 0);
    REFUSED(device.capacity = UINT64_MAX);
    REFUSED(fake_bar_set(BAR, 4096));  /* windows outside of it */
    REFUSED(fake_config[0x34] = 0);    /* no capabilities */
    REFUSED(fake_config[0x41] = 0x40); /* a list that has no end */
}

static void random_begin(struct rng *rng)
{
    (void)rng;
    setup(NULL);
}

static void random_vary(struct rng *rng)
{
    device.hold = rng_below(rng, 3) == 0;
    device.wrong_id = rng_below(rng, 40) == 0;
    device.bad_sector = rng_below(rng, 4000);
    device.gone |= rng_below(rng, 2000) == 0;
}

static void random_answer(void)
{
    if (!device.gone)
        run();
}

static void random_calm(void)
{
    device.wrong_id = device.hold = false;
}

static void random_hardware(void **state)
{
    (void)state;
    fake_random_hardware(&(struct fake_hardware){ "devices", &store, random_begin, random_vary,
                                                  random_answer, random_calm });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(comes_up, setup),
        cmocka_unit_test_setup(moves_data, setup),
        cmocka_unit_test(holds_many),
        cmocka_unit_test(acknowledges_its_line),
        cmocka_unit_test(reports_errors),
        cmocka_unit_test_setup(lost_interrupts, setup),
        cmocka_unit_test_setup(times_out, setup),
        cmocka_unit_test(garbage_completions),
        cmocka_unit_test(dies),
        cmocka_unit_test_setup(wants_a_reset, setup),
        cmocka_unit_test(refuses),
        cmocka_unit_test(random_hardware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
