/* Requests of disks: slots, completion, time-outs, second tries (see disk_queue.h). */
#include "drivers/disk_queue.h"

#include "drivers/clock.h"
#include "drivers/disk_fault.h"
#include "lib/assert.h"
#include "lib/string.h"

#define MS 1000000ull

#define REQUEST_TIMEOUT (30000 * MS) /* as Linux' of SCSI and NVMe disks */
#define CHECK_TRUSTING  (100 * MS)   /* until an interrupt counts as late */
/* A queue that lost this many interrupts in a row is looked at this often. */
#define LOST_MAX     3u
#define CHECK_POLLED (1 * MS)
/* Resets for nonsense or silence, and no request that ended well between them. */
#define RESETS_MAX 8u

void disk_queue_init(struct disk_queue *queue, const struct disk_queue_ops *ops, unsigned depth)
{
    memset(queue, 0, sizeof(*queue));
    queue->lock = SPINLOCK(LOCK_RANK_BELOW);
    queue->ops = ops;
    queue->depth = depth < DISK_DEPTH_MAX ? depth : DISK_DEPTH_MAX;
    queue->address_limit = 4 * GIB;
    queue->check_at = UINT64_MAX;
    queue->check_ns = CHECK_TRUSTING;
    list_init(&queue->finished);
    for (unsigned i = 0; i < DISK_UNIT_MAX; i++) {
        queue->units[i].queue = queue;
        queue->units[i].index = i;
        list_init(&queue->units[i].waiting);
    }
}

const char *disk_unit_set(struct disk_queue *queue, unsigned index, uint64_t sector_count,
                          uint32_t max_sectors)
{
    struct disk_unit *unit = &queue->units[index];
    if (sector_count == 0 || sector_count > 1ull << 48)
        return "its size makes no sense";
    if (max_sectors < DISK_SECTORS_MIN)
        return "it takes too little at once";
    unit->device = (struct block_device){
        .name = unit->name,
        .sector_count = sector_count,
        .max_sectors = max_sectors < DISK_SECTORS_MAX ? max_sectors : DISK_SECTORS_MAX,
        .queue_depth = queue->depth,
        .submit = disk_submit,
        .poll = disk_poll_device,
        .driver = unit,
    };
    unit->present = true;
    return NULL;
}

/* ---- the end of requests -------------------------------------------------------------- */

static void finish(struct disk_queue *queue, struct block_request *request,
                   enum block_status status)
{
    request->status = status;
    list_append(&queue->finished, &request->link);
}

bool disk_queue_runs(const struct disk_queue *queue, unsigned slot)
{
    return slot < queue->depth && queue->slots[slot].state == DISK_SLOT_RUNNING;
}

void disk_queue_end(struct disk_queue *queue, unsigned slot, enum block_status status)
{
    ensure(disk_queue_runs(queue, slot));
    queue->slots[slot].state = DISK_SLOT_ENDED;
    queue->slots[slot].status = status;
    queue->running--;
}

void disk_unit_lost(struct disk_unit *unit)
{
    if (unit->gone || !unit->present)
        return;
    log_warn("disk %s: does not answer any more", unit->name);
    unit->gone = true;
    while (!list_is_empty(&unit->waiting))
        finish(unit->queue, container_of(list_pop(&unit->waiting), struct block_request, link),
               BLOCK_GONE);
}

void disk_queue_lost(struct disk_queue *queue)
{
    for (unsigned i = 0; i < DISK_UNIT_MAX; i++)
        disk_unit_lost(&queue->units[i]);
    if (queue->owns_function)
        pci_disable_dma(&queue->pci); /* buffers are used again, whatever it still does */
}

/* Empties the slots that have ended; returns how many. */
static unsigned collect(struct disk_queue *queue)
{
    unsigned count = 0;
    for (unsigned i = 0; i < queue->depth; i++) {
        struct disk_slot *slot = &queue->slots[i];
        if (slot->state != DISK_SLOT_ENDED)
            continue;
        if (slot->status == BLOCK_OK)
            queue->resets = 0;
        else if (slot->unit->gone)
            slot->status = BLOCK_GONE;
        slot->state = DISK_SLOT_FREE;
        finish(queue, slot->request, slot->status);
        count++;
    }
    if (!queue->running)
        queue->check_at = UINT64_MAX;
    return count;
}

