/*
 * The share index and the books of merged frames; see share.h.
 */
#include "mm/share.h"
#include "lib/atomic.h"
#include "lib/string.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/locks.h"
#include "mm/vm.h"

/* Links and buckets hold frame numbers; frame 0 is never managed. */
#define LINK_NONE        0u
#define BUCKETS_PER_PAGE (PAGE_SIZE / (uint32_t)sizeof(uint32_t))

static struct {
    struct spinlock lock;
    uint32_t *buckets;
    uint32_t count;
} index_;

void share_init(void)
{
    index_.lock = SPINLOCK(RANK_SHARE);
    /* Whole pages of buckets, one for about six frames. */
    uint32_t pages = (frame_managed_count() / 6 + BUCKETS_PER_PAGE / 2) / BUCKETS_PER_PAGE;
    index_.count = pages * BUCKETS_PER_PAGE;
    if (index_.count == 0)
        index_.count = BUCKETS_PER_PAGE;
    index_.buckets = frame_books((size_t)index_.count * sizeof(uint32_t));
    /* The bank with the descriptors has 256 frames at least beside them. */
    ensure(index_.buckets);
}

uint64_t share_metadata_bytes(void)
{
    uint64_t bytes = (uint64_t)index_.count * sizeof(uint32_t);
    return (bytes + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
}

uint32_t share_key(uint64_t hash, uint16_t salt)
{
    return (uint32_t)hash ^ salt * 0x9e3779b1u;
}

/* PRIVATE and SHARED keep key and link at the same place of the union. */
static_assert(offsetof(struct frame, private.hash) == offsetof(struct frame, shared.hash),
              "hash is common");
static_assert(offsetof(struct frame, private.link) == offsetof(struct frame, shared.link),
              "link is common");

static uint32_t *bucket_of(const struct frame *frame)
{
    return &index_.buckets[((uint64_t)frame->private.hash * index_.count) >> 32];
}

static uint16_t salt_of(const struct frame *frame)
{
    return frame->kind == FRAME_SHARED ? frame->tag : vm_at(frame->tag)->config.salt;
}

/* The lock is held. */
static void unlink_locked(pfn_t number, struct frame *frame)
{
    if (!frame_has(frame, FRAME_INDEXED))
        return;
    uint32_t *link = bucket_of(frame);
    while (*link != number.v) {
        ensure(*link != LINK_NONE);
        link = &frame_at(pfn(*link))->private.link;
    }
    *link = frame->private.link;
    frame->private.link = LINK_NONE;
    frame_flag_clear(frame, FRAME_INDEXED);
}

/* The lock is held. */
static bool link_locked(pfn_t number, struct frame *frame)
{
    ensure(clean_slot(frame).v == SWAP_SLOT_NONE.v);
    uint32_t *bucket = bucket_of(frame);
    unsigned length = 0;
    for (uint32_t at = *bucket; at != LINK_NONE; at = frame_at(pfn(at))->private.link)
        length++;
    if (length >= SHARE_WALK)
        return false;
    frame->private.link = *bucket;
    *bucket = number.v;
    frame_flag_set(frame, FRAME_INDEXED);
    return true;
}

bool share_index_insert(pfn_t number)
{
    struct frame *frame = frame_at(number);
    spin_lock(&index_.lock);
    bool done = frame_has(frame, FRAME_INDEXED) || link_locked(number, frame);
    spin_unlock(&index_.lock);
    return done;
}

void share_index_merged(pfn_t merged, uint32_t key, uint16_t salt, uint32_t sharers)
{
    struct frame *frame = frame_at(merged);
    ensure(frame->kind == FRAME_SHARED);
    spin_lock(&index_.lock);
    frame->tag = salt;
    frame->shared.count = sharers;
    frame->shared.hash = key;
    /* A full bucket only means that no further page finds it. */
    (void)link_locked(merged, frame);
    spin_unlock(&index_.lock);
}

struct share_found share_index_find(uint32_t key, uint16_t salt, pfn_t not_this)
{
    struct share_found found = { .frame = PFN_NONE };
    spin_lock(&index_.lock);
    uint32_t at = index_.buckets[((uint64_t)key * index_.count) >> 32];
    /* No chain is longer than SHARE_WALK. */
    while (at != LINK_NONE && !found.merged) {
        struct frame *frame = frame_at(pfn(at));
        bool merged = frame->kind == FRAME_SHARED;
        if (at != not_this.v && frame->private.hash == key && salt_of(frame) == salt &&
            (!merged || frame->shared.count < SHARE_COUNT_MAX) &&
            (pfn_is_none(found.frame) || merged))
            found = (struct share_found){ pfn(at), merged, frame->tag, gfn(frame->private.gfn) };
        at = frame->private.link;
    }
    if (found.merged)
        atomic_add(frame_at(found.frame)->shared.count, 1);
    spin_unlock(&index_.lock);
    return found;
}

void share_frame_set_object(pfn_t number, uint32_t object)
{
    struct frame *frame = frame_at(number);
    spin_lock(&index_.lock);
    ensure(frame->kind == FRAME_SHARED);
    unlink_locked(number, frame);
    counted_set_frame(object, number);
    spin_unlock(&index_.lock);
}

void share_forget(pfn_t number)
{
    struct frame *frame = frame_at(number);
    clean_forget(number);
    if (!frame_has(frame, FRAME_INDEXED | FRAME_HASHED))
        return;
    spin_lock(&index_.lock);
    unlink_locked(number, frame);
    spin_unlock(&index_.lock);
    frame_flag_clear(frame, FRAME_HASHED);
}

void share_frame_hold(pfn_t number)
{
    struct frame *frame = frame_at(number);
    spin_lock(&index_.lock);
    ensure(frame && frame->kind == FRAME_SHARED && frame->shared.count > 0);
    ensure(frame->shared.count < UINT32_MAX);
    atomic_set(frame->shared.count, frame->shared.count + 1);
    spin_unlock(&index_.lock);
}

pfn_t share_frame_of_object(uint32_t object)
{
    spin_lock(&index_.lock);
    /* A frame that leaves the books tells its object under this lock. */
    pfn_t number = counted_frame(object);
    if (!pfn_is_none(number)) {
        struct frame *frame = frame_at(number);
        ensure(frame->kind == FRAME_SHARED && frame->shared.count > 0);
        if (frame->shared.count < SHARE_COUNT_MAX)
            atomic_set(frame->shared.count, frame->shared.count + 1);
        else
            number = PFN_NONE;
    }
    spin_unlock(&index_.lock);
    return number;
}

/* Nothing names the frame any more. */
static void leave_books(pfn_t number, struct frame *frame)
{
    unlink_locked(number, frame);
    if (frame_has(frame, FRAME_OBJECT))
        counted_forget_frame(number);
}

bool share_frame_drop(pfn_t number)
{
    struct frame *frame = frame_at(number);
    spin_lock(&index_.lock);
    ensure(frame && frame->kind == FRAME_SHARED && frame->shared.count > 0);
    atomic_set(frame->shared.count, frame->shared.count - 1);
    bool last = frame->shared.count == 0;
    if (last) {
        leave_books(number, frame);
        frame_free(number);
    }
    spin_unlock(&index_.lock);
    return last;
}

bool share_frame_take_back(pfn_t number)
{
    struct frame *frame = frame_at(number);
    spin_lock(&index_.lock);
    ensure(frame && frame->kind == FRAME_SHARED && frame->shared.count > 0);
    bool only = frame->shared.count == 1;
    if (only) {
        leave_books(number, frame);
        frame_turn_private(number);
    }
    spin_unlock(&index_.lock);
    return only;
}

const char *share_audit(void)
{
    uint32_t indexed = 0, flagged = 0;
    for (uint32_t i = 0; i < index_.count; i++) {
        unsigned length = 0;
        for (uint32_t at = index_.buckets[i]; at != LINK_NONE;) {
            const struct frame *frame = frame_at(pfn(at));
            if (!frame || (frame->kind != FRAME_PRIVATE && frame->kind != FRAME_SHARED) ||
                !frame_has(frame, FRAME_INDEXED) || bucket_of(frame) != &index_.buckets[i])
                return "share index names a frame that does not belong there";
            if (++length > SHARE_WALK)
                return "share index chain is too long";
            indexed++;
            at = frame->private.link;
        }
    }
    for (uint32_t i = 0; i < frame_total_count(); i++) {
        const struct frame *frame = frame_by_index(i);
        flagged += (frame->kind == FRAME_PRIVATE || frame->kind == FRAME_SHARED) &&
                   frame_has(frame, FRAME_INDEXED);
    }
    return indexed == flagged ? NULL : "a frame is flagged as indexed and is on no chain";
}
