/*
 * Page-outs of merged pages. The first sharer to leave stores the content as
 * one counted object, recorded on the frame; later ones repoint to it; with the
 * last one the frame is free. Merged frames are read-only, so the content is
 * final without a flush; the frame is dropped after one.
 */
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/nested.h"
#include "mm/pageout.h"
#include "mm/pin.h"
#include "mm/share.h"
#include "mm/vm.h"

/* SHARED or BUSY_OUT => COUNTED: one sharer less, after the flush. */
static bool leave(struct leaf *leaf, pfn_t merged, uint32_t index)
{
    bool flush = entry_is_present(leaf->entry);
    home_change(leaf, entry_away(HOME_COUNTED, index));
    if (flush)
        core_flush(leaf->vm);
    vm_count(leaf->vm, MM_VM_out_counted, 1);
    /* Progress, though a frame is free only once the last sharer has left. */
    vm_not_dry(leaf->vm);
    bool swap = counted_is_in_swap(index);
    if (!share_frame_drop(merged))
        return false;
    core_count(swap ? MM_HOST_freed_swap : MM_HOST_freed_compress, 1);
    return true;
}

static void written(struct swap_io *io, enum swap_status status)
{
    struct inflight *record = container_of(io, struct inflight, io);
    struct leaf leaf;
    nested_lock(record->vm, record->gfn, NESTED_LOOK, &leaf);
    ensure(entry_home(leaf.entry) == HOME_BUSY_OUT &&
           entry_payload(leaf.entry) == inflight_index(record));
    if (status == SWAP_OK) {
        counted_set_swap(record->object, io->slot);
        vm_not_dry(record->vm);
        leave(&leaf, record->frame, record->object);
    } else {
        machine_event(MM_EVENT_SWAP_ERROR, record->vm, io->slot.v, status);
        home_change(&leaf, entry_shared(record->frame));
        counted_drop(record->object);
    }
    nested_unlock(&leaf);
    inflight_release(record);
}

static bool store_in_pool(pfn_t merged, uint32_t index, struct pageout *batch)
{
    pool_location_t location;
    struct pool_owner owner = { POOL_OWNER_COUNTED, index };
    if (!core_tier_works(MM_TIER_COMPRESS))
        return false;
    enum pool_result result = pool_store(owner, machine_frame_map(merged), &location);
    core_count(MM_HOST_pool_refused, result == POOL_INCOMPRESSIBLE);
    batch->pool_full |= result == POOL_FULL || result == POOL_NO_FRAME;
    if (result != POOL_OK)
        return false;
    counted_set_pool(index, location);
    return true;
}

static bool store_in_swap(struct leaf *leaf, pfn_t merged, uint32_t index)
{
    struct inflight *record = NULL;
    if (core_tier_works(MM_TIER_SWAP))
        record = inflight_take(INFLIGHT_OUT_SHARED, leaf->vm);
    if (!record)
        return false;
    record->gfn = leaf->gfn;
    record->frame = merged;
    record->object = index;
    record->io.done = written;
    if (swap_write(&record->io, machine_frame_map(merged), PAGE_SIZE, false) != SWAP_OK) {
        inflight_release(record);
        return false;
    }
    home_change(leaf, entry_away(HOME_BUSY_OUT, inflight_index(record)));
    core_flush(leaf->vm);
    return true;
}

/* The first sharer to leave. */
static bool leave_first(struct leaf *leaf, pfn_t merged, struct pageout *batch)
{
    uint32_t index;
    if (!counted_take(merged, &index))
        return false;
    share_frame_set_object(merged, index);
    if (store_in_pool(merged, index, batch)) {
        batch->freed += leave(leaf, merged, index);
        return true;
    }
    if (store_in_swap(leaf, merged, index)) {
        batch->started++;
        return true;
    }
    counted_drop(index);
    return false;
}

bool pageout_shared(struct leaf *leaf, struct pageout *batch)
{
    pfn_t merged = entry_frame(leaf->entry);
    struct frame *frame = frame_at(merged);
    if (pin_holds(leaf))
        return false;
    if (!frame_has(frame, FRAME_OBJECT))
        return leave_first(leaf, merged, batch);
    uint32_t index;
    if (!counted_join(merged, &index))
        return false;
    batch->freed += leave(leaf, merged, index);
    return true;
}
