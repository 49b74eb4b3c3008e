/*
 * retouch: gives all of its free memory up, far beyond what the balloon wants,
 * then uses it again without deflating. It must read as zero, and take what is
 * written. rounds= times, without ever deflating.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "tests/guest/hostile.h"
#include "tests/guest/raw_virtio.h"

#define BATCH      256u
#define QUEUE_SIZE 16u

static struct raw_queue queues[2];
static uint32_t batch[BATCH];

/* False: the device gave up. */
static bool inflate(uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        batch[i] = first + i;
    return raw_send(VIRTIO_BALLOON_Q_INFLATE, &queues[VIRTIO_BALLOON_Q_INFLATE], QUEUE_SIZE, batch,
                    count * 4);
}

static bool inflate_all(const struct hostile_memory *memory)
{
    for (uint32_t page = memory->first; page < memory->end; page += BATCH)
        if (!inflate(page, memory->end - page < BATCH ? memory->end - page : BATCH))
            return false;
    return true;
}

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    if (!raw_find(boot))
        return GUEST_STATUS_DRIVER;
    raw_negotiate(0);
    for (unsigned i = 0; i < 2; i++)
        raw_queue_setup(i, &queues[i], QUEUE_SIZE);
    raw_driver_ok();
    hostile_memory_init(&memory, boot);
    for (uint64_t rounds = hostile_number(boot, "rounds", 2); rounds; rounds--) {
        hostile_memory_fill(&memory);
        if (!inflate_all(&memory))
            return GUEST_STATUS_DRIVER;
        hostile_memory_check_zero(&memory);
        hostile_memory_fill(&memory);
        hostile_memory_verify(&memory);
        console_line("retouch: all given up and touched again");
    }
    return hostile_memory_finish(&memory, "retouch");
}
