/*
 * Page-outs of private pages and write-back of pool objects; see pageout.h.
 * Shared pages: pageout_shared.c. Locks: core.step_lock in pageout_run() and
 * pageout_write_back(); completions, on any CPU, take the leaf's lock. A
 * completion is done with the VM before it gives its record back.
 */
#include "mm/pageout.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/floor.h"
#include "mm/counted.h"
#include "mm/hash.h"
#include "mm/nested.h"
#include "mm/pin.h"
#include "mm/pool.h"
#include "mm/share.h"
#include "mm/vm.h"

/* ---- commits ------------------------------------------------------------------- */

static void lock_busy(struct inflight *record, struct leaf *leaf)
{
    nested_lock(record->vm, record->gfn, NESTED_LOOK, leaf);
    ensure(entry_home(leaf->entry) == HOME_BUSY_OUT &&
           entry_payload(leaf->entry) == inflight_index(record));
}

/* The record's page has its new home (or its old one again). */
static void finish(struct inflight *record, struct leaf *leaf)
{
    nested_unlock(leaf);
    if (record->kind == INFLIGHT_OUT_PRIVATE)
        atomic_sub(record->vm->held_frames, 1);
    inflight_release(record);
}

/* BUSY_OUT => PRIVATE: it stays where it was. */
static void back_to_private(struct inflight *record)
{
    struct leaf leaf;
    lock_busy(record, &leaf);
    home_change(&leaf, entry_private(record->frame));
    finish(record, &leaf);
}

/* BUSY_OUT => a home without the frame, which is free now: it was flushed when
 * the page became BUSY. */
static void commit_out(struct inflight *record, entry_t entry)
{
    struct leaf leaf;
    lock_busy(record, &leaf);
    home_change(&leaf, entry);
    frame_free(record->frame);
    finish(record, &leaf);
}

static void commit_swap(struct inflight *record, swap_slot_t slot)
{
    vm_not_dry(record->vm);
    core_count(MM_HOST_freed_swap, 1);
    vm_count(record->vm, MM_VM_out_swap, 1);
    commit_out(record, entry_away(HOME_SWAP, slot.v));
}

static void written(struct swap_io *io, enum swap_status status)
{
    struct inflight *record = container_of(io, struct inflight, io);
    if (status == SWAP_OK) {
        commit_swap(record, io->slot);
        return;
    }
    machine_event(MM_EVENT_SWAP_ERROR, record->vm, io->slot.v, status);
    back_to_private(record);
}

/* ---- private pages ------------------------------------------------------------------ */

bool pageout_may(const struct leaf *leaf)
{
    struct frame *frame = frame_at(entry_frame(leaf->entry));
    if (frame_has(frame, FRAME_PINNED) || floor_holds(leaf->vm, leaf->gfn, frame))
        return false;
    if (core_tier_works(MM_TIER_SWAP))
        return true;
    return core_tier_works(MM_TIER_COMPRESS) &&
           (!frame_has(frame, FRAME_STUBBORN) || entry_is_dirty(leaf->entry));
}

bool pageout_add(struct pageout *batch, struct leaf *leaf)
{
    ensure(batch->count < PAGEOUT_BATCH);
    struct inflight *record = inflight_take(INFLIGHT_OUT_PRIVATE, leaf->vm);
    if (!record)
        return false;
    record->gfn = leaf->gfn;
    record->frame = entry_frame(leaf->entry);
    entry_t old = home_change(leaf, entry_away(HOME_BUSY_OUT, inflight_index(record)));
    record->slot = clean_take(record->frame, old);
    share_forget(record->frame);
    atomic_add(leaf->vm->held_frames, 1);
    batch->records[batch->count++] = record;
    return true;
}

static bool out_uniform(struct inflight *record, const void *page)
{
    struct mm_vm *vm = record->vm;
    uint64_t word;
    unsigned index = 0;
    if (!hash_page_uniform(page, &word) || (word != 0 && !fill_take(&vm->fill, word, &index)))
        return false;
    commit_out(record, entry_away(word == 0 ? HOME_ZERO : HOME_FILL, index));
    core_count(MM_HOST_freed_zero, 1);
    vm_count(vm, MM_VM_out_uniform, 1);
    return true;
}

static enum pool_result out_pool(struct inflight *record, const void *page)
{
    struct mm_vm *vm = record->vm;
    pool_location_t location;
    struct pool_owner owner = { vm->id, record->gfn.v };
    enum pool_result result = pool_store(owner, page, &location);
    if (result != POOL_OK)
        return result;
    uint32_t size = pool_block_size(location, owner);
    atomic_add(vm->pool_bytes, size);
    commit_out(record, entry_away(HOME_POOL, location.v));
    core_count(MM_HOST_freed_compress, 1);
    vm_count(vm, MM_VM_out_pool, 1);
    return POOL_OK;
}

static bool out_swap(struct inflight *record, const void *page)
{
    record->io.done = written;
    return core_tier_works(MM_TIER_SWAP) &&
           swap_write(&record->io, page, PAGE_SIZE, false) == SWAP_OK;
}

