/*
 * Room for large mappings; see large_room.h.
 */
#include "mm/large_room.h"
#include "lib/string.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/floor.h"
#include "mm/inflight.h"
#include "mm/large.h"
#include "mm/nested.h"
#include "mm/pool.h"
#include "mm/share.h"
#include "mm/vm.h"

#define SEARCH_A_TICK 4096u /* blocks whose free frames are compared */
#define BATCH         32u   /* private pages that move in a tick */
#define POOL_BATCH    8u    /* frames of the pool that are emptied in a tick */
#define POOL_OBJECTS  64u   /* more than a frame of it holds that are worth their move */
#define PATIENCE      20u   /* ticks in which nothing leaves before a block is given up */
#define REST          500u  /* ticks without a search when no block will do */

#define NONE UINT32_MAX

/* A page on its way. */
struct move {
    struct inflight *record;
    pfn_t to;
    uint64_t bits; /* accessed and dirty */
};

struct batch {
    struct move moves[BATCH];
    unsigned count, pool_frames;
    bool full; /* no frame or record for more */
};

static struct {
    uint32_t block; /* being emptied; NONE */
    unsigned stalled;
    /* The search: blocks come by their free frames, then by their number, from the top;
     * `below`: those before it have been tried. */
    uint64_t below, best;
    uint32_t hand;
    uint64_t rest; /* tick until which there is no search */
} room;

static void search_restart(uint64_t below)
{
    room.below = below;
    room.best = 0;
    room.hand = 0;
}

void large_room_init(void)
{
    room.block = NONE;
    room.rest = 0;
    search_restart(UINT64_MAX);
}

bool large_room_is_resting(void)
{
    return core.ticks < room.rest;
}

static void leave(bool whole)
{
    core_count(whole ? MM_HOST_large_blocks : MM_HOST_large_given_up, 1);
    frame_block_open();
    room.block = NONE;
    if (whole)
        search_restart(UINT64_MAX);
}

void large_room_stop(void)
{
    if (room.block != NONE)
        leave(false);
    search_restart(UINT64_MAX);
}

/* ---- the search ----------------------------------------------------------------------- */

/* Is there nothing in the block but what can leave? A hint: no lock is held. */
static bool may_be_emptied(uint32_t block)
{
    uint32_t first = frame_block_first(block);
    for (uint32_t i = 0; i < FRAME_BLOCK; i++) {
        const struct frame *frame = frame_by_index(first + i);
        uint8_t kind = atomic_get(frame->kind);
        bool may = kind == FRAME_FREE || kind == FRAME_POOL ||
                   (kind == FRAME_PRIVATE && !frame_has(frame, FRAME_PINNED));
        if (!may)
            return false;
    }
    return true;
}

/* Goes on with the search; at its end the best block is closed, or put aside when
 * something in it cannot leave. */
static void search(void)
{
    uint32_t count = frame_block_count();
    for (uint32_t n = 0; n < SEARCH_A_TICK && room.hand < count; n++, room.hand++) {
        uint64_t key = (uint64_t)frame_block_free(room.hand) << 32 | room.hand;
        if (key >> 32 > 0 && key < room.below && key > room.best)
            room.best = key;
    }
    if (room.hand < count)
        return;
    uint32_t block = (uint32_t)room.best;
    if (room.best == 0) {
        room.rest = core.ticks + REST;
        search_restart(UINT64_MAX);
        return;
    }
    search_restart(room.best);
    if (!may_be_emptied(block))
        return;
    room.block = block;
    room.stalled = 0;
    frame_block_close(block);
}

/* ---- emptying ------------------------------------------------------------------------- */

/* The page is private, free to move, and locked. PRIVATE => BUSY_OUT. */
static bool set_out(struct batch *batch, struct leaf *leaf, pfn_t to)
{
    struct inflight *record = inflight_take(INFLIGHT_OUT_PRIVATE, leaf->vm);
    if (!record)
        return false;
    record->gfn = leaf->gfn;
    record->frame = entry_frame(leaf->entry);
    entry_t old = home_change(leaf, entry_away(HOME_BUSY_OUT, inflight_index(record)));
    record->slot = clean_take(record->frame, old);
    share_forget(record->frame);
    atomic_add(leaf->vm->held_frames, 1);
    batch->moves[batch->count++] =
        (struct move){ record, to, old.v & (ENTRY_ACCESSED | ENTRY_DIRTY) };
    return true;
}

