#include "hv/dev_balloon.h"
#include "drivers/clock.h"
#include "hv/vm.h"
#include "lib/string.h"

#define QUEUE_COUNT   3u
#define BUFFER_MAX    (1u << 20) /* bytes of page numbers in one descriptor */
#define CHUNK         64u        /* entries copied at once */
#define STATISTIC_MAX 32u        /* statistics read from one buffer */
#define CONFIG_ACTUAL offsetof(struct virtio_balloon_config, actual)

static_assert(QUEUE_COUNT <= VIRTIO_QUEUE_MAX, "the transport holds the balloon's queues");

static void count(struct vm *vm, enum balloon_counter which)
{
    vm->balloon.counters[which]++;
}

/* ---- what the core is told ---------------------------------------------------------- */

static void tell_core(struct vm *vm)
{
    mm_balloon_driver(vm->mm, dev_virtio_is_live(&vm->virtio), vm->virtio.failure != NULL,
                      vm->balloon.actual);
}

static void on_reset(struct vm *vm)
{
    struct balloon *b = &vm->balloon;
    b->actual = 0;
    memset(b->work, 0, sizeof(b->work));
    b->holds_statistics = b->wants_statistics = false;
    timer_cancel(&b->timer);
    tell_core(vm);
}

static void on_status(struct vm *vm)
{
    tell_core(vm);
    if (dev_virtio_is_live(&vm->virtio) &&
        dev_virtio_has_feature(&vm->virtio, VIRTIO_BALLOON_F_STATS_VQ))
        timer_set(&vm->balloon.timer, clock_now_ns() + BALLOON_STATISTICS_NS);
}

static void on_notify(struct vm *vm, unsigned queue)
{
    struct balloon *b = &vm->balloon;
    b->work[queue] = true;
    if (++b->idle_rings >= BALLOON_IDLE_RINGS_MAX)
        vm_end(vm, VM_END_GUEST_ERRORS, "rang the balloon's doorbell %u times for nothing",
               BALLOON_IDLE_RINGS_MAX);
}

static uint8_t on_config_read(struct vm *vm, unsigned offset)
{
    struct virtio_balloon_config config = { .num_pages = vm->balloon.told_target,
                                            .actual = vm->balloon.actual };
    return offset < sizeof(config) ? ((const uint8_t *)&config)[offset] : 0;
}

static void on_config_write(struct vm *vm, unsigned offset, unsigned size, uint32_t value)
{
    if (offset != CONFIG_ACTUAL || size != sizeof(uint32_t)) {
        vm->virtio.odd_count++;
        return;
    }
    vm->balloon.actual = value;
    tell_core(vm);
}

static const struct virtio_ops ops = {
    .device_id = VIRTIO_ID_BALLOON,
    .features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BALLOON_F_STATS_VQ |
                1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
    .queue_count = QUEUE_COUNT,
    .reset = on_reset,
    .status = on_status,
    .notify = on_notify,
    .config_read = on_config_read,
    .config_write = on_config_write,
};

static void statistics_due(struct timer *timer, uint64_t now)
{
    struct vm *vm = timer->context;
    vm_lock(vm);
    if (vm_is_running(vm) && dev_virtio_is_live(&vm->virtio)) {
        vm->balloon.wants_statistics = true;
        timer_set(timer, now + BALLOON_STATISTICS_NS);
    }
    vm_unlock(vm);
}

void dev_balloon_init(struct vm *vm)
{
    memset(&vm->balloon, 0, sizeof(vm->balloon));
    timer_init(&vm->balloon.timer, statistics_due, vm);
    dev_virtio_init(&vm->virtio, &ops);
}

void dev_balloon_destroy(struct vm *vm)
{
    timer_cancel(&vm->balloon.timer);
}

void dev_balloon_tick(struct vm *vm)
{
    uint32_t target = mm_balloon_target(vm->mm);
    if (target == vm->balloon.told_target)
        return;
    vm->balloon.told_target = target;
    dev_virtio_config_changed(vm);
}

/* ---- inflate and deflate -------------------------------------------------------------- */

static bool is_queue_page(const struct vm *vm, gfn_t page)
{
    for (unsigned i = 0; i < QUEUE_COUNT; i++)
        if (virtq_uses(&vm->virtio.queues[i], page))
            return true;
    return false;
}

/* One page number. False: it has to wait. */
static bool entry_apply(struct vm *vm, bool inflate, uint32_t number)
{
    struct mm_vcpu *vcpu = &vm->vcpus[0].mm;
    if (inflate && is_queue_page(vm, gfn(number))) {
        count(vm, BALLOON_entry_queue);
        return true;
    }
    switch (inflate ? mm_balloon_inflate(vcpu, gfn(number))
                    : mm_balloon_deflate(vcpu, gfn(number))) {
    case MM_BALLOON_WAIT:
        count(vm, BALLOON_entry_wait);
        return false;
    case MM_BALLOON_DONE_ALREADY:
        count(vm, BALLOON_entry_done_already);
        break;
    case MM_BALLOON_OUT_OF_RANGE:
        count(vm, BALLOON_entry_out_of_range);
        break;
    case MM_BALLOON_PINNED:
        count(vm, BALLOON_entry_pinned);
        break;
    default:
        break;
    }
    return true;
}

