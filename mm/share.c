/*
 * The sharing scan: looks at private pages in the order (VM, gfn), a budget at
 * a time, and merges those whose content is there already.
 *
 * A batch first clears the dirty bits of its pages and flushes once; a page
 * that was dirty is left alone until the next round (volatile). Without dirty
 * bits, the hash of the last look is compared instead. A hash is a hint: every
 * decision is taken on write-protected, flushed pages and whole contents.
 *
 *   share_found_uniform  PRIVATE => ZERO, FILL; frame freed after flush
 *   merge_into           PRIVATE => SHARED, a merged frame that was there
 *   merge_pair           PRIVATE, PRIVATE => SHARED, SHARED; a frame of the share region
 */
#include "mm/share.h"
#include "lib/string.h"
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/floor.h"
#include "mm/hash.h"
#include "mm/large.h"
#include "mm/nested.h"
#include "mm/pin.h"
#include "mm/vm.h"

#define BATCH 64u

static struct {
    unsigned vm; /* index of vm_live() where the scan is */
    uint64_t dry;
} scan;

uint64_t share_dry_pages(void)
{
    return scan.dry;
}

void share_not_dry(void)
{
    scan.dry = 0;
}

void share_scan_init(void)
{
    scan.vm = 0;
    scan.dry = 0;
}

static void protect(struct leaf *leaf)
{
    home_adjust(leaf, 0, ENTRY_WRITE);
    core_flush(leaf->vm);
}

/* But for a page that is read-only for its clean slot's sake. */
static void unprotect(struct leaf *leaf)
{
    bool watched =
        !core.config.accessed_dirty && frame_has(frame_at(entry_frame(leaf->entry)), FRAME_CLEAN);
    if (!watched)
        home_adjust(leaf, ENTRY_WRITE, 0);
}

/* The page left its frame: nothing cached names the frame any more. */
static void free_after_flush(struct leaf *leaf, pfn_t frame)
{
    core_flush(leaf->vm);
    share_forget(frame);
    frame_free(frame);
}

bool share_found_uniform(struct leaf *leaf)
{
    struct mm_vm *vm = leaf->vm;
    pfn_t frame = entry_frame(leaf->entry);
    uint64_t word;
    unsigned index = 0;
    protect(leaf);
    if (!hash_page_uniform(machine_frame_map(frame), &word) ||
        (word != 0 && !fill_take(&vm->fill, word, &index))) {
        unprotect(leaf);
        return false;
    }
    home_change(leaf, entry_away(word == 0 ? HOME_ZERO : HOME_FILL, index));
    free_after_flush(leaf, frame);
    core_count(MM_HOST_freed_zero, 1);
    vm_count(vm, MM_VM_out_uniform, 1);
    return true;
}

static bool merge_into(struct leaf *leaf, pfn_t merged)
{
    pfn_t frame = entry_frame(leaf->entry);
    protect(leaf);
    if (memcmp(machine_frame_map(frame), machine_frame_map(merged), PAGE_SIZE) != 0) {
        unprotect(leaf);
        share_frame_drop(merged);
        core_count(MM_HOST_share_collision, 1);
        return false;
    }
    home_change(leaf, entry_shared(merged));
    free_after_flush(leaf, frame);
    core_count(MM_HOST_share_merged, 1);
    core_count(MM_HOST_freed_share, 1);
    vm_count(leaf->vm, MM_VM_out_shared, 1);
    return true;
}

static bool is_free_to_merge(const struct leaf *leaf, pfn_t frame)
{
    return entry_home(leaf->entry) == HOME_PRIVATE && entry_frame(leaf->entry).v == frame.v &&
           !frame_has(frame_at(frame), FRAME_PINNED) &&
           !floor_holds(leaf->vm, leaf->gfn, frame_at(frame));
}

