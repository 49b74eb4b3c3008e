/*
 * The IDE driver down to its ports: a controller in native mode (its ports are
 * where its BARs say) with a drive that has more sectors than 28 bits can count.
 * Compatibility mode and short addresses are what the boot tests use.
 */
#include <stdlib.h>
#include <string.h>

#include "drivers/ide.h"
#include "tests/host/fake_pci.h"
#include "tests/host/support.h"

#define COMMAND 0xc000u
#define CONTROL 0xc100u /* the register is two above */
#define MASTER  0xc200u

#define BIG (1ull << 30) /* sectors */

static struct {
    uint8_t pairs[8][2]; /* each register of the task file is two deep */
    uint8_t device, status, last_command, control;
    uint16_t words[256];
    unsigned moved; /* words of the current transfer */
    uint64_t lba;
    uint32_t count;
    uint8_t master_status;
    /* What it is like. */
    bool busy, silent, broken_dma;
    unsigned failures; /* commands that fail */
} drive;

static uint64_t last_lba;
static uint32_t last_count;

/* Every sector's words hold the low bits of its number. */
static uint16_t word_of(uint64_t lba, unsigned word)
{
    return (uint16_t)(lba * 3 + word);
}

static void decode(bool ext)
{
    uint64_t lba = 0;
    for (unsigned i = 0; i < 3; i++)
        lba |= (uint64_t)drive.pairs[IDE_LBA_LOW + i][0] << (8 * i);
    if (ext) {
        for (unsigned i = 0; i < 3; i++)
            lba |= (uint64_t)drive.pairs[IDE_LBA_LOW + i][1] << (24 + 8 * i);
        drive.count = drive.pairs[IDE_COUNT][0] | drive.pairs[IDE_COUNT][1] << 8;
    } else {
        lba |= (uint64_t)(drive.device & 15) << 24;
        drive.count = drive.pairs[IDE_COUNT][0] ? drive.pairs[IDE_COUNT][0] : 256;
    }
    last_lba = drive.lba = lba;
    last_count = drive.count;
    drive.moved = 0;
}

static void command_write(uint8_t command)
{
    drive.last_command = command;
    if (drive.silent)
        return;
    if (drive.failures && command != ATA_COMMAND_IDENTIFY) {
        drive.failures--;
        drive.status = 0x41;
        drive.master_status |= 4;
        return;
    }
    drive.status = 0x58;
    switch (command) {
    case ATA_COMMAND_IDENTIFY:
        drive.moved = 0;
        drive.count = 1;
        return;
    case 0x24:
    case 0x34:
    case 0x25:
    case 0x35:
        decode(true);
        break;
    default:
        decode(false);
    }
    if (command == 0x25 || command == 0x35 || command == 0xc8 || command == 0xca)
        drive.status = 0x50;
}

static uint16_t data_word(void)
{
    uint16_t value = drive.last_command == ATA_COMMAND_IDENTIFY
                         ? drive.words[drive.moved]
                         : word_of(drive.lba + drive.moved / 256, drive.moved % 256);
    if (++drive.moved == drive.count * 256)
        drive.status = 0x50;
    return value;
}

static uint32_t port_in(uint16_t port, unsigned bytes)
{
    if (port == COMMAND && bytes == 2)
        return data_word();
    if (drive.device & 0x10 && (port == COMMAND + 7 || port == CONTROL + 2))
        return 0; /* no slave */
    if (port == COMMAND + 7 || port == CONTROL + 2)
        return drive.busy ? 0x80 : drive.status;
    if (port > COMMAND && port < COMMAND + 6)
        return drive.pairs[port - COMMAND][0];
    if (port == MASTER + 2)
        return drive.master_status;
    return 0xff;
}

static void write_word(uint16_t value)
{
    assert_int_equal(value, word_of(drive.lba + drive.moved / 256, drive.moved % 256));
    if (++drive.moved == drive.count * 256)
        drive.status = 0x50;
}

/* Its table of regions is not followed: memory of tests lies above what it can name. */
static void master_write(uint8_t value)
{
    if (!(value & 1) || drive.status & 1)
        return;
    drive.master_status |= drive.broken_dma ? 6 : drive.silent ? 0 : 4;
}

static void port_out(uint16_t port, unsigned bytes, uint32_t value)
{
    if (port == COMMAND && bytes == 2)
        write_word((uint16_t)value);
    else if (port == COMMAND + 6)
        drive.device = (uint8_t)value;
    else if (port == COMMAND + 7)
        command_write((uint8_t)value);
    else if (port > COMMAND && port < COMMAND + 6) {
        drive.pairs[port - COMMAND][1] = drive.pairs[port - COMMAND][0];
        drive.pairs[port - COMMAND][0] = (uint8_t)value;
    } else if (port == CONTROL + 2) {
        drive.control = (uint8_t)value;
        if (value & 4)
            drive.status = 0x50;
    } else if (port == MASTER)
        master_write((uint8_t)value);
    else if (port == MASTER + 2)
        drive.master_status &= (uint8_t) ~(value & 6);
    else
        assert_int_equal(port, MASTER + 4);
}

