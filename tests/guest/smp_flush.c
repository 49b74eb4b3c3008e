/*
 * smp_flush: a second processor writes to a page all the time while the first one
 * gives it up. What the second writes after that must be in the page that both
 * have from then on, not in the frame that was taken away: nothing makes the second
 * leave its loop but the host, which has to flush its translation first.
 * rounds= how often, each time with another page; the first loss ends it.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/page_alloc.h"
#include "guest-driver/smp.h"
#include "tests/guest/hostile.h"
#include "tests/guest/raw_virtio.h"

#define QUEUE_SIZE 16u

/* What the processors tell each other. */
static volatile struct {
    uint64_t *page;  /* where the second one writes; NULL: stop */
    uint64_t warm;   /* the round in which it has begun to */
    uint64_t go;     /* the round in which it is to leave its mark */
    uint64_t marked; /* the round in which it has */
    bool stop;
} shared;
static struct raw_queue queues[2];
static uint32_t number_of_page;

static void write_always(unsigned number)
{
    (void)number;
    for (uint64_t round = 1; !shared.stop; round++) {
        while (!shared.stop && !(shared.page && shared.warm == round - 1))
            __asm__ volatile("pause");
        volatile uint64_t *page = shared.page;
        page[0] = round;
        shared.warm = round;
        while (!shared.stop && shared.go != round)
            page[0]++;
        page[1] = round;
        shared.page = NULL;
        shared.marked = round;
    }
}

static bool give_up(uint32_t page)
{
    number_of_page = page;
    return raw_send(VIRTIO_BALLOON_Q_INFLATE, &queues[VIRTIO_BALLOON_Q_INFLATE], QUEUE_SIZE,
                    &number_of_page, sizeof(number_of_page));
}

static bool round_of(struct hostile_memory *memory, uint64_t round)
{
    uint32_t page = memory->first + (uint32_t)round;
    shared.page = page_content(page);
    while (shared.warm != round)
        __asm__ volatile("pause");
    if (!give_up(page))
        return false;
    shared.go = round;
    while (shared.marked != round)
        __asm__ volatile("pause");
    memory->checked++;
    memory->mismatched += *(volatile uint64_t *)&page_content(page)[1] != round;
    return true;
}

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    hostile_memory_init(&memory, boot);
    if (!raw_find(boot))
        return GUEST_STATUS_DRIVER;
    raw_negotiate(0);
    for (unsigned i = 0; i < 2; i++)
        raw_queue_setup(i, &queues[i], QUEUE_SIZE);
    raw_driver_ok();
    if (smp_start(1, write_always) != 1)
        return GUEST_STATUS_UNEXPECTED;
    uint64_t rounds = hostile_number(boot, "rounds", 200);
    for (uint64_t round = 1; round <= rounds && !memory.mismatched; round++)
        if (!round_of(&memory, round))
            return GUEST_STATUS_DRIVER;
    shared.stop = true;
    return hostile_memory_finish(&memory, "smp_flush");
}
