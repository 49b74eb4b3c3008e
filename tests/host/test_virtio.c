/*
 * The balloon device and its transport against drivers that behave and drivers
 * that do not (PROMISES.md, "Balloon", "MMIO and queues"; P7, P16): whatever the
 * guest writes into registers and memory, work is bounded, nothing is touched out
 * of bounds, pins balance, and the device goes on, ignores it, or needs a reset.
 */
#include <stdlib.h>
#include <string.h>

#include "abi/machine.h"
#include "abi/virtio.h"
#include "hv/vm.h"
#include "lib/rng.h"
#include "tests/host/support.h"

/* The code under test, as it is. */
#include "hv/virtq.c"
#include "hv/dev_virtio.c"
#include "hv/dev_balloon.c"

#define PAGES  64u
#define MEMORY (PAGES * PAGE_SIZE)

static uint8_t *memory;
static struct vm vm;
static const struct config_vm config = { .name = "fuzzed", .balloon = true };
static struct rng rng;
static unsigned wait_percent; /* of the pins and of the entries */
static int pins;
static unsigned inflated, deflated, interrupts, entries_in_pump, ends;
static uint32_t target;

/* ---- what the device asks of the rest ---------------------------------------------- */

uint32_t mm_vm_pages(const struct mm_vm *mm)
{
    (void)mm;
    return PAGES;
}

static bool has_to_wait(struct mm_vcpu *vcpu)
{
    if (!wait_percent || rng_below(&rng, 100) >= wait_percent)
        return false;
    vcpu->waiting = MM_WAIT_PAGE_IN;
    return true;
}

enum mm_answer mm_pin(struct mm_vm *mm, struct mm_vcpu *vcpu, gfn_t page, unsigned access,
                      void **content)
{
    (void)mm;
    (void)access;
    assert_int_equal(vcpu->waiting, MM_WAIT_NONE);
    if (page.v >= PAGES)
        return MM_NO_PAGE;
    if (has_to_wait(vcpu))
        return MM_WAIT;
    pins++;
    assert_in_range(pins, 1, MM_PIN_MAX);
    *content = memory + page.v * PAGE_SIZE;
    return MM_DONE;
}

void mm_unpin(struct mm_vm *mm, gfn_t page)
{
    (void)mm;
    assert_true(page.v < PAGES);
    pins--;
}

static enum mm_balloon_result entry(struct mm_vcpu *vcpu, gfn_t page, unsigned *counter)
{
    entries_in_pump++;
    if (page.v >= PAGES)
        return MM_BALLOON_OUT_OF_RANGE;
    if (has_to_wait(vcpu))
        return MM_BALLOON_WAIT;
    ++*counter;
    return MM_BALLOON_OK;
}

enum mm_balloon_result mm_balloon_inflate(struct mm_vcpu *vcpu, gfn_t page)
{
    return entry(vcpu, page, &inflated);
}

enum mm_balloon_result mm_balloon_deflate(struct mm_vcpu *vcpu, gfn_t page)
{
    return entry(vcpu, page, &deflated);
}

void mm_balloon_driver(struct mm_vm *mm, bool ready, bool failed, uint32_t actual)
{
    (void)mm;
    (void)actual;
    assert_false(ready && failed);
}

uint32_t mm_balloon_target(const struct mm_vm *mm)
{
    (void)mm;
    return target;
}

void mm_balloon_statistics(struct mm_vm *mm, const struct mm_guest_stats *stats)
{
    (void)mm;
    (void)stats;
}

uint64_t clock_now_ns(void)
{
    return 0;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *, uint64_t), void *context)
{
    timer->fire = fire;
    timer->context = context;
}

void timer_set(struct timer *timer, uint64_t deadline)
{
    timer->deadline = deadline;
}

void timer_cancel(struct timer *timer)
{
    timer->deadline = TIMER_NEVER;
}