/* Both leaves are locked, private and free. */
static bool merge_locked(struct leaf *a, struct leaf *b, uint32_t key)
{
    pfn_t frame_a = entry_frame(a->entry), frame_b = entry_frame(b->entry);
    pfn_t merged = frame_alloc_shared();
    if (pfn_is_none(merged)) {
        core_count(MM_HOST_share_no_frame, 1);
        return false;
    }
    protect(a);
    protect(b);
    if (memcmp(machine_frame_map(frame_a), machine_frame_map(frame_b), PAGE_SIZE) != 0) {
        share_forget(frame_b);
        unprotect(a);
        unprotect(b);
        frame_free(merged);
        core_count(MM_HOST_share_collision, 1);
        return false;
    }
    memcpy(machine_frame_map(merged), machine_frame_map(frame_a), PAGE_SIZE);
    share_forget(frame_a);
    share_forget(frame_b);
    share_index_merged(merged, key, a->vm->config.salt, 2);
    home_change(a, entry_shared(merged));
    home_change(b, entry_shared(merged));
    free_after_flush(a, frame_a);
    free_after_flush(b, frame_b);
    core_count(MM_HOST_share_merged, 2);
    core_count(MM_HOST_share_pairs, 1);
    core_count(MM_HOST_freed_share, 1);
    vm_count(a->vm, MM_VM_out_shared, 1);
    vm_count(b->vm, MM_VM_out_shared, 1);
    return true;
}

/* No lock is held; both are looked up and checked again. */
static bool merge_pair(struct mm_vm *vm, gfn_t page, pfn_t frame, const struct share_found *other,
                       uint32_t key)
{
    struct mm_vm *other_vm = vm_at(other->vm);
    struct leaf a, b;
    /* A VM and its place in the index end under the step lock. */
    ensure(other_vm && other_vm->config.salt == vm->config.salt &&
           other->page.v < other_vm->config.pages);
    if (!nested_lock_pair(vm, page, &a, other_vm, other->page, &b)) {
        core_count(MM_HOST_share_gone, 1);
        return false;
    }
    bool merged = false;
    if (is_free_to_merge(&a, frame) && is_free_to_merge(&b, other->frame))
        merged = merge_locked(&a, &b, key);
    else
        core_count(MM_HOST_share_gone, 1);
    nested_unlock(&b);
    nested_unlock(&a);
    return merged;
}

/* Has the content been the same at two looks? Keeps its key for the next one. */
static bool is_settled(struct frame *frame, pfn_t number, uint32_t key)
{
    bool known = frame_has(frame, FRAME_HASHED), same = known && frame->private.hash == key;
    if (known && !same)
        share_forget(number);
    if (!same) {
        frame->private.hash = key; /* on no chain now */
        frame_flag_set(frame, FRAME_HASHED);
    }
    if (core.config.accessed_dirty || same)
        return true;
    core_count(known ? MM_HOST_share_volatile : MM_HOST_share_first_look, 1);
    return false;
}

enum look { LOOK_DONE, LOOK_FREED, LOOK_PAIR };

/* One private page; PAIR: *other is to be merged with it, without its lock. */
static enum look look_at(struct leaf *leaf, struct share_found *other, uint32_t *key)
{
    pfn_t number = entry_frame(leaf->entry);
    struct frame *frame = frame_at(number);
    uint64_t word;
    if (frame_has(frame, FRAME_PINNED) || floor_holds(leaf->vm, leaf->gfn, frame)) {
        core_count(MM_HOST_share_busy, 1);
        return LOOK_DONE;
    }
    if (core.config.accessed_dirty && frame_has(frame, FRAME_INDEXED)) {
        core_count(MM_HOST_share_unmatched, 1);
        return LOOK_DONE;
    }
    const void *page = machine_frame_map(number);
    if (hash_page_uniform(page, &word)) {
        bool away = share_found_uniform(leaf);
        core_count(away ? MM_HOST_share_uniform : MM_HOST_share_fill_full, 1);
        return away ? LOOK_FREED : LOOK_DONE;
    }
    *key = share_key(hash_page(page), leaf->vm->config.salt);
    if (!is_settled(frame, number, *key))
        return LOOK_DONE;
    *other = share_index_find(*key, leaf->vm->config.salt, number);
    if (other->merged)
        return merge_into(leaf, other->frame) ? LOOK_FREED : LOOK_DONE;
    if (!pfn_is_none(other->frame))
        return LOOK_PAIR;
    if (frame_has(frame, FRAME_CLEAN)) {
        /* The index would cost its clean slot, which is dear while memory is short. */
        if (core.state != MM_HIGH) {
            core_count(MM_HOST_share_clean, 1);
            return LOOK_DONE;
        }
        clean_forget_leaf(leaf);
    }
    core_count(share_index_insert(number) ? MM_HOST_share_unmatched : MM_HOST_share_walk_limit, 1);
    return LOOK_DONE;
}