static void prepare(bool dma, bool lba48)
{
    memset(&drive, 0, sizeof drive);
    fake_pci_reset(0x1234, 0x5678, 1, 1, dma ? 0x85 : 0x05);
    fake_bar_set_port(0, COMMAND);
    fake_bar_set_port(1, CONTROL);
    if (dma)
        fake_bar_set_port(4, MASTER);
    fake_in = port_in;
    fake_out = port_out;
    drive.status = 0x50;
    drive.words[49] = 0x300;
    drive.words[60] = 0xffff;
    drive.words[61] = 0x0fff;
    drive.words[83] = lba48 ? 1 << 14 | 1 << 10 : 1 << 14;
    drive.words[100] = (uint16_t)BIG;
    drive.words[101] = (uint16_t)(BIG >> 16);
}

/* Each case has a controller of its own: the driver keeps those it has found. */
static void start(bool dma, bool lba48)
{
    prepare(dma, lba48);
    fake_probe(&ide_driver);
    assert_int_equal(fake_queue_count, 1);
    /* Buffers of tests lie anywhere; what is shown here does not use DMA's table. */
    fake_queue->address_limit = UINT64_MAX;
}

static enum block_status pump(unsigned index)
{
    for (unsigned i = 0; i < 600 && !fake_done[index]; i++)
        disk_queue_interrupt(fake_queue);
    return fake_wait(index);
}

static void native_mode(void **state)
{
    (void)state;
    start(false, true);
    assert_int_equal(fake_queue->vector, 0x30 + 11); /* its PCI line, not ISA 14 */
    assert_int_equal(fake_queue->units[0].device.sector_count, BIG);
    assert_string_equal(fake_queue->units[0].transfer, "PIO");
}

static void read_at(unsigned index, uint64_t sector, uint32_t count, uint8_t command)
{
    struct block_request *r = fake_submit(index, false, sector, count);
    assert_int_equal(pump(index), BLOCK_OK);
    assert_int_equal(drive.last_command, command);
    assert_true(last_lba == sector);
    assert_int_equal(last_count, count);
    for (unsigned i = 0; i < count * 256; i++)
        assert_int_equal(((uint16_t *)r->buffer)[i], word_of(sector + i / 256, i % 256));
}

static void long_addresses(void **state)
{
    (void)state;
    start(false, true);
    read_at(0, 0, 1, 0x20);
    read_at(1, 0x0abcdef, 200, 0x20);
    read_at(2, ATA_LBA28_LIMIT - 256, 256, 0x20);
    read_at(3, ATA_LBA28_LIMIT - 1, 2, 0x24); /* across the limit */
    read_at(4, ATA_LBA28_LIMIT, 1, 0x24);
    read_at(5, BIG - 256, 256, 0x24);
    fake_submit(6, false, BIG, 1);
    assert_int_equal(pump(6), BLOCK_REFUSED);
    struct block_request *r = fake_submit(7, false, 0, 1); /* for its buffer */
    pump(7);
    for (unsigned i = 0; i < 256 * 256; i++)
        ((uint16_t *)r->buffer)[i] = word_of(BIG - 300 + i / 256, i % 256);
    fake_submit(7, true, BIG - 300, 256);
    assert_int_equal(pump(7), BLOCK_OK);
    assert_int_equal(drive.last_command, 0x34);
}

static void short_addresses_only(void **state)
{
    (void)state;
    start(false, false);
    assert_int_equal(fake_queue->units[0].device.sector_count, ATA_LBA28_LIMIT - 1);
    read_at(0, ATA_LBA28_LIMIT - 2, 1, 0x20);
}

static void by_dma(void **state)
{
    (void)state;
    start(true, true);
    assert_string_equal(fake_queue->units[0].transfer, "DMA");
    fake_submit(0, false, ATA_LBA28_LIMIT + 5, 100);
    assert_int_equal(pump(0), BLOCK_OK);
    assert_int_equal(drive.last_command, 0x25);
    assert_true(last_lba == ATA_LBA28_LIMIT + 5);
    assert_int_equal(last_count, 100);
    fake_submit(1, true, 7, 3);
    assert_int_equal(pump(1), BLOCK_OK);
    assert_int_equal(drive.last_command, 0xca);
    drive.failures = 1;
    fake_submit(2, false, 9, 1);
    assert_int_equal(pump(2), BLOCK_ERROR);
    drive.broken_dma = true;
    for (unsigned i = 3; i < 6; i++) {
        fake_submit(i, false, 9, 1);
        assert_int_equal(pump(i), BLOCK_ERROR);
    }
    assert_string_equal(fake_queue->units[0].transfer, "PIO");
    read_at(6, BIG - 1, 1, 0x24);
}

static void stays_busy(void **state)
{
    (void)state;
    start(false, true);
    drive.silent = true;
    fake_submit(0, false, 1, 1);
    drive.silent = false;
    drive.busy = true;
    fake_submit(1, false, 2, 1);
    assert_int_equal(pump(0), BLOCK_GONE);
    assert_int_equal(pump(1), BLOCK_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_mode),          cmocka_unit_test(long_addresses),
        cmocka_unit_test(short_addresses_only), cmocka_unit_test(by_dma),
        cmocka_unit_test(stays_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
