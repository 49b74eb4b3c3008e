/*
 * libFuzzer: the balloon device and its queues against a driver that does what the
 * input says: registers, descriptors, memory, kicks (P7, P16).
 */
#include "tests/fuzz/fuzz.h"

#define main tests_of_virtio
#include "tests/host/test_virtio.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_at = data;
    fuzz_left = size;
    set_up(NULL);
    while (fuzz_left > 0 && vm.state == VM_RUNNING)
        random_step();
    tear_down(NULL);
    return 0;
}
