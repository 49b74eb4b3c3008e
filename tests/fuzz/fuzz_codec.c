/*
 * libFuzzer: both decoders on any input beside liblz4, and the compressor on
 * any page at any limit.
 *
 * An input of a page and two bytes more is a page and a limit; every other input
 * is a block. Output goes between inaccessible pages.
 */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "mm/codec.h"
#include "tests/host/fake_guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCK_ROOM 4200u

static uint64_t work[CODEC_WORK_BYTES / 8];
static uint8_t *before, *after, *plain, *block_room;
static uint8_t peer[PAGE_SIZE];

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void decode(const uint8_t *block, uint32_t size)
{
    bool ours = codec_decompress(block, size, before);
    require(ours == codec_decompress(block, size, after));
    require(ours == codec_decompress_plain(block, size, plain));
    if (!ours)
        return;
    require(memcmp(before, after, PAGE_SIZE) == 0 && memcmp(before, plain, PAGE_SIZE) == 0);
    int length = LZ4_decompress_safe((const char *)block, (char *)peer, (int)size, PAGE_SIZE);
    require(length == (int)PAGE_SIZE && memcmp(before, peer, PAGE_SIZE) == 0);
}

static void encode(const uint8_t *page, uint32_t limit)
{
    uint8_t *block = block_room + BLOCK_ROOM - limit;
    uint32_t size = codec_compress(page, block, limit, work);
    if (!size) {
        require(limit < PAGE_SIZE + 18);
        return;
    }
    require(size <= limit && codec_decompress(block, size, before));
    require(memcmp(before, page, PAGE_SIZE) == 0);
    int length = LZ4_decompress_safe((char *)block, (char *)peer, (int)size, PAGE_SIZE);
    require(length == (int)PAGE_SIZE && memcmp(page, peer, PAGE_SIZE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!before) {
        before = fake_guard_end(PAGE_SIZE);
        after = fake_guard_start(PAGE_SIZE);
        plain = fake_guard_end(PAGE_SIZE);
        block_room = fake_guard_end(BLOCK_ROOM);
    }
    if (size == PAGE_SIZE + 2)
        encode(data, (data[PAGE_SIZE] + 256u * data[PAGE_SIZE + 1]) % (BLOCK_ROOM + 1));
    else if (size <= 2 * PAGE_SIZE)
        decode(data, (uint32_t)size);
    return 0;
}
