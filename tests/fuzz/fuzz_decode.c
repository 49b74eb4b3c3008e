/*
 * libFuzzer: the decoder of device accesses and of system instructions reads no
 * byte past the end and answers within its ranges (P16).
 */
#include "tests/fuzz/fuzz.h"

#include "hv/decode.c"
#include "hv/decode_parts.c"
#include "hv/decode_system.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decoded result;
    struct decoded_system instruction;
    if (size == 0)
        return 0;
    enum decode_mode mode = (enum decode_mode)(data[0] % 3);
    unsigned length = size - 1 < 15 ? (unsigned)(size - 1) : 15;
    uint8_t *bytes = malloc(length ? length : 1); /* exactly as long */
    memcpy(bytes, data + 1, length);
    if (decode_instruction(bytes, length, mode, &result))
        fuzz_require(
            result.length > 0 && result.length <= length && result.scale <= 3 &&
            (result.size == 1 || result.size == 2 || result.size == 4 || result.size == 8));
    if (decode_system(bytes, length, mode, &instruction))
        fuzz_require(instruction.length > 0 && instruction.length <= length);
    free(bytes);
    return 0;
}
