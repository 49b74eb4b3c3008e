/*
 * The old end of the pool and its empty spaces: the oldest objects for
 * write-back, compaction, and the audit.
 *
 * Compaction copies an object to the new end of the log, lets go of the lock,
 * asks the owner to point to the copy, and then releases the original, or the
 * copy when the owner would not. While that lasts the original's frame is held
 * in the log: freed and reused, it could come to hold another object of the
 * same owner at the same place, which `moved` could not tell from the old one.
 *
 * Lock: pool.lock, not held while pool_ops.moved runs, since the owner's leaf
 * lock comes before it.
 */
#include "mm/pool_books.h"

/* Frames one compaction step looks at to find the emptiest, when there are no hints. */
#define SCAN_FRAMES 64u
/* Fuller frames are left alone: moving them gains too little. What remains dead in the
 * long run is a third of what this allows. */
#define VICTIM_LIVE_MAX (PAGE_SIZE * 9u / 10u)

static struct pool_owner owner_of(const struct pool_header *header)
{
    return (struct pool_owner){ .vm = header->vm, .gfn = header->gfn };
}

/* ---- the oldest -------------------------------------------------------------- */

bool pool_oldest(uint32_t skip, pool_location_t *location, struct pool_owner *owner)
{
    bool found = false;
    spin_lock(&pool.lock);
    for (uint32_t f = pool.log.oldest; f != POOL_FRAME_NONE && !found;
         f = pool_log_frame(f)->pool.next) {
        struct pool_at at;
        enum pool_step step = pool_log_first(f, &at);
        for (; step == POOL_STEP_OBJECT && !found; step = found ? step : pool_log_next(&at)) {
            const struct pool_header *header = pool_log_header(at);
            if (!pool_header_is_live(header) || skip-- > 0)
                continue;
            *location = pool_log_location(at);
            *owner = owner_of(header);
            found = true;
        }
    }
    spin_unlock(&pool.lock);
    return found;
}

/* ---- compaction ----------------------------------------------------------- */

static bool is_victim(uint32_t number)
{
    const struct frame *frame = pool_log_frame(number);
    return number != pool.log.newest && frame->tag <= VICTIM_LIVE_MAX &&
           !(frame->flags & POOL_FRAME_DAMAGED);
}

static struct pool_hint *lowest_hint(void)
{
    struct pool_hint *best = NULL;
    for (struct pool_hint *h = pool.log.hints; h < pool.log.hints + POOL_HINTS; h++)
        if (h->live <= VICTIM_LIVE_MAX && (!best || h->live < best->live))
            best = h;
    return best;
}

/* The emptiest of the frames that hints name; NONE when none of them is a victim. */
static uint32_t choose_hinted(void)
{
    struct pool_hint *hint;
    while ((hint = lowest_hint())) {
        uint32_t number = hint->frame;
        *hint = (struct pool_hint){ POOL_FRAME_NONE, PAGE_SIZE };
        if (is_victim(number))
            return number;
    }
    return POOL_FRAME_NONE;
}

/* The emptiest of the next SCAN_FRAMES frames; NONE when all are full enough. */
static uint32_t choose_scanned(void)
{
    uint32_t best = POOL_FRAME_NONE, number = pool.log.cursor;
    uint32_t count = pool.log.frames < SCAN_FRAMES ? pool.log.frames : SCAN_FRAMES;
    while (count--) {
        if (number == POOL_FRAME_NONE)
            number = pool.log.oldest;
        if (is_victim(number) &&
            (best == POOL_FRAME_NONE || pool_log_frame(number)->tag < pool_log_frame(best)->tag))
            best = number;
        number = pool_log_frame(number)->pool.next;
    }
    pool.log.cursor = number;
    return best;
}

static uint32_t choose_victim(void)
{
    uint32_t hinted = choose_hinted();
    return hinted != POOL_FRAME_NONE ? hinted : choose_scanned();
}

/* The live object that begins in the frame before and ends in this one. */
static bool straddler_into(uint32_t number, struct pool_at *found)
{
    uint32_t before = pool_log_frame(number)->pool.prev;
    if (before == POOL_FRAME_NONE || pool_log_frame(number)->pool.first == 0)
        return false;
    struct pool_at at;
    for (enum pool_step step = pool_log_first(before, &at); step == POOL_STEP_OBJECT;
         step = pool_log_next(&at)) {
        const struct pool_header *header = pool_log_header(at);
        if (at.offset + pool_header_span(header) > PAGE_SIZE && pool_header_is_live(header)) {
            *found = at;
            return true;
        }
    }
    return false;
}

static bool next_live(enum pool_step step, struct pool_at *at)
{
    while (step == POOL_STEP_OBJECT && !pool_header_is_live(pool_log_header(*at)))
        step = pool_log_next(at);
    if (step == POOL_STEP_DAMAGED)
        pool_log_frame(at->frame)->flags |= POOL_FRAME_DAMAGED;
    return step == POOL_STEP_OBJECT;
}