void dev_ioapic_raise(struct vm *which, unsigned pin)
{
    (void)which;
    assert_int_equal(pin, GUEST_VIRTIO_GSI);
    interrupts++;
}

void dev_ioapic_lower(struct vm *which, unsigned pin)
{
    (void)which;
    (void)pin;
}

void telemetry_device(const struct vm *which, const char *device, const char *reason)
{
    (void)which;
    (void)device;
    assert_non_null(reason);
}

const char *vm_name(const struct vm *which)
{
    return which->config->name;
}

void vm_end(struct vm *which, enum vm_end end, const char *format, ...)
{
    (void)end;
    (void)format;
    which->state = VM_ENDING;
    ends++;
}

/* ---- a driver ------------------------------------------------------------------------- */

#define DESC(q)    (0x1000u + (q)*0x3000u)
#define AVAIL(q)   (DESC(q) + 0x1000u)
#define USED(q)    (DESC(q) + 0x2000u)
#define BUFFER     0x20000u
#define QUEUE_SIZE 8u

static void reg(unsigned offset, uint32_t value)
{
    dev_virtio_write(&vm, offset, 4, value);
}

static uint32_t get(unsigned offset)
{
    return (uint32_t)dev_virtio_read(&vm, offset, 4);
}

static void put16(uint32_t address, uint16_t value)
{
    memcpy(memory + address, &value, sizeof(value));
}

static uint16_t get16(uint32_t address)
{
    uint16_t value;
    memcpy(&value, memory + address, sizeof(value));
    return value;
}

static void put_desc(unsigned q, unsigned index, uint64_t addr, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    struct virtq_desc d = { addr, len, flags, next };
    memcpy(memory + DESC(q) + index * sizeof(d), &d, sizeof(d));
}