/* The page is BUSY and flushed: its content is final. */
static void out(struct pageout *batch, struct inflight *record)
{
    if (record->slot.v != SWAP_SLOT_NONE.v) {
        core_count(MM_HOST_swap_unwritten, 1);
        commit_swap(record, record->slot);
        batch->freed++;
        return;
    }
    const void *page = machine_frame_map(record->frame);
    if (out_uniform(record, page)) {
        batch->freed++;
        return;
    }
    enum pool_result result = POOL_INCOMPRESSIBLE;
    if (core_tier_works(MM_TIER_COMPRESS) &&
        (!batch->past_pool || !core_tier_works(MM_TIER_SWAP))) {
        result = out_pool(record, page);
        core_count(MM_HOST_pool_refused, result == POOL_INCOMPRESSIBLE);
        batch->pool_full |= result == POOL_FULL || result == POOL_NO_FRAME;
    }
    if (result == POOL_OK) {
        batch->freed++;
    } else if (out_swap(record, page)) {
        batch->started++;
    } else {
        struct frame *frame = frame_at(record->frame);
        if (result == POOL_INCOMPRESSIBLE && core.config.accessed_dirty)
            frame_flag_set(frame, FRAME_STUBBORN);
        back_to_private(record);
    }
}

void pageout_run(struct pageout *batch)
{
    if (batch->count > 0)
        core_flush(batch->vm);
    for (unsigned i = 0; i < batch->count; i++)
        out(batch, batch->records[i]);
    batch->count = 0;
}

/* ---- write-back --------------------------------------------------------------------- */

static uint8_t block[PAGE_SIZE] __attribute__((aligned(8)));

static void written_back(struct swap_io *io, enum swap_status status)
{
    struct inflight *record = container_of(io, struct inflight, io);
    struct mm_vm *vm = record->vm;
    struct leaf leaf;
    lock_busy(record, &leaf);
    if (status == SWAP_OK) {
        home_change(&leaf, entry_away(HOME_SWAP, io->slot.v));
        pool_free(record->location, (struct pool_owner){ vm->id, record->gfn.v });
        atomic_sub(vm->pool_bytes, record->block_size);
        core_count(MM_HOST_taken_compress, 1);
        core_count(MM_HOST_freed_swap, 1);
        core_count(MM_HOST_pool_written_back, 1);
        vm_count(vm, MM_VM_out_swap, 1);
    } else {
        machine_event(MM_EVENT_SWAP_ERROR, vm, io->slot.v, status);
        home_change(&leaf, entry_away(HOME_POOL, record->location.v));
    }
    finish(record, &leaf);
}

static void counted_written_back(struct swap_io *io, enum swap_status status)
{
    struct inflight *record = container_of(io, struct inflight, io);
    struct pool_owner owner = { POOL_OWNER_COUNTED, record->object };
    if (status == SWAP_OK) {
        counted_set_swap(record->object, io->slot);
        pool_free(record->location, owner);
        core_count(MM_HOST_taken_compress, 1);
        core_count(MM_HOST_freed_swap, 1);
        core_count(MM_HOST_pool_written_back, 1);
    } else {
        machine_event(MM_EVENT_SWAP_ERROR, NULL, io->slot.v, status);
        counted_set_pool(record->object, record->location);
    }
    counted_drop(record->object);
    inflight_release(record);
}

/* Reads the object and starts the write; the object stays until it is done. */
static bool send_block(struct inflight *record, struct pool_owner owner)
{
    if (pool_read_block(record->location, owner, block, &record->block_size) != POOL_OK) {
        if (record->vm)
            vm_stop(record->vm, MM_STOP_POOL_DAMAGED);
        return false;
    }
    return swap_write(&record->io, block, (uint16_t)record->block_size, true) == SWAP_OK;
}

static bool write_back_counted(pool_location_t location, struct pool_owner owner)
{
    struct inflight *record = inflight_take(INFLIGHT_OUT_COUNTED, NULL);
    if (!record)
        return false;
    record->location = location;
    record->object = owner.gfn;
    record->io.done = counted_written_back;
    if (counted_set_leaving(owner.gfn, location)) {
        counted_hold(owner.gfn);
        if (send_block(record, owner))
            return true;
        counted_set_pool(owner.gfn, location);
        counted_drop(owner.gfn);
    }
    inflight_release(record);
    return false;
}

static bool write_back_page(pool_location_t location, struct pool_owner owner)
{
    struct mm_vm *vm = vm_at(owner.vm);
    struct leaf leaf;
    /* A damaged header may name anyone; whoever touches the page will notice. */
    if (!vm || owner.gfn >= vm->config.pages || vm_is_stopped(vm))
        return false;
    nested_lock(vm, gfn(owner.gfn), NESTED_LOOK, &leaf);
    struct inflight *record = NULL;
    if (entry_home(leaf.entry) == HOME_POOL && entry_payload(leaf.entry) == location.v)
        record = inflight_take(INFLIGHT_OUT_POOL, vm);
    bool sent = false;
    if (record) {
        record->gfn = leaf.gfn;
        record->location = location;
        record->io.done = written_back;
        sent = send_block(record, owner);
        if (sent)
            home_change(&leaf, entry_away(HOME_BUSY_OUT, inflight_index(record)));
        else
            inflight_release(record);
    }
    nested_unlock(&leaf);
    return sent;
}

uint32_t pageout_write_back(uint32_t count)
{
    uint32_t sent = 0;
    /* Those under way are still at the old end, and may be all that is there. */
    for (uint32_t skip = 0; sent < count && skip < count + INFLIGHT_COUNT; skip++) {
        pool_location_t location;
        struct pool_owner owner;
        if (!pool_oldest(skip, &location, &owner))
            break;
        sent += owner.vm == POOL_OWNER_COUNTED ? write_back_counted(location, owner)
                                               : write_back_page(location, owner);
    }
    return sent;
}