static uint32_t look(struct mm_vm *vm, gfn_t page)
{
    struct leaf leaf;
    struct share_found other;
    pfn_t frame = PFN_NONE;
    uint32_t key = 0;
    enum look result = LOOK_DONE;
    nested_lock(vm, page, NESTED_LOOK, &leaf);
    if (entry_home(leaf.entry) == HOME_PRIVATE) {
        frame = entry_frame(leaf.entry);
        if (core.config.accessed_dirty && entry_is_dirty(leaf.entry))
            core_count(MM_HOST_share_volatile, 1);
        else
            result = look_at(&leaf, &other, &key);
        core_count(MM_HOST_share_scanned, 1);
    }
    nested_unlock(&leaf);
    if (result == LOOK_PAIR)
        return merge_pair(vm, page, frame, &other, key);
    return result == LOOK_FREED;
}

/* Clears a page's dirty bit; true when it was set: the page waits for the next
 * round, and what was known of it is void. */
static bool was_written(struct leaf *leaf)
{
    if (entry_home(leaf->entry) != HOME_PRIVATE || !entry_is_dirty(leaf->entry))
        return false;
    pfn_t frame = entry_frame(leaf->entry);
    home_adjust(leaf, 0, ENTRY_DIRTY);
    frame_flag_clear(frame_at(frame), FRAME_STUBBORN);
    share_forget(frame);
    return true;
}

/* A large mapping stays whole while memory is plenty; else its pages are looked at. */
static bool is_left_alone(struct leaf *leaf)
{
    if (!large_holds(leaf))
        return false;
    if (large_is_plenty()) {
        core_count(MM_HOST_share_large, 1);
        return true;
    }
    large_split(leaf);
    share_not_dry();
    return false;
}

/* A batch of one VM's pages from its hand; returns the pages it passed, but for those
 * it left alone. */
static uint32_t scan_batch(struct mm_vm *vm, uint32_t count, uint32_t *freed)
{
    uint32_t pages[BATCH], looked = 0, passed = 0;
    unsigned n = 0;
    bool flush = false;
    for (; looked < count && vm->share_hand < vm->config.pages; looked++) {
        struct leaf leaf;
        gfn_t page = gfn(vm->share_hand);
        nested_lock(vm, page, NESTED_LOOK, &leaf);
        bool alone = is_left_alone(&leaf);
        vm->share_hand = nested_next(&leaf, alone);
        passed += alone ? 0 : vm->share_hand - page.v;
        bool written = !alone && core.config.accessed_dirty && was_written(&leaf);
        flush |= written;
        core_count(MM_HOST_share_volatile, written);
        core_count(MM_HOST_share_scanned, written);
        if (entry_home(leaf.entry) == HOME_PRIVATE && !written && !alone)
            pages[n++] = page.v;
        nested_unlock(&leaf);
    }
    if (flush)
        core_flush(vm);
    for (unsigned i = 0; i < n; i++)
        *freed += look(vm, gfn(pages[i]));
    return passed;
}

/* The VM the scan is in; moves on when that is done or gone. */
static struct mm_vm *scan_vm(void)
{
    unsigned count = vm_live_count();
    for (unsigned i = 0; i <= count && count > 0; i++) {
        struct mm_vm *vm = vm_live(scan.vm % count);
        if (!vm_is_stopped(vm) && vm->share_hand < vm->config.pages)
            return vm;
        vm->share_hand = 0;
        scan.vm = (scan.vm % count + 1) % count;
    }
    return NULL;
}

uint32_t share_step(uint32_t budget)
{
    uint32_t freed = 0;
    for (uint32_t done = 0; done < budget;) {
        struct mm_vm *vm = scan_vm();
        if (!vm)
            break;
        uint32_t count = budget - done < BATCH ? budget - done : BATCH;
        scan.dry += scan_batch(vm, count, &freed);
        done += count;
    }
    if (freed > 0)
        scan.dry = 0;
    return freed;
}