/* ---- resets ------------------------------------------------------------------------------ */

/* What becomes of a request that the reset has taken from the device. */
static void slot_after_reset(struct disk_queue *queue, struct disk_slot *slot)
{
    if (slot->state == DISK_SLOT_RUNNING)
        queue->running--;
    else if (slot->state == DISK_SLOT_AGAIN)
        queue->again--;
    else
        return;
    if (slot->unit->gone || (slot->second && slot->state == DISK_SLOT_RUNNING)) {
        slot->state = DISK_SLOT_ENDED;
        slot->status = BLOCK_ERROR; /* or gone, collect() knows */
        return;
    }
    slot->state = DISK_SLOT_AGAIN;
    slot->second = true;
    queue->again++;
}

static void recover(struct disk_queue *queue, enum disk_verdict why)
{
    queue->ops->reset(queue);
    if (why == DISK_NONSENSE && ++queue->resets > RESETS_MAX) {
        log_warn("disk %s: %u resets in a row were of no help", queue->name, RESETS_MAX);
        disk_queue_lost(queue);
    }
    for (unsigned i = 0; i < queue->depth; i++)
        slot_after_reset(queue, &queue->slots[i]);
    collect(queue);
}

/* ---- the start of requests ----------------------------------------------------------------- */

static void start(struct disk_queue *queue, unsigned index)
{
    struct disk_slot *slot = &queue->slots[index];
    uint64_t now = clock_now_ns();
    slot->state = DISK_SLOT_RUNNING;
    slot->deadline = now + REQUEST_TIMEOUT;
    if (queue->running++ == 0)
        queue->check_at = now + queue->check_ns;
    enum disk_verdict verdict = queue->ops->start(queue, index);
    if (verdict != DISK_FINE) {
        if (slot->state == DISK_SLOT_RUNNING)
            disk_queue_end(queue, index, BLOCK_TIMEOUT);
        recover(queue, verdict);
    }
    collect(queue);
}

static unsigned slot_in_state(const struct disk_queue *queue, enum disk_slot_state state)
{
    unsigned i = 0;
    while (i < queue->depth && queue->slots[i].state != state)
        i++;
    return i;
}

/* The next unit in turn that has something to do; NULL: none. */
static struct disk_unit *next_unit(struct disk_queue *queue)
{
    for (unsigned i = 0; i < DISK_UNIT_MAX; i++) {
        struct disk_unit *unit = &queue->units[queue->turn];
        queue->turn = (queue->turn + 1) % DISK_UNIT_MAX;
        if (unit->present && !list_is_empty(&unit->waiting))
            return unit;
    }
    return NULL;
}

/* Ends with all slots in use, or nothing waiting, or a second try running alone. */
static void start_next(struct disk_queue *queue)
{
    while (queue->running < queue->depth) {
        if (queue->again) {
            if (queue->running)
                return;
            queue->again--;
            start(queue, slot_in_state(queue, DISK_SLOT_AGAIN));
            continue;
        }
        struct disk_unit *unit = next_unit(queue);
        if (!unit)
            return;
        unsigned index = slot_in_state(queue, DISK_SLOT_FREE);
        ensure(index < queue->depth);
        queue->slots[index] = (struct disk_slot){
            .request = container_of(list_pop(&unit->waiting), struct block_request, link),
            .unit = unit,
        };
        start(queue, index);
    }
}

static bool is_valid(const struct block_device *device, const struct disk_queue *queue,
                     const struct block_request *request)
{
    uint64_t bytes = (uint64_t)request->sector_count * BLOCK_SECTOR_SIZE;
    return request->sector_count && request->sector_count <= device->max_sectors &&
           request->sector < device->sector_count &&
           request->sector_count <= device->sector_count - request->sector &&
           !(request->buffer_address.v & 3) && request->buffer_address.v < queue->address_limit &&
           bytes <= queue->address_limit - request->buffer_address.v;
}

void disk_submit(struct block_device *device, struct block_request *request)
{
    struct disk_unit *unit = device->driver;
    struct disk_queue *queue = unit->queue;
    spin_lock(&queue->lock);
    if (!is_valid(device, queue, request))
        finish(queue, request, BLOCK_REFUSED);
    else if (unit->gone)
        finish(queue, request, BLOCK_GONE);
    else if (disk_fault_due(request->operation))
        finish(queue, request, BLOCK_ERROR);
    else
        list_append(&unit->waiting, &request->link);
    start_next(queue);
    spin_unlock(&queue->lock);
}

