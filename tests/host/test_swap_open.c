/*
 * Opening a swap area: what is ours, what is refused and how it is named, and
 * that tools/mkswap.py makes what is opened here.
 */
#include "tests/host/swap_rig.h"

/* ---- opening -------------------------------------------------------------------------- */

static void test_open(void **state)
{
    (void)state;
    assert_int_equal(swap_capacity_pages(), 0);
    struct swap_io io = { .done = on_read };
    assert_int_equal(swap_write(&io, disk[0], 10, false), SWAP_OFFLINE);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(open_area(), SWAP_OPEN_ALREADY);
    assert_int_equal(swap_capacity_pages(), (20000 - 8) / 9);
    assert_true(stats().online);
    assert_int_equal(stats().sectors, 20000);
}

/* Any flipped bit of the first sector: refused, and no write. */
static void test_open_flipped(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < BLOCK_SECTOR_SIZE * 8; bit++) {
        disk[AREA_FIRST][bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum swap_open_result result = open_area();
        assert_int_equal(result, bit < 128 ? SWAP_OPEN_NO_SIGNATURE : SWAP_OPEN_BAD_CHECK);
        disk[AREA_FIRST][bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(open_area(), SWAP_OPEN_OK);
}

static enum swap_open_result open_with(uint32_t version, uint32_t sector_size, uint64_t sectors,
                                       uint32_t reserved)
{
    begin(NULL);
    header()->version = version;
    header()->sector_size = sector_size;
    header()->sector_count = sectors;
    header()->reserved = reserved;
    seal_header();
    return open_area();
}

/* Headers whose sum is right, but which are none of ours. */
static void test_open_fields(void **state)
{
    (void)state;
    assert_int_equal(open_with(0, 512, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(2, 512, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 4096, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 0, 20000, 0), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 512, 20000, 1), SWAP_OPEN_BAD_VERSION);
    assert_int_equal(open_with(1, 512, 20001, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, UINT64_MAX, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 0, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 8, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 8 + 14 * 9 - 1, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_with(1, 512, 8 + 14 * 9, 0), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), 14);
    assert_int_equal(open_with(1, 512, 19999, 0), SWAP_OPEN_OK);
}

static void test_open_ranges(void **state)
{
    (void)state;
    assert_int_equal(swap_open(&device, DISK_SECTORS, 1), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, UINT64_MAX, 100), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, 1, UINT64_MAX), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, AREA_FIRST, DISK_SECTORS), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, AREA_FIRST, 0), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, AREA_FIRST, 19999), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(swap_open(&device, 0, 20000), SWAP_OPEN_NO_SIGNATURE);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
}

/* Up to the very last sector of the disk, which is then used. */
static void test_open_at_the_end(void **state)
{
    (void)state;
    format(DISK_SECTORS - AREA_FIRST);
    assert_int_equal(swap_open(&device, AREA_FIRST, area_sectors + 1), SWAP_OPEN_TOO_SMALL);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), (DISK_SECTORS - AREA_FIRST - 8) / 9);
}

static void test_open_read_errors(void **state)
{
    (void)state;
    faults.read_errors_now = 3;
    assert_int_equal(open_area(), SWAP_OPEN_IO_ERROR);
    faults.read_errors_now = 2;
    assert_int_equal(open_area(), SWAP_OPEN_OK);
}

static void test_open_no_memory(void **state)
{
    (void)state;
    for (dma_allowed = 0; dma_allowed < 5; dma_allowed++)
        assert_int_equal(open_area(), SWAP_OPEN_NO_MEMORY);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(dma_calls, 5);
    assert_int_equal(stats().buffer_bytes, 4 * 65536 + 32 * 5120);
}

/* ---- tools/mkswap.py ----------------------------------------------------------------------- */

static char image_path[] = "/tmp/ballast-test-swap-XXXXXX";

static int mkswap(const char *options)
{
    char command[256];
    snprintf(command, sizeof(command), "/usr/bin/python3 tools/mkswap.py %s %s >/dev/null 2>&1",
             image_path, options);
    return system(command);
}

/* Its areas are opened here; what is not ours it leaves alone. */
static void test_mkswap(void **state)
{
    (void)state;
    if (access("tools/mkswap.py", R_OK))
        skip(); /* not started in the root of the tree */
    int file = mkstemp(image_path);
    assert_int_equal(ftruncate(file, 20100 * 512), 0);
    assert_int_equal(mkswap("--offset 51200"), 0);
    assert_int_equal(pread(file, disk[AREA_FIRST], 8 * 512, 51200), 8 * 512);
    assert_int_equal(open_area(), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), (20000 - 8) / 9);
    assert_int_equal(mkswap("--offset 51200 --size 68608"), 0);
    assert_int_not_equal(mkswap("--offset 51200 --size 68096"), 0);
    assert_int_not_equal(mkswap("--offset 20M"), 0);
    assert_int_not_equal(mkswap("--size 20101K"), 0);
    assert_int_not_equal(mkswap(""), 0); /* the area above lies in this range */
    assert_int_equal(pwrite(file, "x", 1, 51200 + 24), 1);
    assert_int_not_equal(mkswap("--offset 51200"), 0);
    uint8_t byte;
    assert_int_equal(pread(file, &byte, 1, 51200 + 24), 1);
    assert_int_equal(byte, 'x');
    assert_int_equal(mkswap("--offset 51200 --force"), 0);
    close(file);
    unlink(image_path);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < SWAP_STATUS_COUNT; i++)
        assert_non_null(swap_status_name((enum swap_status)i));
    for (int i = 0; i < SWAP_OPEN_RESULT_COUNT; i++)
        assert_non_null(swap_open_result_name((enum swap_open_result)i));
    assert_string_equal(swap_status_name(SWAP_STATUS_COUNT), "?");
    assert_string_equal(swap_open_result_name(SWAP_OPEN_RESULT_COUNT), "?");
}

/* More than slots can name: the first part of it is used. */
static void test_open_huge(void **state)
{
    (void)state;
    uint64_t kept = device.sector_count;
    device.sector_count = 1ull << 40;
    header()->sector_count = 1ull << 30;
    seal_header();
    assert_int_equal(swap_open(&device, AREA_FIRST, 1ull << 30), SWAP_OPEN_OK);
    assert_int_equal(swap_capacity_pages(), SWAP_CELLS_MAX);
    device.sector_count = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED(test_open),           CLOSED(test_open_flipped),    CLOSED(test_open_fields),
        CLOSED(test_open_ranges),    CLOSED(test_open_at_the_end), CLOSED(test_open_read_errors),
        CLOSED(test_open_no_memory), CLOSED(test_mkswap),          CLOSED(test_names),
        CLOSED(test_open_huge),
    };
    return cmocka_run_group_tests_name("swap_open", tests, NULL, NULL);
}
