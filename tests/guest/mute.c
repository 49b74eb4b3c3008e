/*
 * mute: says DRIVER_OK and never answers the balloon's wish. All of its memory is
 * written and verified, rounds= times.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "tests/guest/hostile.h"
#include "tests/guest/raw_virtio.h"

static struct raw_queue queues[3];

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    if (!raw_find(boot))
        return GUEST_STATUS_DRIVER;
    raw_negotiate(1u << VIRTIO_BALLOON_F_STATS_VQ);
    for (unsigned i = 0; i < 3; i++)
        raw_queue_setup(i, &queues[i], 16);
    raw_driver_ok();
    hostile_memory_init(&memory, boot);
    for (uint64_t rounds = hostile_number(boot, "rounds", 3); rounds; rounds--) {
        hostile_memory_fill(&memory);
        hostile_memory_verify(&memory);
        console_line("mute: the balloon wants %u pages",
                     raw_read(VIRTIO_MMIO_CONFIG)); /* num_pages */
    }
    return hostile_memory_finish(&memory, "mute");
}