/* ---- the main loop ----------------------------------------------------------------------------
 */

/* Looks at the device; true when a request has ended. */
static bool advance(struct disk_queue *queue)
{
    enum disk_verdict verdict = queue->ops->advance(queue);
    bool ended = collect(queue) > 0;
    if (verdict != DISK_FINE)
        recover(queue, verdict);
    return ended;
}

/* Hands out what has finished so far, and gives up the lock. What done() adds
 * waits for the next round, so the work of one call is bounded. */
static void complete_and_unlock(struct disk_queue *queue)
{
    struct list_node batch;
    list_init(&batch);
    while (!list_is_empty(&queue->finished))
        list_append(&batch, list_pop(&queue->finished));
    start_next(queue);
    spin_unlock(&queue->lock);
    while (!list_is_empty(&batch)) {
        struct block_request *request = container_of(list_pop(&batch), struct block_request, link);
        request->done(request);
    }
}

bool disk_queue_interrupt(struct disk_queue *queue)
{
    spin_lock(&queue->lock);
    if (queue->running) {
        queue->lost_interrupts = 0;
        queue->check_at = clock_now_ns() + queue->check_ns;
    }
    bool ended = advance(queue);
    complete_and_unlock(queue);
    return ended;
}

void disk_queue_distrust(struct disk_queue *queue)
{
    queue->check_ns = CHECK_POLLED;
    if (queue->running)
        queue->check_at = clock_now_ns() + CHECK_POLLED;
}

/* The interrupt is late: has something ended all the same? */
static void check(struct disk_queue *queue, uint64_t now)
{
    queue->check_at = now + queue->check_ns;
    if (!advance(queue) || queue->check_ns == CHECK_POLLED)
        return;
    if (++queue->lost_interrupts < LOST_MAX)
        return;
    log_warn("disk %s: %u interrupts lost in a row, looking every millisecond from now on",
             queue->name, queue->lost_interrupts);
    disk_queue_distrust(queue);
}

static void check_deadlines(struct disk_queue *queue, uint64_t now)
{
    bool late = false;
    for (unsigned i = 0; i < queue->depth; i++) {
        struct disk_slot *slot = &queue->slots[i];
        if (slot->state != DISK_SLOT_RUNNING || now < slot->deadline)
            continue;
        disk_complain(queue, "%s: no answer to a %s of %u sectors at %llu, resetting",
                      slot->unit->name, slot->request->operation == BLOCK_READ ? "read" : "write",
                      slot->request->sector_count, (unsigned long long)slot->request->sector);
        disk_queue_end(queue, i, BLOCK_TIMEOUT);
        late = true;
    }
    if (late)
        recover(queue, DISK_NONSENSE);
}

static void poll_locked(struct disk_queue *queue, uint64_t now)
{
    if (queue->running && now >= queue->check_at)
        check(queue, now);
    if (queue->running)
        check_deadlines(queue, now);
}

void disk_queue_poll(struct disk_queue *queue, uint64_t now)
{
    spin_lock(&queue->lock);
    poll_locked(queue, now);
    complete_and_unlock(queue);
}

void disk_poll_device(struct block_device *device)
{
    struct disk_queue *queue = ((struct disk_unit *)device->driver)->queue;
    spin_lock(&queue->lock);
    if (queue->running)
        advance(queue);
    poll_locked(queue, clock_now_ns());
    complete_and_unlock(queue);
}

static uint64_t earliest(const struct disk_queue *queue)
{
    if (!list_is_empty(&queue->finished))
        return 0;
    uint64_t deadline = queue->check_at;
    for (unsigned i = 0; i < queue->depth; i++)
        if (queue->slots[i].state == DISK_SLOT_RUNNING && queue->slots[i].deadline < deadline)
            deadline = queue->slots[i].deadline;
    return deadline;
}

uint64_t disk_queue_deadline(struct disk_queue *queue)
{
    spin_lock(&queue->lock);
    uint64_t deadline = earliest(queue);
    spin_unlock(&queue->lock);
    return deadline;
}
