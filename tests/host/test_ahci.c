/*
 * The AHCI driver on a controller made of variables, with one drive at port 2: with
 * and without a native queue, failing, silent, busy for ever, gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/ahci.h"
#include "lib/rng.h"
#include "tests/host/fake_pci.h"
#include "tests/host/support.h"

#define SECTORS 4096u
#define PORT    2u

static struct {
    uint32_t ghc, is, cap;
    uint64_t list, received;
    uint32_t causes, enabled, command, tfd, sctl, sact, ci;
    unsigned resets, most, commands; /* most: slots in use at once */
    uint8_t last_command;
    /* What it is like. */
    bool gone, hold, no_link, busy, stuck, no_reset, done_without_reason;
    bool ncq, lba48, fail_identify, is_packet;
    uint64_t bad_lba;
    uint16_t words[256];
} device;
static uint8_t *store;

/* ---- the drive ------------------------------------------------------------------------------- */

static const struct ahci_header *header_of(unsigned slot)
{
    return (const struct ahci_header *)(uintptr_t)device.list + slot;
}

static void report_failure(void)
{
    device.tfd = 0x0441;
    device.causes |= 1u << 30;
}

static bool decode(const uint8_t *fis, uint64_t *lba, uint32_t *count)
{
    *lba = 0;
    for (unsigned i = 0; i < 3; i++)
        *lba |= (uint64_t)fis[4 + i] << (8 * i) | (uint64_t)fis[8 + i] << (24 + 8 * i);
    assert_true(fis[7] & 0x40);
    switch (fis[2]) {
    case 0x60:
    case 0x61:
        *count = fis[3] | fis[11] << 8;
        return fis[2] == 0x61;
    case 0x25:
    case 0x35:
        *count = fis[12] | fis[13] << 8;
        return fis[2] == 0x35;
    default:
        assert_true(fis[2] == 0xc8 || fis[2] == 0xca);
        *lba |= (uint64_t)(fis[7] & 15) << 24;
        *count = fis[12] ? fis[12] : 256;
        return fis[2] == 0xca;
    }
}

static void run_one(unsigned slot)
{
    const struct ahci_header *header = header_of(slot);
    const struct ahci_table *table =
        (const struct ahci_table *)(uintptr_t)(header->table | (uint64_t)header->table_upper << 32);
    uint8_t *data = (uint8_t *)(uintptr_t)(table->address | (uint64_t)table->address_upper << 32);
    uint64_t lba;
    uint32_t count;
    assert_int_equal(header->flags & 31, 5);
    assert_int_equal(header->region_count, 1);
    assert_int_equal(table->fis[0], 0x27);
    device.last_command = table->fis[2];
    if (table->fis[2] == 0xec) {
        device.fail_identify ? report_failure() : (void)memcpy(data, device.words, 512);
        if (!device.fail_identify)
            device.ci &= ~(1u << slot);
        return;
    }
    device.commands++;
    bool write = decode(table->fis, &lba, &count);
    assert_true(lba + count <= SECTORS);
    assert_int_equal(table->bytes + 1, count * 512);
    assert_int_equal(write, header->flags >> 6 & 1);
    if (device.bad_lba >= lba && device.bad_lba < lba + count) {
        report_failure();
        return;
    }
    if (write)
        memcpy(store + lba * 512, data, count * 512);
    else
        memcpy(data, store + lba * 512, count * 512);
    device.ci &= ~(1u << slot);
    device.sact &= ~(1u << slot);
    device.causes |= device.ncq ? 8 : 1;
}

static void run(void)
{
    uint32_t todo = device.ci | device.sact;
    unsigned used = (unsigned)__builtin_popcount(todo);
    device.most = used > device.most ? used : device.most;
    /* From the last to the first: the order is the drive's affair. */
    for (unsigned slot = 32; slot-- > 0 && !(device.causes & 1u << 30);)
        if (todo & 1u << slot)
            run_one(slot);
}

static uint32_t port_read(unsigned offset)
{
    switch (offset) {
    case AHCI_PxIS:
        return device.causes;
    case AHCI_PxCMD:
        return device.command | (device.stuck || device.command & 1 ? AHCI_CMD_RUNS : 0) |
               (device.command & AHCI_CMD_FIS ? AHCI_CMD_FIS_RUNS : 0);
    case AHCI_PxTFD:
        return device.busy ? 0x80 : device.tfd;
    case AHCI_PxSIG:
        return device.is_packet ? 0xeb140101 : AHCI_SIG_DISK;
    case AHCI_PxSSTS:
        return device.no_link ? 1 : 0x113;
    case AHCI_PxSACT:
        return device.sact;
    case AHCI_PxCI:
        return device.ci;
    }
    return 0;
}

