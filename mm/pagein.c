/*
 * Page-ins; see pagein.h. done() comes from the machine's main loop and locks
 * the leaf itself.
 */
#include "mm/pagein.h"
#include "lib/string.h"
#include "mm/clean.h"
#include "mm/codec.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/floor.h"
#include "mm/nested.h"
#include "mm/vm.h"
#include "mm/wait.h"

bool pagein_unpack(const struct swap_io *io, pfn_t frame)
{
    const void *payload = swap_read_payload(io);
    void *page = machine_frame_map(frame);
    if (io->compressed)
        return codec_decompress(payload, io->size, page);
    if (io->size != PAGE_SIZE)
        return false;
    memcpy(page, payload, PAGE_SIZE);
    return true;
}

/* BUSY_IN => PRIVATE; the slot is kept while the page stays as it is, or given
 * back; the reference to an object is given back. */
static void commit(struct inflight *record, struct leaf *leaf)
{
    struct mm_vm *vm = record->vm;
    bool counted = record->kind == INFLIGHT_IN_COUNTED, last = true;
    bool kept = !counted && clean_keep(record->frame, record->slot);
    entry_t entry = entry_private(record->frame);
    if (core.config.accessed_dirty)
        entry.v |= ENTRY_ACCESSED;
    else if (kept)
        entry.v &= ~ENTRY_WRITE;
    home_change(leaf, entry);
    if (counted)
        last = counted_drop(record->object);
    else if (!kept)
        swap_slot_free(record->slot);
    core_count(last ? MM_HOST_taken_swap : MM_HOST_taken_share, 1);
    vm_count(vm, counted ? MM_VM_faults_counted : MM_VM_faults_swap, 1);
    vm_not_dry(vm);
}

/* BUSY_IN => SWAP or COUNTED, as before; the VM stops. */
static void fail(struct inflight *record, struct leaf *leaf, enum mm_stop_reason reason)
{
    bool counted = record->kind == INFLIGHT_IN_COUNTED;
    home_change(leaf, entry_away(counted ? HOME_COUNTED : HOME_SWAP,
                                 counted ? record->object : record->slot.v));
    frame_free(record->frame);
    vm_stop(record->vm, reason);
}

static void done(struct swap_io *io, enum swap_status status)
{
    struct inflight *record = container_of(io, struct inflight, io);
    struct mm_vm *vm = record->vm;
    struct leaf leaf;
    nested_lock(vm, record->gfn, NESTED_LOOK, &leaf);
    ensure(entry_home(leaf.entry) == HOME_BUSY_IN &&
           entry_payload(leaf.entry) == inflight_index(record));
    if (status == SWAP_OK && pagein_unpack(io, record->frame)) {
        commit(record, &leaf);
        if (!vm_is_stopped(vm))
            floor_protect(record->vcpu, record->gfn, frame_at(record->frame));
    } else {
        machine_event(MM_EVENT_SWAP_ERROR, vm, record->slot.v, status);
        fail(record, &leaf, status == SWAP_IO_ERROR ? MM_STOP_SWAP_READ : MM_STOP_SWAP_TAMPERED);
    }
    nested_unlock(&leaf);
    atomic_sub(vm->held_frames, 1);
    inflight_release(record);
}

enum mm_answer pagein_start(struct leaf *leaf, struct mm_vcpu *vcpu, enum inflight_kind kind,
                            swap_slot_t slot, pfn_t frame)
{
    struct mm_vm *vm = leaf->vm;
    struct inflight *record = inflight_take(kind, vm);
    enum swap_status status = SWAP_BUSY;
    if (record) {
        record->gfn = leaf->gfn;
        record->frame = frame;
        record->slot = slot;
        record->vcpu = vcpu;
        if (kind == INFLIGHT_IN_COUNTED)
            record->object = (uint32_t)entry_payload(leaf->entry);
        record->io.done = done;
        status = swap_read(&record->io, slot);
    }
    if (status == SWAP_OK) {
        home_change(leaf, entry_away(HOME_BUSY_IN, inflight_index(record)));
        atomic_add(vm->held_frames, 1);
        return wait_enlist(vcpu, MM_WAIT_PAGE_IN, &record->waiters);
    }
    frame_free(frame);
    if (status == SWAP_BUSY)
        wait_enlist(vcpu, MM_WAIT_PAGE_IN, wait_io_list());
    if (record)
        inflight_release(record);
    if (status == SWAP_BUSY)
        return MM_WAIT;
    vm_stop(vm, MM_STOP_SWAP_READ);
    return MM_STOPPED;
}
