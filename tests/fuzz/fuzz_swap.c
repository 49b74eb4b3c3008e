/*
 * libFuzzer: the header of a swap area, any bytes, with its sum right or wrong: only
 * what is whole and fits is opened, and nothing is written (P16).
 */
#include "tests/fuzz/fuzz.h"

#include "tests/host/swap_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    begin(NULL);
    /* Bytes are added to those of a good header: all zeros are none of a change. */
    uint8_t *sector = disk[AREA_FIRST];
    for (size_t i = 1; i < size && i <= BLOCK_SECTOR_SIZE; i++)
        sector[i - 1] ^= data[i];
    if (!(data[0] & 1))
        seal_header();
    enum swap_open_result result = open_area();
    fuzz_require(result < SWAP_OPEN_RESULT_COUNT);
    fuzz_require(result != SWAP_OPEN_OK || header()->sector_count <= 20000);
    end(NULL);
    return 0;
}
