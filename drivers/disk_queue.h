/*
 * What all disk drivers share: requests that wait, slots of requests that run,
 * time-outs, second tries, lost interrupts, faults on purpose. A driver brings
 * struct disk_queue_ops and knows nothing of the rest. Internal to drivers/.
 *
 * A queue is what executes commands: an IDE channel (one slot, two units), an
 * AHCI port, the queue pair of an NVMe controller, a virtqueue. Units are the
 * disks behind it; they take turns.
 *
 * A request is in exactly one place: its unit's list `waiting`, a slot, or the
 * queue's list `finished`. done() is called from disk_queue_poll(),
 * disk_queue_interrupt() and disk_poll_device() only, without the lock, after
 * the request has left the last of these; it may submit again.
 *
 * After a reset every request that ran is tried once more, all of them alone, one
 * after the other: so the one to blame fails by itself, whatever the device said.
 *
 * Lock: queue->lock, rank LOCK_RANK_BELOW, around everything but done(). submit()
 * comes with the swap lock held; ops are called with this one held and take none.
 */
#ifndef DRIVERS_DISK_QUEUE_H
#define DRIVERS_DISK_QUEUE_H

#include "drivers/pci.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "mm/block.h"

#define DISK_DEPTH_MAX 32u
#define DISK_UNIT_MAX  4u
/* Longest request that a driver offers; more would gain little and cost memory. */
#define DISK_SECTORS_MAX 256u
/* A disk that takes less at once cannot hold a swap area. */
#define DISK_SECTORS_MIN 16u

struct disk_queue;

/* What a driver says after looking at its device. */
enum disk_verdict {
    DISK_FINE,
    DISK_RESET,   /* it reported an error and needs a reset to go on */
    DISK_NONSENSE /* it does not make sense: reset, and not for ever */
};

/* A disk. */
struct disk_unit {
    struct disk_queue *queue;
    unsigned index;
    bool present, gone; /* gone: it was there, and does not answer any more */
    struct block_device device;
    struct list_node waiting;
    char name[24], model[41];
    const char *transfer; /* how data moves, for people: "DMA", "NCQ", ... */
};

enum disk_slot_state {
    DISK_SLOT_FREE,
    DISK_SLOT_RUNNING, /* with the device */
    DISK_SLOT_AGAIN,   /* was with the device when it was reset */
    DISK_SLOT_ENDED    /* its status is known */
};

struct disk_slot {
    enum disk_slot_state state;
    struct block_request *request;
    struct disk_unit *unit;
    uint64_t deadline; /* ns */
    bool second;       /* this is its second try */
    enum block_status status;
};

struct disk_queue_ops {
    /* Hands the request to the device. It may end at once. When it does not end
     * and the verdict is not DISK_FINE, it ends as timed out. */
    enum disk_verdict (*start)(struct disk_queue *queue, unsigned slot);
    /* Acknowledges the interrupt, looks what has ended, calls disk_queue_end().
     * Never waits; may be called at any time, also when nothing runs. */
    enum disk_verdict (*advance)(struct disk_queue *queue);
    /* Afterwards the device runs nothing. Waits, bounded. Calls disk_unit_lost()
     * for each unit that does not answer. */
    void (*reset)(struct disk_queue *queue);
};

struct disk_queue {
    const struct disk_queue_ops *ops;
    struct spinlock lock;
    char name[16];          /* of the controller or port, for people */
    bool owns_function;     /* nothing else uses the PCI function: it may be cut off */
    struct pci_device pci;  /* its interrupt can be switched off; vector 0: it has none */
    uint8_t vector;         /* 0: no interrupt, only polling */
    unsigned depth;         /* slots in use, 1 to DISK_DEPTH_MAX */
    uint64_t address_limit; /* buffers lie below */
    struct disk_slot slots[DISK_DEPTH_MAX];
    unsigned running, again; /* slots in that state */
    struct disk_unit units[DISK_UNIT_MAX];
    unsigned turn;             /* the unit to be served next */
    struct list_node finished; /* to be completed from the main loop */
    uint64_t check_at;         /* ns; the interrupt is late then */
    uint64_t check_ns;         /* how long to trust in the interrupt */
    unsigned lost_interrupts;  /* in a row */
    unsigned resets;           /* since a request ended well; those for nonsense only */
    unsigned complaints;       /* lines logged about nonsense */
};

/* ---- for drivers ------------------------------------------------------------------ */

/* Empties everything. depth is cut to DISK_DEPTH_MAX. */
void disk_queue_init(struct disk_queue *queue, const struct disk_queue_ops *ops, unsigned depth);

/* Fills in a unit, whose name and model the driver has written. NULL, or why it
 * cannot be used. */
const char *disk_unit_set(struct disk_queue *queue, unsigned index, uint64_t sector_count,
                          uint32_t max_sectors);

/* True when that slot is with the device; any number may be asked for. */
bool disk_queue_runs(const struct disk_queue *queue, unsigned slot);
/* That slot, which must run, has ended. */
void disk_queue_end(struct disk_queue *queue, unsigned slot, enum block_status status);
/* The unit does not answer any more: what waits for it ends as gone. */
void disk_unit_lost(struct disk_unit *unit);
void disk_queue_lost(struct disk_queue *queue); /* all its units */

/* A warning about a device that misbehaves; it cannot fill the log. */
#define DISK_COMPLAINTS_MAX 16u
#define disk_complain(queue, format, ...)                                                          \
    do {                                                                                           \
        if ((queue)->complaints < DISK_COMPLAINTS_MAX)                                             \
            log_warn("disk %s: " format "%s", (queue)->name, __VA_ARGS__,                          \
                     ++(queue)->complaints == DISK_COMPLAINTS_MAX ? " (no more such lines)" : ""); \
    } while (0)

/* ---- for drivers/disk.c -------------------------------------------------------------- */

void disk_submit(struct block_device *device, struct block_request *request);
void disk_poll_device(struct block_device *device);
/* An interrupt of this queue was recorded. True: something had ended. */
bool disk_queue_interrupt(struct disk_queue *queue);
/* Time-outs, lost interrupts, completions; the deadline says when to call again. */
void disk_queue_poll(struct disk_queue *queue, uint64_t now);
uint64_t disk_queue_deadline(struct disk_queue *queue);
/* The interrupt is of no use any more: the queue is looked at often. */
void disk_queue_distrust(struct disk_queue *queue);

#endif