/* A frame with a guest's page. False: the page has to stay, and with it the block. */
static bool move_page(struct batch *batch, struct frame *frame)
{
    struct mm_vm *vm = vm_at(atomic_get(frame->tag));
    uint32_t page = atomic_get(frame->private.gfn);
    struct leaf leaf;
    if (!vm || page >= vm->config.pages)
        return true; /* it changes hands just now */
    pfn_t to = frame_alloc(FRAME_PRIVATE, FRAME_ORDINARY);
    batch->full = pfn_is_none(to) || frame_block_is_closed(to);
    bool may = true, sent = false;
    if (!batch->full) {
        nested_lock(vm, gfn(page), NESTED_LOOK, &leaf);
        if (entry_home(leaf.entry) == HOME_PRIVATE && frame_at(entry_frame(leaf.entry)) == frame) {
            may = !frame_has(frame, FRAME_PINNED) && !large_holds(&leaf);
            sent = may && set_out(batch, &leaf, to);
            batch->full = may && !sent;
        }
        nested_unlock(&leaf);
    }
    if (!sent && !pfn_is_none(to))
        frame_free(to);
    return may;
}

/* False: something in the block has to stay. */
static bool gather(struct batch *batch)
{
    uint32_t first = frame_block_first(room.block);
    bool may = true;
    for (uint32_t i = 0; i < FRAME_BLOCK && may && batch->count < BATCH && !batch->full; i++) {
        struct frame *frame = frame_by_index(first + i);
        uint8_t kind = atomic_get(frame->kind);
        if (kind == FRAME_PRIVATE)
            may = move_page(batch, frame);
        else if (kind == FRAME_POOL && batch->pool_frames < POOL_BATCH)
            batch->pool_frames += pool_empty(frame_number(frame), POOL_OBJECTS);
        else
            may = kind == FRAME_FREE || kind == FRAME_POOL;
    }
    return may;
}

/* One flush for each VM with a page in the batch. */
static void flush(const struct batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++) {
        struct mm_vm *vm = batch->moves[i].record->vm;
        unsigned before = 0;
        while (before < i && batch->moves[before].record->vm != vm)
            before++;
        if (before == i)
            core_flush(vm);
    }
}

/* BUSY_OUT => PRIVATE in the other frame; the former is free. The VM is flushed. */
static void arrive(struct move *move)
{
    const uint8_t known = FRAME_PROTECTED | FRAME_COLD | FRAME_ACTIVE | FRAME_STUBBORN;
    struct inflight *record = move->record;
    struct mm_vm *vm = record->vm;
    struct leaf leaf;
    entry_t entry = { entry_private(move->to).v | move->bits };
    memcpy(machine_frame_map(move->to), machine_frame_map(record->frame), PAGE_SIZE);
    frame_flag_set(frame_at(move->to), frame_at(record->frame)->flags & known);
    nested_lock(vm, record->gfn, NESTED_LOOK, &leaf);
    if (record->slot.v != SWAP_SLOT_NONE.v) {
        bool kept = clean_keep(move->to, record->slot);
        if (!kept)
            swap_slot_free(record->slot);
        else if (!core.config.accessed_dirty)
            entry.v &= ~ENTRY_WRITE;
    }
    home_change(&leaf, entry);
    frame_free(record->frame);
    nested_unlock(&leaf);
    atomic_sub(vm->held_frames, 1);
    inflight_release(record);
}

static void empty(void)
{
    struct batch batch = { .count = 0 };
    bool may = gather(&batch);
    flush(&batch);
    for (unsigned i = 0; i < batch.count; i++)
        arrive(&batch.moves[i]);
    core_count(MM_HOST_large_moved, batch.count);
    room.stalled = batch.count + batch.pool_frames > 0 ? 0 : room.stalled + 1;
    if (!may || room.stalled > PATIENCE)
        leave(false);
}

bool large_room_step(void)
{
    if (room.block == NONE)
        search();
    else
        empty();
    if (room.block == NONE || frame_block_free(room.block) < FRAME_BLOCK)
        return false;
    leave(true);
    return true;
}