static bool buffer_is_good(struct vm *vm, const struct virtq_desc *d)
{
    if (d->flags & VIRTQ_DESC_F_WRITE)
        count(vm, BALLOON_refused_writable);
    else if (!d->len)
        count(vm, BALLOON_refused_empty);
    else if (d->len & 3)
        count(vm, BALLOON_refused_ragged);
    else if (d->len > BUFFER_MAX)
        count(vm, BALLOON_refused_long);
    else
        return true;
    return false;
}

/* Some entries of the current descriptor. EMPTY: it is done. */
static enum virtq_answer entries_work(struct vm *vm, unsigned which, unsigned *budget)
{
    uint32_t entries[CHUNK];
    struct virtq *queue = &vm->virtio.queues[which];
    uint32_t left = (queue->current.len - queue->offset) / 4;
    unsigned part = left < CHUNK ? left : CHUNK;
    if (part > *budget)
        part = *budget;
    if (!left)
        return VIRTQ_EMPTY;
    if (queue->current.addr > UINT64_MAX - BUFFER_MAX) {
        queue->reason = "buffer wraps around";
        return VIRTQ_BROKEN;
    }
    enum virtq_answer answer = virtq_copy(vm, queue->current.addr + queue->offset, entries,
                                          4 * part, false, &queue->reason);
    for (unsigned i = 0; answer == VIRTQ_DONE && i < part; i++) {
        if (!entry_apply(vm, which == VIRTIO_BALLOON_Q_INFLATE, entries[i]))
            return VIRTQ_WAIT;
        if (!vm_is_running(vm))
            return VIRTQ_STOPPED;
        queue->offset += 4;
        --*budget;
    }
    return answer;
}

/* A piece of work on the open chain. EMPTY: the chain has been given back. */
static enum virtq_answer chain_work(struct vm *vm, unsigned which, unsigned *budget, bool *notify)
{
    struct virtq *queue = &vm->virtio.queues[which];
    if (!queue->offset && !buffer_is_good(vm, &queue->current))
        queue->offset = UINT32_MAX; /* refused: nothing of it is read */
    enum virtq_answer answer = VIRTQ_EMPTY;
    if (queue->offset < queue->current.len)
        answer = entries_work(vm, which, budget);
    if (answer == VIRTQ_EMPTY) {
        --*budget; /* empty descriptors cost too */
        answer = virtq_next(vm, queue);
        if (answer == VIRTQ_EMPTY) {
            answer = virtq_close(vm, queue, notify);
            if (answer == VIRTQ_DONE)
                count(vm, BALLOON_buffers);
        }
    }
    return answer;
}

static enum virtq_answer pages_work(struct vm *vm, unsigned which, unsigned *budget, bool *notify)
{
    struct virtq *queue = &vm->virtio.queues[which];
    enum virtq_answer answer = VIRTQ_DONE;
    while (answer == VIRTQ_DONE && *budget) {
        if (!queue->open) {
            answer = virtq_open(vm, queue);
            if (answer == VIRTQ_DONE)
                vm->balloon.idle_rings = 0;
        } else {
            answer = chain_work(vm, which, budget, notify);
        }
    }
    return answer;
}

/* ---- statistics ------------------------------------------------------------------------ */

static void statistic_take(struct vm *vm, struct mm_guest_stats *stats,
                           const struct virtio_balloon_stat *s)
{
    uint64_t *const places[VIRTIO_BALLOON_S_COUNT] = {
        [VIRTIO_BALLOON_S_SWAP_IN] = &stats->swap_in,
        [VIRTIO_BALLOON_S_SWAP_OUT] = &stats->swap_out,
        [VIRTIO_BALLOON_S_MAJOR_FAULTS] = &stats->major_faults,
        [VIRTIO_BALLOON_S_MINOR_FAULTS] = &stats->minor_faults,
        [VIRTIO_BALLOON_S_FREE_MEMORY] = &stats->free,
        [VIRTIO_BALLOON_S_TOTAL_MEMORY] = &stats->total,
        [VIRTIO_BALLOON_S_AVAILABLE] = &stats->available,
        [VIRTIO_BALLOON_S_CACHES] = &stats->caches,
    };
    if (s->tag < VIRTIO_BALLOON_S_COUNT)
        *places[s->tag] = s->value;
    else
        count(vm, BALLOON_statistics_bad);
}

