/*
 * Storing, reading back and freeing objects of the pool.
 *
 * What is read back passed four checks: the header is one (pool_log.c), it names
 * the owner who asks, the keyed check fits header and block, and the block
 * decodes to exactly one page. Anything else is POOL_DAMAGED, and only the
 * owner suffers (P5).
 *
 * Lock: pool.lock around everything; the work areas are under it too.
 */
#include "mm/pool_books.h"

#include "lib/cache.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/hash.h"
#include "mm/locks.h"
#include "mm/machine.h"

struct pool pool;

void pool_init(const struct pool_ops *ops, uint32_t frame_limit)
{
    memset(&pool, 0, sizeof(pool));
    pool.lock = SPINLOCK(RANK_POOL);
    pool_log_init(&pool.log);
    pool.ops = ops;
    pool.frame_limit = frame_limit;
}

void pool_set_discreet(bool discreet)
{
    pool.discreet = discreet;
}

static uint32_t object_check(const struct pool_header *object)
{
    return hash_bytes(&object->gfn, POOL_CHECKED_BYTES + pool_header_size(object));
}

enum pool_result pool_store(struct pool_owner owner, const void *page, pool_location_t *location)
{
    spin_lock(&pool.lock);
    struct pool_header *object = (struct pool_header *)pool.object;
    enum pool_result result = POOL_INCOMPRESSIBLE;
    uint32_t size = codec_compress(page, object + 1, POOL_BLOCK_MAX, pool.work);
    if (size) {
        struct pool_at at;
        pool_header_make(object, owner, size);
        object->check = object_check(object);
        result = pool_log_append(&pool.log, object, pool.frame_limit, &at);
        if (result == POOL_OK) {
            *location = pool_log_location(at);
            pool.objects++;
            pool.object_bytes += size;
        }
    }
    spin_unlock(&pool.lock);
    return result;
}

static bool names(const struct pool_header *header, struct pool_owner owner)
{
    return header->vm == owner.vm && header->gfn == owner.gfn;
}

/* Finds the object; true when all checks but the decoder's pass. */
static inline __attribute__((always_inline)) bool
verified(struct pool_at at, struct pool_owner owner, struct pool_object *object)
{
    return pool_log_find(at, pool.object, object) && names(object->whole, owner) &&
           object_check(object->whole) == object->whole->check;
}

static bool unpack(const struct pool_object *object, void *page)
{
    return codec_decompress(object->whole + 1, pool_header_size(object->whole), page);
}

/* The lines around this byte, within its page: its own with the one that makes a pair of
 * it, and the next ones, which a processor that reads upwards may have fetched ahead. */
static void forget_around(const char *byte)
{
    uintptr_t at = (uintptr_t)byte & ~(uintptr_t)(2 * CACHE_LINE - 1);
    uintptr_t last = (at | (PAGE_SIZE - 1)) + 1 - 4 * CACHE_LINE;
    cache_evict_four((const void *)(at < last ? at : last));
}

/* What was read for the owner and is not the owner's leaves the caches: what lies beside
 * the object in its frames and in the scratch memory, and the key of the check. */
static __attribute__((noinline)) void forget(const struct pool_object *object)
{
    const char *first = (const char *)object->header, *whole = (const char *)object->whole;
    uint32_t bytes = POOL_HEADER_BYTES + pool_header_size(object->header);
    uint32_t here = PAGE_SIZE - ((uintptr_t)first & (PAGE_SIZE - 1));
    forget_around(first);
    if (object->second)
        forget_around((char *)machine_frame_map(pfn(object->frame->pool.next)) + bytes - here - 1);
    else
        forget_around(first + bytes - 1);
    if (whole != first) {
        forget_around(whole);
        forget_around(whole + bytes - 1);
    }
    hash_bytes_forget(bytes);
    cache_fence();
}

enum pool_result pool_load(pool_location_t location, struct pool_owner owner, void *page)
{
    struct pool_object object;
    spin_lock(&pool.lock);
    bool good = verified(pool_log_place(location), owner, &object) && unpack(&object, page);
    spin_unlock(&pool.lock);
    return good ? POOL_OK : POOL_DAMAGED;
}

enum pool_result pool_take(pool_location_t location, struct pool_owner owner, void *page,
                           uint32_t *size)
{
    struct pool_at at = pool_log_place(location);
    struct pool_object object;
    spin_lock(&pool.lock);
    bool good = verified(at, owner, &object) && unpack(&object, page);
    if (good) {
        *size = pool_header_size(object.header);
        pool.objects--;
        pool.object_bytes -= *size;
        if (pool.discreet)
            forget(&object);
        pool_log_bury(&pool.log, at, &object);
    }
    spin_unlock(&pool.lock);
    return good ? POOL_OK : POOL_DAMAGED;
}

enum pool_result pool_read_block(pool_location_t location, struct pool_owner owner, void *block,
                                 uint32_t *size)
{
    struct pool_object object;
    spin_lock(&pool.lock);
    bool good = verified(pool_log_place(location), owner, &object);
    if (good) {
        *size = pool_header_size(object.whole);
        memcpy(block, object.whole + 1, *size);
    }
    spin_unlock(&pool.lock);
    return good ? POOL_OK : POOL_DAMAGED;
}

uint32_t pool_block_size(pool_location_t location, struct pool_owner owner)
{
    spin_lock(&pool.lock);
    const struct pool_header *header = pool_log_header(pool_log_place(location));
    uint32_t size = header && names(header, owner) ? pool_header_size(header) : 0;
    spin_unlock(&pool.lock);
    return size;
}

/* A header that does not fit any more says nothing reliable about its length,
 * so its bytes stay counted as live and the frame is never emptied. */
static void set_aside(struct pool_at at)
{
    struct frame *frame = pool_log_frame(at.frame);
    if (frame && frame->kind == FRAME_POOL)
        frame->flags |= POOL_FRAME_DAMAGED;
    pool.objects--;
    pool.objects_lost++;
    log_warn("pool: damaged header in frame %u at %u, set aside", at.frame, at.offset);
}

uint32_t pool_free(pool_location_t location, struct pool_owner owner)
{
    struct pool_at at = pool_log_place(location);
    uint32_t size = 0;
    spin_lock(&pool.lock);
    const struct pool_header *header = pool_log_header(at);
    if (header && names(header, owner)) {
        ensure(pool_header_is_live(header));
        pool.objects--;
        size = pool_header_size(header);
        pool.object_bytes -= size;
        pool_log_release(&pool.log, at);
    } else {
        set_aside(at);
    }
    spin_unlock(&pool.lock);
    return size;
}

void pool_stats_get(struct pool_stats *stats)
{
    spin_lock(&pool.lock);
    *stats = (struct pool_stats){
        .objects = pool.objects,
        .object_bytes = pool.object_bytes,
        .live_bytes = pool.log.live_bytes,
        .frames = pool.log.frames,
        .objects_lost = pool.objects_lost,
        .compacted = pool.compacted,
        .metadata_bytes = offsetof(struct pool, work),
        .scratch_bytes = sizeof(pool) - offsetof(struct pool, work),
    };
    spin_unlock(&pool.lock);
}
