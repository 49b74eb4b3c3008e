/*
 * Counted objects; see counted.h.
 *
 * An object lives as long as it is referenced or, in state COMING and LEAVING,
 * as long as its I/O runs: the in-flight record holds a reference then.
 */
#include "mm/counted.h"
#include "lib/assert.h"
#include "lib/atomic.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/locks.h"

static struct spinlock lock;
static struct counted objects[COUNTED_MAX];
static uint32_t used, search_from;

void counted_init(void)
{
    lock = SPINLOCK(RANK_COUNTED);
    memset(objects, 0, sizeof(objects));
    used = search_from = 0;
}

bool counted_take(pfn_t frame, uint32_t *index)
{
    bool found = false;
    spin_lock(&lock);
    /* While fewer are used than there are, one is free. */
    for (uint32_t i = 0; used < COUNTED_MAX && !found; i++) {
        uint32_t at = (search_from + i) % COUNTED_MAX;
        if (objects[at].state != COUNTED_FREE)
            continue;
        objects[at].refs = 1;
        objects[at].frame = frame;
        atomic_set(objects[at].state, COUNTED_COMING);
        *index = at;
        search_from = at + 1;
        used++;
        found = true;
    }
    spin_unlock(&lock);
    return found;
}

struct counted *counted_at(uint64_t index)
{
    ensure(index < COUNTED_MAX && atomic_get(objects[index].state) != COUNTED_FREE);
    return &objects[index];
}

void counted_hold(uint32_t index)
{
    struct counted *object = counted_at(index);
    spin_lock(&lock);
    ensure(object->refs > 0);
    object->refs++;
    spin_unlock(&lock);
}

/* The frame does not name the object any more. */
static void unlink_frame(struct counted *object)
{
    if (pfn_is_none(object->frame))
        return;
    struct frame *frame = frame_at(object->frame);
    frame_flag_clear(frame, FRAME_OBJECT);
    frame->shared.link = 0;
    object->frame = PFN_NONE;
}

bool counted_drop(uint32_t index)
{
    struct counted *object = counted_at(index), last = { 0 };
    spin_lock(&lock);
    ensure(object->refs > 0);
    if (--object->refs == 0) {
        ensure(object->state != COUNTED_LEAVING);
        unlink_frame(object);
        last = *object;
        atomic_set(object->state, COUNTED_FREE);
        used--;
    }
    spin_unlock(&lock);
    if (last.state == COUNTED_POOL)
        pool_free(last.location, (struct pool_owner){ POOL_OWNER_COUNTED, index });
    else if (last.state == COUNTED_SWAP)
        swap_slot_free(last.slot);
    return last.state != COUNTED_FREE;
}

void counted_forget_frame(pfn_t number)
{
    const struct frame *frame = frame_at(number);
    spin_lock(&lock);
    if (frame_has(frame, FRAME_OBJECT))
        unlink_frame(counted_at(frame->shared.link));
    spin_unlock(&lock);
}

void counted_set_frame(uint32_t index, pfn_t number)
{
    struct frame *frame = frame_at(number);
    spin_lock(&lock);
    ensure(!frame_has(frame, FRAME_OBJECT) && objects[index].frame.v == number.v);
    frame->shared.link = index;
    frame_flag_set(frame, FRAME_OBJECT);
    spin_unlock(&lock);
}

pfn_t counted_frame(uint32_t index)
{
    spin_lock(&lock);
    pfn_t frame = counted_at(index)->frame;
    spin_unlock(&lock);
    return frame;
}

bool counted_join(pfn_t number, uint32_t *index)
{
    const struct frame *frame = frame_at(number);
    spin_lock(&lock);
    bool joined = frame_has(frame, FRAME_OBJECT);
    if (joined) {
        struct counted *object = counted_at(frame->shared.link);
        *index = frame->shared.link;
        joined = object->state != COUNTED_COMING;
        object->refs += joined;
    }
    spin_unlock(&lock);
    return joined;
}

bool counted_load(uint32_t index, void *page, enum pool_result *result, swap_slot_t *slot)
{
    struct counted *object = counted_at(index);
    spin_lock(&lock);
    bool in_pool = object->state == COUNTED_POOL || object->state == COUNTED_LEAVING;
    ensure(in_pool || object->state == COUNTED_SWAP);
    if (in_pool)
        *result =
            pool_load(object->location, (struct pool_owner){ POOL_OWNER_COUNTED, index }, page);
    else
        *slot = object->slot;
    spin_unlock(&lock);
    return in_pool;
}

bool counted_is_in_swap(uint32_t index)
{
    spin_lock(&lock);
    bool swap = counted_at(index)->state == COUNTED_SWAP;
    spin_unlock(&lock);
    return swap;
}

bool counted_moved(uint32_t index, pool_location_t from, pool_location_t to)
{
    if (index >= COUNTED_MAX || !spin_try_lock(&lock))
        return false;
    struct counted *object = &objects[index];
    bool moves = object->state == COUNTED_POOL && object->location.v == from.v;
    if (moves)
        object->location = to;
    spin_unlock(&lock);
    return moves;
}

void counted_set_pool(uint32_t index, pool_location_t location)
{
    struct counted *object = counted_at(index);
    spin_lock(&lock);
    ensure(object->state == COUNTED_COMING || object->state == COUNTED_LEAVING);
    atomic_set(object->state, COUNTED_POOL);
    object->location = location;
    spin_unlock(&lock);
}

bool counted_set_leaving(uint32_t index, pool_location_t location)
{
    struct counted *object = counted_at(index);
    spin_lock(&lock);
    bool moves = object->state == COUNTED_POOL && object->location.v == location.v;
    if (moves)
        atomic_set(object->state, COUNTED_LEAVING);
    spin_unlock(&lock);
    return moves;
}

void counted_set_swap(uint32_t index, swap_slot_t slot)
{
    struct counted *object = counted_at(index);
    spin_lock(&lock);
    ensure(object->state == COUNTED_COMING || object->state == COUNTED_LEAVING);
    atomic_set(object->state, COUNTED_SWAP);
    object->slot = slot;
    spin_unlock(&lock);
}

struct counted *counted_peek(uint32_t index)
{
    return index < COUNTED_MAX && objects[index].state != COUNTED_FREE ? &objects[index] : NULL;
}

uint64_t counted_metadata_bytes(void)
{
    return sizeof(objects);
}
