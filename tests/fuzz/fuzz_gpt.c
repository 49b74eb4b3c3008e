/*
 * libFuzzer: partition tables with any change, their sums made right again: bounded
 * reads, and only partitions inside the disk (P16).
 */
#include "tests/fuzz/fuzz.h"

#define main tests_of_gpt
#include "tests/host/test_gpt.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_at = data;
    fuzz_left = size;
    make();
    unreadable = 0;
    unsigned seals = (unsigned)fuzz_bytes(1);
    while (fuzz_left >= 3) {
        uint64_t where = fuzz_bytes(1), at = fuzz_below(SECTOR);
        uint64_t sectors[] = { 1, 2, LAST, LAST - ENTRY_SECTORS };
        disk[sectors[where % 4]][at] = (uint8_t)fuzz_bytes(1);
    }
    if (!(seals & 1))
        seal(1);
    if (!(seals & 2))
        seal(LAST);
    enum gpt_result result = look(SECTORS - (seals >> 7));
    fuzz_require(result < GPT_RESULT_COUNT && reads <= 2 * (1 + 64));
    return 0;
}