static enum virtq_answer statistics_read(struct vm *vm, struct virtq *queue)
{
    struct virtio_balloon_stat list[STATISTIC_MAX];
    unsigned entries = queue->current.len / sizeof(list[0]);
    if ((queue->current.flags & VIRTQ_DESC_F_WRITE) || queue->current.len % sizeof(list[0]) ||
        !entries) {
        count(vm, BALLOON_statistics_bad);
        return VIRTQ_DONE;
    }
    if (entries > STATISTIC_MAX)
        entries = STATISTIC_MAX;
    enum virtq_answer answer =
        virtq_copy(vm, queue->current.addr, list, entries * sizeof(list[0]), false, &queue->reason);
    if (answer != VIRTQ_DONE)
        return answer;
    struct mm_guest_stats stats;
    memset(&stats, 0xff, sizeof(stats)); /* not said */
    for (unsigned i = 0; i < entries; i++)
        statistic_take(vm, &stats, &list[i]);
    mm_balloon_statistics(vm->mm, &stats);
    count(vm, BALLOON_statistics);
    return VIRTQ_DONE;
}

/* A queue that was reset took the buffer with it. */
static bool holds_statistics(const struct vm *vm)
{
    return vm->balloon.holds_statistics && vm->virtio.queues[VIRTIO_BALLOON_Q_STATS].open;
}

/* The device keeps the driver's buffer and gives it back when it wants news. */
static enum virtq_answer statistics_work(struct vm *vm, unsigned *budget, bool *notify)
{
    struct balloon *b = &vm->balloon;
    struct virtq *queue = &vm->virtio.queues[VIRTIO_BALLOON_Q_STATS];
    if (holds_statistics(vm)) {
        if (!b->wants_statistics)
            return VIRTQ_EMPTY;
        enum virtq_answer answer = virtq_close(vm, queue, notify);
        if (answer == VIRTQ_DONE)
            b->holds_statistics = b->wants_statistics = false;
        return answer;
    }
    b->holds_statistics = false;
    enum virtq_answer answer = queue->open ? VIRTQ_DONE : virtq_open(vm, queue);
    if (answer == VIRTQ_DONE)
        answer = statistics_read(vm, queue);
    if (answer != VIRTQ_DONE)
        return answer;
    b->idle_rings = 0;
    b->holds_statistics = true;
    *budget -= *budget < STATISTIC_MAX ? *budget : STATISTIC_MAX;
    return VIRTQ_EMPTY;
}

/* ---- the pump ---------------------------------------------------------------------------- */

static bool statistics_wanted(const struct vm *vm)
{
    return holds_statistics(vm) && vm->balloon.wants_statistics;
}

bool dev_balloon_has_work(const struct vm *vm)
{
    const struct balloon *b = &vm->balloon;
    if (!dev_virtio_is_live(&vm->virtio) || mm_vcpu_waiting(&vm->vcpus[0].mm) != MM_WAIT_NONE)
        return false;
    return b->work[0] || b->work[1] || b->work[2] || statistics_wanted(vm);
}

static void queue_work(struct vm *vm, unsigned which, unsigned *budget, bool *notify)
{
    struct virtq *queue = &vm->virtio.queues[which];
    enum virtq_answer answer = VIRTQ_EMPTY;
    if (queue->ready)
        answer = which == VIRTIO_BALLOON_Q_STATS ? statistics_work(vm, budget, notify)
                                                 : pages_work(vm, which, budget, notify);
    if (answer == VIRTQ_EMPTY)
        vm->balloon.work[which] = false;
    else if (answer == VIRTQ_BROKEN)
        dev_virtio_fail(vm, queue->reason);
}

static void check_nonsense(struct vm *vm)
{
    const uint64_t *c = vm->balloon.counters;
    if (c[BALLOON_entry_out_of_range] + c[BALLOON_entry_queue] >= BALLOON_NONSENSE_MAX)
        vm_end(vm, VM_END_GUEST_ERRORS,
               "handed %u page numbers to the balloon that are not its own", BALLOON_NONSENSE_MAX);
}

void dev_balloon_pump(struct vm *vm)
{
    unsigned budget = BALLOON_BUDGET;
    bool notify = false;
    for (unsigned i = 0; i < QUEUE_COUNT && budget && dev_balloon_has_work(vm); i++)
        if (vm->balloon.work[i] || (i == VIRTIO_BALLOON_Q_STATS && statistics_wanted(vm)))
            queue_work(vm, i, &budget, &notify);
    if (notify && vm_is_running(vm))
        dev_virtio_interrupt(vm, VIRTIO_INTERRUPT_USED);
    check_nonsense(vm);
}

void dev_balloon_counters(const struct vm *vm, uint64_t values[BALLOON_COUNTER_COUNT])
{
    memcpy(values, vm->balloon.counters, sizeof(vm->balloon.counters));
    values[BALLOON_resets] = vm->virtio.reset_count;
    values[BALLOON_failures] = vm->virtio.failure_count;
    values[BALLOON_odd_accesses] = vm->virtio.odd_count;
}
