/*
 * Frames and objects of the pool's log; see pool_log.h for the invariants.
 */
#include "mm/pool_log.h"

#include "lib/string.h"
#include "mm/machine.h"

void pool_log_init(struct pool_log *log)
{
    *log = (struct pool_log){ .oldest = POOL_FRAME_NONE,
                              .newest = POOL_FRAME_NONE,
                              .cursor = POOL_FRAME_NONE,
                              .held = POOL_FRAME_NONE };
    for (unsigned i = 0; i < POOL_HINTS; i++)
        log->hints[i] = (struct pool_hint){ POOL_FRAME_NONE, PAGE_SIZE };
}

/* ---- headers ------------------------------------------------------------- */

#define SEAL_SHIFT 13u /* of the three bits within the size word, 61 of the whole */

static uint64_t header_number(uint32_t owner_gfn, uint16_t vm, uint16_t size_word)
{
    return owner_gfn | (uint64_t)vm << 32 | (uint64_t)size_word << 48;
}

/* Sets the three bits: 2^61 is 2 modulo 7, whose inverse is 4. */
static void header_seal(struct pool_header *header, uint32_t size_word)
{
    uint64_t rest = header_number(header->gfn, header->vm, (uint16_t)size_word) % 7;
    header->size_word = (uint16_t)(size_word | ((7 - rest) * 4 % 7) << SEAL_SHIFT);
}

/* The same when only DEAD is added, which counts as 1 modulo 7 (2^60). */
static void header_bury(struct pool_header *header)
{
    uint32_t seal = header->size_word >> SEAL_SHIFT;
    seal += seal < 4 ? 3 : 3 - 7u;
    header->size_word =
        (uint16_t)((header->size_word & POOL_SIZE_MASK) | POOL_DEAD | seal << SEAL_SHIFT);
}

void pool_header_make(struct pool_header *header, struct pool_owner owner, uint32_t size)
{
    assert(size > 0 && size <= POOL_BLOCK_MAX);
    header->gfn = owner.gfn;
    header->vm = owner.vm;
    header_seal(header, size);
}

bool pool_header_fits(const struct pool_header *header)
{
    uint32_t size = pool_header_size(header);
    return size > 0 && size <= POOL_BLOCK_MAX &&
           header_number(header->gfn, header->vm, header->size_word) % 7 == 0;
}

static struct pool_header *header_at(struct pool_at at)
{
    return (struct pool_header *)((char *)machine_frame_map(pfn(at.frame)) + at.offset);
}

static inline struct pool_header *header_in(const struct frame *frame, struct pool_at at)
{
    if (!frame || frame->kind != FRAME_POOL || at.offset < frame->pool.first ||
        at.offset + POOL_HEADER_BYTES > frame->pool.used)
        return NULL;
    struct pool_header *header = header_at(at);
    return pool_header_fits(header) ? header : NULL;
}

struct pool_header *pool_log_header(struct pool_at at)
{
    return header_in(pool_log_frame(at.frame), at);
}

/* ---- the chain of frames --------------------------------------------------- */

static enum pool_result chain_append(struct pool_log *log, uint32_t frame_limit)
{
    if (log->frames >= frame_limit)
        return POOL_FULL;
    pfn_t number = frame_alloc(FRAME_POOL, FRAME_RECLAIM);
    if (pfn_is_none(number))
        return POOL_NO_FRAME;
    struct frame *frame = frame_at(number);
    frame->flags = 0;
    frame->tag = 0;
    frame->pool.first = frame->pool.used = 0;
    frame->pool.prev = log->newest;
    frame->pool.next = POOL_FRAME_NONE;
    if (log->newest == POOL_FRAME_NONE)
        log->oldest = number.v;
    else
        pool_log_frame(log->newest)->pool.next = number.v;
    log->newest = number.v;
    log->frames++;
    return POOL_OK;
}

/* Something died in this frame. */
static void hint(struct pool_log *log, uint32_t number, uint32_t live)
{
    struct pool_hint *place = &log->hints[number % POOL_HINTS];
    if (live <= place->live || place->frame == number)
        *place = (struct pool_hint){ number, live };
}

/* The frame leaves the log. */
static void hint_drop(struct pool_log *log, uint32_t number)
{
    struct pool_hint *place = &log->hints[number % POOL_HINTS];
    if (place->frame == number)
        *place = (struct pool_hint){ POOL_FRAME_NONE, PAGE_SIZE };
}

__attribute__((noinline)) void pool_log_drop_if_empty(struct pool_log *log, uint32_t number)
{
    struct frame *frame = pool_log_frame(number);
    if (frame->tag || number == log->held)
        return;
    uint32_t prev = frame->pool.prev, next = frame->pool.next;
    if (prev == POOL_FRAME_NONE)
        log->oldest = next;
    else
        pool_log_frame(prev)->pool.next = next;
    if (next == POOL_FRAME_NONE)
        log->newest = prev;
    else
        pool_log_frame(next)->pool.prev = prev;
    if (log->cursor == number)
        log->cursor = next;
    hint_drop(log, number);
    log->frames--;
    frame_free(pfn(number));
}

