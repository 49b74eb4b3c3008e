/*
 * In-flight records; see inflight.h.
 */
#include "mm/inflight.h"
#include "lib/atomic.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/locks.h"
#include "mm/wait.h"

static struct spinlock lock;
static struct inflight records[INFLIGHT_COUNT];
static unsigned used;

void inflight_init(void)
{
    lock = SPINLOCK(RANK_INFLIGHT);
    memset(records, 0, sizeof(records));
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++)
        list_init(&records[i].waiters);
    used = 0;
}

static bool is_in(enum inflight_kind kind)
{
    return kind == INFLIGHT_IN_SWAP || kind == INFLIGHT_IN_COUNTED || kind == INFLIGHT_IN_AHEAD;
}

/* Records that are kept for more urgent purposes. */
static unsigned kept_from(enum inflight_kind kind)
{
    if (kind == INFLIGHT_IN_AHEAD)
        return 2 * INFLIGHT_FOR_PAGE_INS;
    return is_in(kind) ? 0 : INFLIGHT_FOR_PAGE_INS;
}

struct inflight *inflight_take(enum inflight_kind kind, struct mm_vm *vm)
{
    struct inflight *record = NULL;
    spin_lock(&lock);
    if (used + kept_from(kind) < INFLIGHT_COUNT) {
        record = records;
        while (record->kind != INFLIGHT_FREE)
            record++;
        memset(record, 0, sizeof(*record));
        list_init(&record->waiters);
        record->kind = kind;
        record->vm = vm;
        record->frame = PFN_NONE;
        atomic_set(used, used + 1);
    }
    spin_unlock(&lock);
    return record;
}

void inflight_release(struct inflight *record)
{
    wait_wake_all(&record->waiters);
    spin_lock(&lock);
    ensure(record->kind != INFLIGHT_FREE);
    record->kind = INFLIGHT_FREE;
    record->vm = NULL;
    atomic_set(used, used - 1);
    spin_unlock(&lock);
    wait_wake_all(wait_io_list());
}

unsigned inflight_index(const struct inflight *record)
{
    return (unsigned)(record - records);
}

/* The caller holds the leaf that names the record, so it is in use. */
struct inflight *inflight_at(uint64_t index)
{
    ensure(index < INFLIGHT_COUNT && records[index].kind != INFLIGHT_FREE);
    return &records[index];
}

struct inflight *inflight_peek(unsigned index)
{
    return records[index].kind != INFLIGHT_FREE ? &records[index] : NULL;
}

unsigned inflight_count(const struct mm_vm *vm)
{
    unsigned count = 0;
    if (!vm)
        return atomic_get(used);
    spin_lock(&lock);
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++)
        count += records[i].kind != INFLIGHT_FREE && records[i].vm == vm;
    spin_unlock(&lock);
    return count;
}

static bool is_out(const struct inflight *record)
{
    return record->kind != INFLIGHT_FREE && !is_in(record->kind);
}

bool inflight_outs_awaited(void)
{
    bool awaited = false;
    spin_lock(&lock);
    for (unsigned i = 0; i < INFLIGHT_COUNT && !awaited; i++)
        awaited = is_out(&records[i]) && wait_anyone(&records[i].waiters);
    spin_unlock(&lock);
    return awaited;
}

unsigned inflight_outs(void)
{
    unsigned count = 0;
    spin_lock(&lock);
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++)
        count += is_out(&records[i]);
    spin_unlock(&lock);
    return count;
}
