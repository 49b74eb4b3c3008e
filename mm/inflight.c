/*
 * In-flight records; see inflight.h.
 */
#include "mm/inflight.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/wait.h"

static struct spinlock lock;
static struct inflight records[INFLIGHT_COUNT];
static unsigned used;

void inflight_init(void)
{
    lock = (struct spinlock){ 0 };
    memset(records, 0, sizeof(records));
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++)
        list_init(&records[i].waiters);
    used = 0;
}

static bool is_in(enum inflight_kind kind)
{
    return kind == INFLIGHT_IN_SWAP || kind == INFLIGHT_IN_COUNTED;
}

struct inflight *inflight_take(enum inflight_kind kind)
{
    struct inflight *record = NULL;
    spin_lock(&lock);
    if (used + (is_in(kind) ? 0 : INFLIGHT_FOR_PAGE_INS) < INFLIGHT_COUNT) {
        record = records;
        while (record->kind != INFLIGHT_FREE)
            record++;
        memset(record, 0, sizeof(*record));
        list_init(&record->waiters);
        record->kind = kind;
        record->frame = PFN_NONE;
        used++;
    }
    spin_unlock(&lock);
    return record;
}

void inflight_release(struct inflight *record)
{
    ensure(record->kind != INFLIGHT_FREE);
    wait_wake_all(&record->waiters);
    spin_lock(&lock);
    record->kind = INFLIGHT_FREE;
    record->vm = NULL;
    used--;
    spin_unlock(&lock);
    wait_wake_all(wait_io_list());
}

unsigned inflight_index(const struct inflight *record)
{
    return (unsigned)(record - records);
}

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
    if (!vm)
        return used;
    unsigned count = 0;
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++)
        count += records[i].kind != INFLIGHT_FREE && records[i].vm == vm;
    return count;
}

bool inflight_outs_awaited(void)
{
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++)
        if (records[i].kind != INFLIGHT_FREE && !is_in(records[i].kind) &&
            !list_is_empty(&records[i].waiters))
            return true;
    return false;
}

unsigned inflight_outs(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < INFLIGHT_COUNT; i++)
        count += records[i].kind != INFLIGHT_FREE && !is_in(records[i].kind);
    return count;
}