static void set_up_queue(unsigned q)
{
    reg(VIRTIO_MMIO_QUEUE_SEL, q);
    assert_int_equal(get(VIRTIO_MMIO_QUEUE_READY), 0);
    assert_int_equal(get(VIRTIO_MMIO_QUEUE_NUM_MAX), VIRTQ_SIZE_MAX);
    reg(VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
    reg(VIRTIO_MMIO_QUEUE_DESC_LOW, DESC(q));
    reg(VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
    reg(VIRTIO_MMIO_QUEUE_DRIVER_LOW, AVAIL(q));
    reg(VIRTIO_MMIO_QUEUE_DEVICE_LOW, USED(q));
    reg(VIRTIO_MMIO_QUEUE_READY, 1);
    assert_int_equal(get(VIRTIO_MMIO_QUEUE_READY), 1);
}

static void set_up_driver(void)
{
    reg(VIRTIO_MMIO_STATUS, 0);
    assert_int_equal(get(VIRTIO_MMIO_MAGIC), VIRTIO_MMIO_MAGIC_VALUE);
    assert_int_equal(get(VIRTIO_MMIO_VERSION), 2);
    assert_int_equal(get(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BALLOON);
    reg(VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
    reg(VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        reg(VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
        reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
        reg(VIRTIO_MMIO_DRIVER_FEATURES, get(VIRTIO_MMIO_DEVICE_FEATURES));
    }
    reg(VIRTIO_MMIO_STATUS, 11);
    assert_int_equal(get(VIRTIO_MMIO_STATUS), 11);
    for (unsigned q = 0; q < 3; q++)
        set_up_queue(q);
    reg(VIRTIO_MMIO_STATUS, 15);
    assert_true(dev_virtio_is_live(&vm.virtio));
}

/* Work of the CPU loop, until there is none; each share of it bounded. */
static void pump(void)
{
    for (unsigned turns = 0; vm.state == VM_RUNNING; turns++) {
        vm.vcpus[0].mm.waiting = MM_WAIT_NONE; /* the page is there now */
        if (!dev_balloon_has_work(&vm))
            return;
        entries_in_pump = 0;
        dev_balloon_pump(&vm);
        assert_int_equal(pins, 0);
        assert_in_range(entries_in_pump, 0, BALLOON_BUDGET + 2);
        assert_in_range(turns, 0, 3000000);
    }
}

static int set_up(void **state)
{
    (void)state;
    memory = calloc(PAGES, PAGE_SIZE);
    memset(&vm, 0, sizeof(vm));
    vm.config = &config;
    vm.state = VM_RUNNING;
    rng_seed(&rng, 1);
    wait_percent = inflated = deflated = interrupts = ends = 0;
    target = 0;
    dev_balloon_init(&vm);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

/* ---- tests ------------------------------------------------------------------------------ */

static void offer(unsigned q, unsigned head)
{
    uint16_t index = get16(AVAIL(q) + 2);
    put16(AVAIL(q) + 4 + 2 * (index % QUEUE_SIZE), (uint16_t)head);
    put16(AVAIL(q) + 2, (uint16_t)(index + 1));
    reg(VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

static void write_numbers(uint32_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t number = first + i;
        memcpy(memory + BUFFER + 4 * i, &number, sizeof(number));
    }
}

static void a_good_driver_is_served(void **state)
{
    (void)state;
    wait_percent = 30;
    set_up_driver();
    write_numbers(40, 20);
    put_desc(0, 3, BUFFER, 40, VIRTQ_DESC_F_NEXT, 5);
    put_desc(0, 5, BUFFER + 40, 40, 0, 0);
    offer(0, 3);
    pump();
    assert_int_equal(inflated, 20);
    assert_int_equal(get16(USED(0) + 2), 1);
    assert_int_equal(get16(USED(0) + 4), 3);
    assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_USED);
    reg(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_INTERRUPT_USED);
    assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    put_desc(1, 0, BUFFER, 40, 0, 0);
    offer(1, 0);
    pump();
    assert_int_equal(deflated, 10);
    assert_int_equal(vm.balloon.counters[BALLOON_buffers], 2);
}

static void a_large_buffer_takes_several_turns(void **state)
{
    (void)state;
    set_up_driver();
    for (unsigned i = 0; i < 1000; i++)
        write_numbers(50, 1), memcpy(memory + BUFFER + 4 * i, memory + BUFFER, 4);
    put_desc(0, 0, BUFFER, 4000, 0, 0);
    offer(0, 0);
    dev_balloon_pump(&vm);
    assert_int_equal(inflated, BALLOON_BUDGET);
    assert_int_equal(get16(USED(0) + 2), 0);
    pump();
    assert_int_equal(inflated, 1000);
    assert_int_equal(get16(USED(0) + 2), 1);
}

static void the_target_is_told(void **state)
{
    (void)state;
    set_up_driver();
    uint32_t generation = get(VIRTIO_MMIO_CONFIG_GENERATION);
    target = 77;
    dev_balloon_tick(&vm);
    assert_int_equal(get(VIRTIO_MMIO_CONFIG), 77);
    assert_int_not_equal(get(VIRTIO_MMIO_CONFIG_GENERATION), generation);
    assert_int_equal(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_CONFIG);
    assert_int_equal(dev_virtio_read(&vm, VIRTIO_MMIO_CONFIG, 1), 77);
    reg(VIRTIO_MMIO_CONFIG, 5); /* read-only for the driver */
    assert_int_equal(get(VIRTIO_MMIO_CONFIG), 77);
    reg(VIRTIO_MMIO_CONFIG + 4, 12);
    assert_int_equal(get(VIRTIO_MMIO_CONFIG + 4), 12);
}

static void statistics_are_kept_and_asked_for(void **state)
{
    (void)state;
    set_up_driver();
    put_desc(2, 1, BUFFER, 20, 0, 0);
    offer(2, 1);
    pump();
    assert_int_equal(vm.balloon.counters[BALLOON_statistics], 1);
    assert_int_equal(get16(USED(2) + 2), 0);
    vm.balloon.timer.fire(&vm.balloon.timer, 0);
    pump();
    assert_int_equal(get16(USED(2) + 2), 1);
}

/* A queue that is reset while the device holds its buffer leaves no work behind,
 * and nothing to give back when it is used again. */
static void a_reset_queue_takes_its_statistics_along(void **state)
{
    (void)state;
    set_up_driver();
    put_desc(2, 1, BUFFER, 20, 0, 0);
    offer(2, 1);
    pump();
    vm.balloon.timer.fire(&vm.balloon.timer, 0);
    assert_true(dev_balloon_has_work(&vm));
    reg(VIRTIO_MMIO_QUEUE_SEL, 2);
    reg(VIRTIO_MMIO_QUEUE_READY, 0);
    assert_false(dev_balloon_has_work(&vm));
    pump();
    assert_int_equal(get16(USED(2) + 2), 0);
}

struct bad_buffer {
    uint32_t len;
    uint16_t flags;
    enum balloon_counter counter;
};

static void bad_buffers_are_refused_and_counted(void **state)
{
    (void)state;
    static const struct bad_buffer bad[] = {
        { 0, 0, BALLOON_refused_empty },
        { 6, 0, BALLOON_refused_ragged },
        { 1, 0, BALLOON_refused_ragged },
        { UINT32_MAX, 0, BALLOON_refused_ragged },
        { UINT32_MAX - 3, 0, BALLOON_refused_long },
        { 8, VIRTQ_DESC_F_WRITE, BALLOON_refused_writable },
    };
    set_up_driver();
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t before = vm.balloon.counters[bad[i].counter];
        put_desc(0, 0, BUFFER, bad[i].len, bad[i].flags, 0);
        offer(0, 0);
        pump();
        assert_int_equal(vm.balloon.counters[bad[i].counter], before + 1);
        assert_true(dev_virtio_is_live(&vm.virtio));
    }
    assert_int_equal(inflated, 0);
}

static void bad_numbers_are_refused_and_counted(void **state)
{
    (void)state;
    const uint32_t numbers[] = { PAGES, 0xffffffffu, 0xd0000u, DESC(0) >> 12, USED(2) >> 12, 50 };
    set_up_driver();
    memcpy(memory + BUFFER, numbers, sizeof(numbers));
    put_desc(0, 0, BUFFER, sizeof(numbers), 0, 0);
    offer(0, 0);
    pump();
    assert_int_equal(vm.balloon.counters[BALLOON_entry_out_of_range], 3);
    assert_int_equal(vm.balloon.counters[BALLOON_entry_queue], 2);
    assert_int_equal(inflated, 1);
}

static void breaks(unsigned head, unsigned jump)
{
    uint32_t failures = (uint32_t)vm.virtio.failure_count;
    if (jump)
        put16(AVAIL(0) + 2, (uint16_t)jump);
    put16(AVAIL(0) + 4, (uint16_t)head);
    if (!jump)
        put16(AVAIL(0) + 2, 1);
    reg(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    pump();
    assert_int_equal(vm.virtio.failure_count, failures + 1);
    assert_non_null(vm.virtio.failure);
    assert_true(get(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
    assert_false(dev_balloon_has_work(&vm));
    memset(memory + AVAIL(0), 0, 64);
    set_up_driver(); /* a reset helps */
}

static void broken_rings_need_a_reset(void **state)
{
    (void)state;
    set_up_driver();
    breaks(QUEUE_SIZE, 0); /* head beyond the queue */
    breaks(0, 65535);      /* available index jumped */
    breaks(0, QUEUE_SIZE + 1);
    put_desc(0, 0, BUFFER, 4, VIRTQ_DESC_F_NEXT, 0); /* loop */
    breaks(0, 0);
    put_desc(0, 0, BUFFER, 4, VIRTQ_DESC_F_NEXT, 65535);
    breaks(0, 0);
    put_desc(0, 0, BUFFER, 4, VIRTQ_DESC_F_INDIRECT, 0);
    breaks(0, 0);
    put_desc(0, 0, GUEST_HOLE_START, 4, 0, 0); /* in MMIO space */
    breaks(0, 0);
    put_desc(0, 0, UINT64_MAX - 3, 8, 0, 0); /* wraps */
    breaks(0, 0);
    put_desc(0, 0, MEMORY - 4, 8, 0, 0); /* half of it beyond memory */
    breaks(0, 0);
}

struct bad_queue {
    uint32_t size;
    uint64_t desc, avail, used;
};

static void bad_queues_are_refused(void **state)
{
    (void)state;
    static const struct bad_queue bad[] = {
        { 0, DESC(0), AVAIL(0), USED(0) },        { 3, DESC(0), AVAIL(0), USED(0) },
        { 512, DESC(0), AVAIL(0), USED(0) },      { 8, DESC(0) + 8, AVAIL(0), USED(0) },
        { 8, DESC(0), AVAIL(0) + 1, USED(0) },    { 8, DESC(0), AVAIL(0), USED(0) + 2 },
        { 8, MEMORY, AVAIL(0), USED(0) },         { 8, DESC(0), MEMORY - 2, USED(0) },
        { 8, DESC(0), AVAIL(0), UINT64_MAX - 3 }, { 8, DESC(0), DESC(0), USED(0) },
        { 8, DESC(0), AVAIL(0), DESC(0) + 64 },
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        reg(VIRTIO_MMIO_STATUS, 0);
        reg(VIRTIO_MMIO_STATUS, 3);
        reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
        reg(VIRTIO_MMIO_DRIVER_FEATURES, 1);
        reg(VIRTIO_MMIO_STATUS, 11);
        reg(VIRTIO_MMIO_QUEUE_NUM, bad[i].size);
        reg(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)bad[i].desc);
        reg(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(bad[i].desc >> 32));
        reg(VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint32_t)bad[i].avail);
        reg(VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint32_t)bad[i].used);
        reg(VIRTIO_MMIO_QUEUE_DEVICE_HIGH, (uint32_t)(bad[i].used >> 32));
        reg(VIRTIO_MMIO_QUEUE_READY, 1);
        assert_int_equal(get(VIRTIO_MMIO_QUEUE_READY), 0);
        assert_true(get(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
    }
}

static void steps_out_of_order_are_defined(void **state)
{
    (void)state;
    reg(VIRTIO_MMIO_QUEUE_NOTIFY, 0); /* kick before DRIVER_OK: ignored */
    assert_false(dev_balloon_has_work(&vm));
    reg(VIRTIO_MMIO_STATUS, 3);
    reg(VIRTIO_MMIO_STATUS, 11); /* VERSION_1 was not accepted */
    assert_int_equal(get(VIRTIO_MMIO_STATUS), 3);
    reg(VIRTIO_MMIO_QUEUE_READY, 1); /* ready before addresses */
    assert_true(get(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
    reg(VIRTIO_MMIO_STATUS, 0);
    assert_int_equal(get(VIRTIO_MMIO_STATUS), 0);
    reg(VIRTIO_MMIO_STATUS, 7); /* DRIVER_OK before FEATURES_OK */
    assert_true(get(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
    for (unsigned size = 1; size <= 8; size *= 2)
        if (size != 4) {
            assert_int_equal(dev_virtio_read(&vm, 0, size), 0);
            dev_virtio_write(&vm, VIRTIO_MMIO_STATUS, size, 0); /* ignored */
        }
    assert_true(get(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
    reg(VIRTIO_MMIO_QUEUE_SEL, 99);
    assert_int_equal(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
}

static void a_doorbell_for_ever_ends_the_vm(void **state)
{
    (void)state;
    set_up_driver();
    for (unsigned i = 0; i < BALLOON_IDLE_RINGS_MAX && vm.state == VM_RUNNING; i++) {
        reg(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        pump();
    }
    assert_int_equal(ends, 1);
}

static void resets_for_ever_end_the_vm(void **state)
{
    (void)state;
    set_up_driver();
    for (unsigned i = 0; i < 20000 && vm.state == VM_RUNNING; i++)
        reg(VIRTIO_MMIO_STATUS, 0);
    assert_int_equal(ends, 1);
}

/* ---- anything at all --------------------------------------------------------------------- */

static void random_access(void)
{
    unsigned size = 1u << rng_below(&rng, 4);
    unsigned offset = (unsigned)rng_below(&rng, GUEST_VIRTIO_SIZE);
    if (rng_below(&rng, 4))
        offset &= ~3u, size = 4;
    if (rng_below(&rng, 2))
        dev_virtio_read(&vm, offset, size);
    else
        dev_virtio_write(&vm, offset, size,
                         rng_below(&rng, 2) ? rng_next(&rng) : rng_below(&rng, 16));
}

static void random_descriptor(unsigned q)
{
    static const uint32_t lengths[] = { 0, 3, 4, 64, 256, 1024, 4096, 1u << 20, UINT32_MAX };
    uint64_t addr = rng_below(&rng, 8) ? rng_below(&rng, MEMORY) : rng_next(&rng);
    uint32_t length = rng_below(&rng, 4) ? lengths[rng_below(&rng, 9)] : (uint32_t)rng_next(&rng);
    put_desc(q, (unsigned)rng_below(&rng, QUEUE_SIZE), addr, length,
             rng_below(&rng, 8) ? (uint16_t)rng_below(&rng, 2) : (uint16_t)rng_below(&rng, 8),
             (uint16_t)rng_below(&rng, QUEUE_SIZE + 1));
}

static void random_step(void)
{
    unsigned q = (unsigned)rng_below(&rng, 3);
    switch (rng_below(&rng, 12)) {
    case 0:
        random_access();
        break;
    case 1:
        memory[rng_below(&rng, 0xb000)] = (uint8_t)rng_next(&rng);
        break;
    case 2:
        target = (uint32_t)rng_below(&rng, 100);
        dev_balloon_tick(&vm);
        break;
    case 3:
        if (!dev_virtio_is_live(&vm.virtio)) {
            memset(memory + 0x1000, 0, 0x9000);
            set_up_driver();
        }
        break;
    case 4:
        vm.balloon.timer.fire(&vm.balloon.timer, 0);
        break;
    case 5:
    case 6:
        random_descriptor(q);
        break;
    case 7:
        wait_percent = (unsigned)rng_below(&rng, 40);
        break;
    default:
        offer(q, (unsigned)rng_below(&rng, QUEUE_SIZE));
        vm.vcpus[0].mm.waiting = MM_WAIT_NONE;
        if (dev_balloon_has_work(&vm)) {
            entries_in_pump = 0;
            dev_balloon_pump(&vm);
            assert_int_equal(pins, 0);
            assert_in_range(entries_in_pump, 0, BALLOON_BUDGET + 2);
        }
    }
}

static void random_drivers_do_no_harm(void **state)
{
    uint64_t steps = support_number("BALLAST_STEPS", 300000);
    for (uint64_t i = 0; i < steps; i++) {
        random_step();
        if (vm.state != VM_RUNNING) { /* a new guest */
            tear_down(state);
            set_up(state);
            rng_seed(&rng, i);
        }
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_good_driver_is_served),
        test(a_large_buffer_takes_several_turns),
        test(the_target_is_told),
        test(statistics_are_kept_and_asked_for),
        test(a_reset_queue_takes_its_statistics_along),
        test(bad_buffers_are_refused_and_counted),
        test(bad_numbers_are_refused_and_counted),
        test(broken_rings_need_a_reset),
        test(bad_queues_are_refused),
        test(steps_out_of_order_are_defined),
        test(a_doorbell_for_ever_ends_the_vm),
        test(resets_for_ever_end_the_vm),
        test(random_drivers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
