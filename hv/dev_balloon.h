/*
 * virtio-balloon: VIRTIO 1.2, 5.5. Inflate, deflate and statistics queues,
 * DEFLATE_ON_OOM. Not offered: MUST_TELL_HOST (a page may be used again without
 * asking: touching it gives a fresh zero page), PAGE_POISON, FREE_PAGE_HINT (for
 * migration), PAGE_REPORTING.
 *
 * Work is bounded: at most BALLOON_BUDGET entries a call of dev_balloon_pump(), and
 * one call for each VM and turn of the CPU loop; the cursor stays in the queue.
 * Every entry without effect has a counted reason, in the core
 * (enum mm_balloon_result) or here (enum balloon_counter).
 */
#ifndef HV_DEV_BALLOON_H
#define HV_DEV_BALLOON_H

#include "abi/virtio_balloon.h"
#include "hv/timer.h"
#include "lib/types.h"

struct vm;

#define BALLOON_BUDGET 256u
/* A guest that goes beyond these is not a driver any more and is stopped. */
#define BALLOON_IDLE_RINGS_MAX 100000u       /* doorbells in a row for nothing */
#define BALLOON_NONSENSE_MAX   1000000u      /* page numbers that are not its own */
#define BALLOON_STATISTICS_NS  1000000000ull /* how often the guest is asked */

/* X(name, meaning) */
#define BALLOON_COUNTERS(X)                                                                        \
    X(buffers, "buffers worked on")                                                                \
    X(refused_empty, "buffers of length 0")                                                        \
    X(refused_ragged, "buffers whose length is no multiple of 4")                                  \
    X(refused_long, "buffers longer than 1 MiB")                                                   \
    X(refused_writable, "buffers the device was asked to write to")                                \
    X(entry_queue, "entries naming a page of the device's own queues")                             \
    X(entry_out_of_range, "entries naming no page of the guest")                                   \
    X(entry_done_already, "entries without effect")                                                \
    X(entry_pinned, "entries naming a page in use by the device")                                  \
    X(entry_wait, "times an entry waited for I/O on its page")                                     \
    X(statistics, "statistics received")                                                           \
    X(statistics_bad, "statistics with a wrong length or an unknown tag")                          \
    X(resets, "resets by the driver")                                                              \
    X(failures, "times the device needed a reset")                                                 \
    X(odd_accesses, "register accesses of a wrong size, place or direction")

#define BALLOON_COUNTER_ENUM(name, meaning) BALLOON_##name,
enum balloon_counter { BALLOON_COUNTERS(BALLOON_COUNTER_ENUM) BALLOON_COUNTER_COUNT };

struct balloon {
    uint32_t told_target;  /* num_pages the driver has been told */
    uint32_t actual;       /* as the driver wrote it */
    bool work[3];          /* a queue may have something in it */
    bool holds_statistics; /* a statistics buffer is kept here */
    bool wants_statistics; /* and is to be given back */
    unsigned idle_rings;   /* notifications in a row that found nothing to do */
    struct timer timer;
    uint64_t counters[BALLOON_COUNTER_COUNT];
};

void dev_balloon_init(struct vm *vm);
void dev_balloon_destroy(struct vm *vm);
/* Does a bounded share of the work its queues hold. */
void dev_balloon_pump(struct vm *vm);
/* Queue work is left that can go on now. */
bool dev_balloon_has_work(const struct vm *vm);
/* Tells the driver when its target changed; called at a fixed rate. */
void dev_balloon_tick(struct vm *vm);
void dev_balloon_counters(const struct vm *vm, uint64_t values[BALLOON_COUNTER_COUNT]);

#endif