/* ---- objects -------------------------------------------------------------- */

/* The part of an object that lies in the frame where it begins. */
static uint32_t bytes_in_first(uint32_t offset, uint32_t span)
{
    return span < PAGE_SIZE - offset ? span : PAGE_SIZE - offset;
}

static void take_bytes(struct pool_log *log, struct frame *frame, uint32_t number, uint32_t bytes)
{
    ensure(frame->tag >= bytes);
    frame->tag = (uint16_t)(frame->tag - bytes);
    hint(log, number, frame->tag);
}

enum pool_result pool_log_append(struct pool_log *log, const struct pool_header *object,
                                 uint32_t frame_limit, struct pool_at *at)
{
    uint32_t span = pool_header_span(object);
    uint32_t first = log->newest;
    uint32_t room = first == POOL_FRAME_NONE ? 0 : PAGE_SIZE - pool_log_frame(first)->pool.used;
    if (room < span) {
        enum pool_result result = chain_append(log, frame_limit);
        if (result != POOL_OK)
            return result;
    }
    if (room < POOL_HEADER_BYTES)
        first = log->newest;
    struct frame *frame = pool_log_frame(first);
    *at = (struct pool_at){ first, frame->pool.used };
    log->live_bytes += span;

    uint32_t bytes = POOL_HEADER_BYTES + pool_header_size(object);
    uint32_t here = bytes_in_first(at->offset, bytes);
    memcpy(header_at(*at), object, here);
    if (bytes > here)
        memcpy(machine_frame_map(pfn(frame->pool.next)), (const char *)object + here, bytes - here);

    here = bytes_in_first(at->offset, span);
    frame->pool.used = (uint16_t)(at->offset + here);
    frame->tag = (uint16_t)(frame->tag + here);
    if (span > here) {
        struct frame *second = pool_log_frame(frame->pool.next);
        second->pool.first = second->pool.used = (uint16_t)(span - here);
        second->tag = (uint16_t)(second->tag + span - here);
    }
    return POOL_OK;
}

/* The second frame may follow the first in memory, too. */
static const struct pool_header *join(const struct pool_object *object, uint32_t here,
                                      uint32_t there, void *scratch)
{
    const char *first = (const char *)object->header;
    const char *second = machine_frame_map(pfn(object->frame->pool.next));
    if (first + here == second)
        return object->header;
    memcpy(scratch, first, here);
    memcpy((char *)scratch + here, second, there);
    return scratch;
}

bool pool_log_find(struct pool_at at, void *scratch, struct pool_object *object)
{
    struct frame *frame = pool_log_frame(at.frame);
    struct pool_header *header = header_in(frame, at);
    if (!header || !pool_header_is_live(header))
        return false;
    uint32_t bytes = POOL_HEADER_BYTES + pool_header_size(header);
    uint32_t here = bytes_in_first(at.offset, bytes);
    if (at.offset + here > frame->pool.used)
        return false;
    *object = (struct pool_object){ header, frame, NULL, header };
    if (here == bytes)
        return true;
    object->second = pool_log_frame(frame->pool.next);
    if (!object->second || object->second->pool.first < bytes - here)
        return false;
    object->whole = join(object, here, bytes - here, scratch);
    return true;
}

void pool_log_bury(struct pool_log *log, struct pool_at at, const struct pool_object *object)
{
    struct frame *frame = object->frame, *second = object->second;
    uint32_t span = pool_header_span(object->header), here = bytes_in_first(at.offset, span);
    uint32_t next = frame->pool.next;
    header_bury(object->header);
    log->live_bytes -= span;
    take_bytes(log, frame, at.frame, here);
    if (second)
        take_bytes(log, second, next, span - here);
    if (!frame->tag)
        pool_log_drop_if_empty(log, at.frame);
    if (second && !second->tag)
        pool_log_drop_if_empty(log, next);
}

void pool_log_release(struct pool_log *log, struct pool_at at)
{
    struct pool_object object = { .header = header_at(at), .frame = pool_log_frame(at.frame) };
    if (at.offset + pool_header_span(object.header) > PAGE_SIZE)
        object.second = pool_log_frame(object.frame->pool.next);
    pool_log_bury(log, at, &object);
}

/* ---- walking --------------------------------------------------------------- */

static enum pool_step step_at(struct pool_at at)
{
    const struct frame *frame = pool_log_frame(at.frame);
    if (at.offset >= frame->pool.used)
        return POOL_STEP_END;
    return pool_log_header(at) ? POOL_STEP_OBJECT : POOL_STEP_DAMAGED;
}

enum pool_step pool_log_first(uint32_t number, struct pool_at *at)
{
    *at = (struct pool_at){ number, pool_log_frame(number)->pool.first };
    return step_at(*at);
}

enum pool_step pool_log_next(struct pool_at *at)
{
    at->offset += pool_header_span(header_at(*at));
    return step_at(*at);
}