static uint32_t read_register(unsigned bar, unsigned offset, unsigned bytes)
{
    assert_int_equal(bar, 5);
    assert_int_equal(bytes, 4);
    if (device.gone)
        return UINT32_MAX;
    if (offset >= AHCI_PORT(PORT) && offset < AHCI_PORT(PORT + 1))
        return port_read(offset - AHCI_PORT(PORT));
    switch (offset) {
    case AHCI_CAP:
        return device.cap;
    case AHCI_GHC:
        return device.ghc;
    case AHCI_PI:
        return 0xff;
    }
    return 0;
}

static void port_write(unsigned offset, uint32_t value)
{
    switch (offset) {
    case AHCI_PxCLB:
    case AHCI_PxCLBU:
        assert_false(device.command & 1); /* 10.3.1: only while it is stopped */
        memcpy((char *)&device.list + offset - AHCI_PxCLB, &value, 4);
        return;
    case AHCI_PxIS:
        device.causes &= ~value;
        return;
    case AHCI_PxIE:
        device.enabled = value;
        return;
    case AHCI_PxCMD:
        if (!(value & 1))
            device.ci = device.sact = 0;
        device.command = value & ~(AHCI_CMD_RUNS | AHCI_CMD_FIS_RUNS);
        return;
    case AHCI_PxSCTL:
        if (device.sctl & 1 && !(value & 1)) {
            device.resets++;
            device.tfd = 0x50;
        }
        device.sctl = value;
        return;
    case AHCI_PxSACT:
        device.sact |= value;
        return;
    case AHCI_PxCI:
        assert_true(device.command & 1);
        device.ci |= value;
        if (!device.hold)
            run();
        return;
    }
}

static void write_register(unsigned bar, unsigned offset, unsigned bytes, uint32_t value)
{
    (void)bar;
    (void)bytes;
    if (device.gone)
        return;
    if (offset >= AHCI_PORT(PORT) && offset < AHCI_PORT(PORT + 1))
        port_write(offset - AHCI_PORT(PORT), value);
    else if (offset == AHCI_GHC)
        device.ghc = device.no_reset ? value : value & ~AHCI_GHC_RESET;
}

/* ---- what tests begin with
 * ----------------------------------------------------------------------- */

static void prepare(void)
{
    memset(&device, 0, sizeof device);
    fake_pci_reset(0x8086, 0x2922, 1, 6, 1);
    fake_bar_set(5, 4096);
    fake_capability_add(5, 16);
    fake_read = read_register;
    fake_write = write_register;
    device.cap = AHCI_CAP_NCQ | AHCI_CAP_64 | 31 << 8 | 5;
    device.bad_lba = UINT64_MAX;
    device.tfd = 0x50;
    device.ncq = device.lba48 = true;
    device.words[27] = 'A' << 8 | 'b';
    device.words[49] = 0x300;
    device.words[60] = SECTORS;
    device.words[75] = 31;
    device.words[76] = 1 << 8;
    device.words[83] = 1 << 14 | 1 << 10;
    device.words[100] = SECTORS;
    if (!store)
        store = malloc(SECTORS * 512);
    for (unsigned i = 0; i < SECTORS * 512; i++)
        store[i] = (uint8_t)(i / 512 * 11 + i);
}

/* Like most drives; without a queue; without 48-bit addresses. */
static void prepare_kind(unsigned kind)
{
    prepare();
    if (kind >= 1) {
        device.words[76] = 0;
        device.ncq = false;
    }
    if (kind == 2)
        device.words[83] = 1 << 14;
}

static unsigned units(void)
{
    fake_probe(&ahci_driver);
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
 * ---------------------------------------------------------------------------------------------- */

static void comes_up(void **state)
{
    (void)state;
    assert_string_equal(fake_queue->name + 5, ".2");
    assert_int_equal(fake_queue->depth, 32);
    assert_int_equal(fake_queue->units[0].device.sector_count, SECTORS);
    assert_int_equal(fake_queue->vector, FAKE_VECTOR);
    assert_true(device.ghc & AHCI_GHC_INTERRUPTS);
    assert_true(device.enabled & 1u << 30);
}

static void moves_data(void **state)
{
    static const uint32_t counts[] = { 1, 2, 8, 17, 126, 255, 256 };
    static const uint8_t commands[] = { 0x61, 0x35, 0xca };
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        prepare_kind(kind);
        assert_int_equal(units(), 1);
        for (unsigned i = 0; i < 7; i++) {
            struct block_request *r = fake_submit(i, false, 3 * i, counts[i]);
            assert_int_equal(fake_wait(i), BLOCK_OK);
            assert_memory_equal(r->buffer, store + 3 * i * 512, counts[i] * 512);
            memset(r->buffer, (int)i + 1, counts[i] * 512);
            fake_submit(i, true, 1000 + i, counts[i]);
            assert_int_equal(fake_wait(i), BLOCK_OK);
            assert_int_equal(store[(1000 + i) * 512 + 5], i + 1);
            assert_int_equal(device.last_command, commands[kind]);
        }
    }
}