/* Moves one live object to the new end. False when there was no frame for a copy. */
static bool move_object(struct pool_at from)
{
    struct pool_object object;
    struct pool_at to;
    if (!pool_log_find(from, pool.object, &object)) { /* its length cannot be right */
        pool_log_frame(from.frame)->flags |= POOL_FRAME_DAMAGED;
        return true;
    }
    /* Not bound by the pool's limit: what it takes it is about to give back. */
    if (pool_log_append(&pool.log, object.whole, UINT32_MAX, &to) != POOL_OK)
        return false;
    struct pool_owner owner = owner_of(object.header);
    spin_unlock(&pool.lock);
    bool moved = pool.ops->moved(owner, pool_log_location(from), pool_log_location(to));
    spin_lock(&pool.lock);
    pool.compacted += moved;
    pool_log_release(&pool.log, moved ? from : to);
    return true;
}

/* Moves what lives in the frame, at most *budget objects. False when there was
 * no frame for a copy. */
static bool empty_frame(uint32_t number, uint32_t *budget)
{
    struct pool_at at;
    bool room = true;
    pool.log.held = number;
    if (straddler_into(number, &at)) {
        (*budget)--;
        room = move_object(at);
    }
    bool more = next_live(pool_log_first(number, &at), &at);
    while (more && room && *budget) {
        (*budget)--;
        room = move_object(at);
        more = room && next_live(pool_log_next(&at), &at);
    }
    pool.log.held = POOL_FRAME_NONE;
    pool_log_drop_if_empty(&pool.log, number);
    return room;
}

uint32_t pool_compact(uint32_t objects)
{
    bool room = true;
    spin_lock(&pool.lock);
    if (pool.compacting) {
        spin_unlock(&pool.lock);
        return 0;
    }
    uint32_t before = pool.log.frames;
    pool.compacting = true;
    while (room && objects) {
        uint32_t victim = choose_victim(), left = objects;
        if (victim == POOL_FRAME_NONE)
            break;
        room = empty_frame(victim, &objects);
        /* What lives there could not be found: a damaged header is in the way. */
        if (left == objects)
            objects--;
    }
    pool.compacting = false;
    uint32_t after = pool.log.frames;
    spin_unlock(&pool.lock);
    return before > after ? before - after : 0;
}

bool pool_empty(pfn_t number, uint32_t objects)
{
    const struct frame *frame = frame_at(number);
    bool gone = false;
    spin_lock(&pool.lock);
    if (!pool.compacting && frame->kind == FRAME_POOL && number.v != pool.log.newest &&
        !(frame->flags & POOL_FRAME_DAMAGED)) {
        pool.compacting = true;
        empty_frame(number.v, &objects);
        pool.compacting = false;
        gone = frame->kind != FRAME_POOL;
    }
    spin_unlock(&pool.lock);
    return gone;
}

/* ---- audit ------------------------------------------------------------------ */

struct sum {
    uint32_t carried; /* live bytes that run on into the next frame */
    uint32_t end;     /* where the next frame's first object must begin at least */
    uint64_t objects, live;
};

static bool audit_frame(uint32_t number, struct sum *sum,
                        bool (*visit)(struct pool_owner, pool_location_t, void *), void *context)
{
    const struct frame *frame = pool_log_frame(number);
    if (frame->kind != FRAME_POOL || frame->pool.first > PAGE_SIZE ||
        frame->pool.used > PAGE_SIZE || (sum->carried && frame->pool.first != sum->end))
        return false;
    uint32_t live = sum->carried;
    sum->carried = sum->end = 0;
    struct pool_at at;
    enum pool_step step = pool_log_first(number, &at);
    for (; step == POOL_STEP_OBJECT; step = pool_log_next(&at)) {
        const struct pool_header *header = pool_log_header(at);
        uint32_t span = pool_header_span(header);
        if (!pool_header_is_live(header))
            continue;
        uint32_t here = span < PAGE_SIZE - at.offset ? span : PAGE_SIZE - at.offset;
        live += here;
        sum->carried = sum->end = span - here;
        sum->objects++;
        if (!visit(owner_of(header), pool_log_location(at), context))
            return false;
    }
    sum->live += live;
    return step == POOL_STEP_END && live == frame->tag && live > 0;
}

bool pool_audit(bool (*visit)(struct pool_owner owner, pool_location_t at, void *context),
                void *context)
{
    struct sum sum = { 0 };
    uint32_t frames = 0, before = POOL_FRAME_NONE;
    for (uint32_t f = pool.log.oldest; f != POOL_FRAME_NONE; f = pool_log_frame(f)->pool.next) {
        if (pool_log_frame(f)->pool.prev != before || !audit_frame(f, &sum, visit, context))
            return false;
        before = f;
        frames++;
    }
    /* A straddling object's part in its second frame was added there; live is
     * the sum over frames, so a carry left over means a missing frame. */
    return before == pool.log.newest && frames == pool.log.frames && sum.carried == 0 &&
           sum.objects == pool.objects && sum.live == pool.log.live_bytes;
}
