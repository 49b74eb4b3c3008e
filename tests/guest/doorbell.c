/*
 * doorbell: rings the notify register, of queues that exist, are empty, or do not
 * exist, rounds= times; rounds=0: for ever. Then its memory is verified.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "tests/guest/hostile.h"
#include "tests/guest/raw_virtio.h"

static struct raw_queue queues[2];

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    uint64_t rounds = hostile_number(boot, "rounds", 200000);
    if (!raw_find(boot))
        return GUEST_STATUS_DRIVER;
    raw_negotiate(0);
    for (unsigned i = 0; i < 2; i++)
        raw_queue_setup(i, &queues[i], 16);
    raw_driver_ok();
    hostile_memory_init(&memory, boot);
    hostile_memory_fill(&memory);
    console_line("doorbell: about to");
    for (uint64_t i = 0; !rounds || i < rounds; i++)
        raw_notify(i % 16 == 15 ? (uint32_t)(i * 2654435761u) : (uint32_t)i % 3);
    hostile_memory_verify(&memory);
    return hostile_memory_finish(&memory, "doorbell");
}