static void holds_many(void **state)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        (void)state;
        prepare_kind(kind);
        units();
        device.hold = true;
        for (unsigned i = 0; i < 40; i++)
            fake_submit(i, false, i, 8);
        device.hold = false;
        run();
        assert_int_equal(device.most, kind ? 1 : 32);
        for (unsigned i = 0; i < 50; i++)
            disk_queue_interrupt(fake_queue);
        assert_int_equal(fake_done_count, 40);
        for (unsigned i = 0; i < 40; i++)
            assert_int_equal(fake_requests[i].status, BLOCK_OK);
    }
}

/* One request of many fails: the drive drops all, and only that one ends badly. */
static void finds_the_one_to_blame(void **state)
{
    for (unsigned kind = 0; kind < 3; kind++) {
        (void)state;
        prepare_kind(kind);
        units();
        device.bad_lba = 44;
        device.hold = true;
        for (unsigned i = 0; i < 20; i++)
            fake_submit(i, i & 1, i * 8, 8);
        device.hold = false;
        run();
        for (unsigned i = 0; i < 60; i++)
            disk_queue_interrupt(fake_queue);
        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(fake_requests[i].status, i == 5 ? BLOCK_ERROR : BLOCK_OK);
        assert_int_equal(fake_done_count, 20);
        assert_false(fake_queue->units[0].gone);
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
    unsigned resets = device.resets;
    fake_now += 15000 * FAKE_MS;
    disk_queue_poll(fake_queue, fake_now);
    assert_int_equal(device.resets, resets + 1);
    assert_int_equal(fake_requests[0].status, BLOCK_TIMEOUT);
    device.hold = false;
    run();
    assert_int_equal(fake_wait(1), BLOCK_OK);
}

static void dies(void **state)
{
    bool *ways[] = { &device.gone, &device.no_link, &device.busy, &device.stuck };
    for (unsigned way = 0; way < 4; way++) {
        setup(state);
        device.hold = true;
        for (unsigned i = 0; i < 40; i++)
            fake_submit(i, false, i, 1);
        *ways[way] = true;
        for (unsigned i = 0; i < 40; i++)
            assert_int_equal(fake_wait(i), BLOCK_GONE);
        fake_submit(40, false, 0, 1);
        assert_int_equal(fake_wait(40), BLOCK_GONE);
    }
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
    REFUSED(device.no_reset = true);
    REFUSED(device.busy = true);
    REFUSED(device.stuck = true);
    REFUSED(device.hold = true); /* identification is not answered */
    REFUSED(device.fail_identify = true);
    REFUSED(device.is_packet = true);
    REFUSED(device.words[49] = 0);
    REFUSED(device.words[49] = 0x200);   /* no DMA */
    REFUSED(device.words[106] = 0x5000); /* long sectors */
    REFUSED(device.words[100] = 0);
    REFUSED(device.words[103] = 0xffff);
    REFUSED(fake_bar_set(5, 256));
}

static void random_begin(struct rng *rng)
{
    prepare_kind((unsigned)rng_below(rng, 3));
    units();
}

static void random_vary(struct rng *rng)
{
    device.hold = rng_below(rng, 3) == 0;
    device.bad_lba = rng_below(rng, 4000);
    device.gone |= rng_below(rng, 2000) == 0;
    if (rng_below(rng, 50) == 0)
        device.causes |= (uint32_t)rng_below(rng, UINT32_MAX);
}

static void random_calm(void)
{
    device.hold = false;
}

static void random_hardware(void **state)
{
    (void)state;
    fake_random_hardware(
        &(struct fake_hardware){ "ports", &store, random_begin, random_vary, run, random_calm });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(comes_up, setup),
        cmocka_unit_test(moves_data),
        cmocka_unit_test(holds_many),
        cmocka_unit_test(finds_the_one_to_blame),
        cmocka_unit_test_setup(lost_interrupts, setup),
        cmocka_unit_test_setup(times_out, setup),
        cmocka_unit_test(dies),
        cmocka_unit_test(refuses),
        cmocka_unit_test(random_hardware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
