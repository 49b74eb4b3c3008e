/*
 * The pool's one record, shared by mm/pool.c and mm/pool_compact.c.
 */
#ifndef MM_POOL_BOOKS_H
#define MM_POOL_BOOKS_H

#include "mm/codec.h"
#include "mm/pool_log.h"

struct pool {
    struct spinlock lock;
    const struct pool_ops *ops;
    uint32_t frame_limit;
    bool compacting; /* one compaction at a time */
    bool discreet;   /* what a fault read beside its object leaves the caches */
    struct pool_log log;
    uint64_t objects, object_bytes;
    uint64_t objects_lost, compacted;
    /* The rest is scratch memory, not books (pool_stats_get). */
    uint64_t work[CODEC_WORK_BYTES / 8];
    /* One object in one piece, header and block. */
    uint32_t object[(sizeof(struct pool_header) + POOL_BLOCK_MAX) / 4];
};
extern struct pool pool;

#endif
