/*
 * Large mappings; see large.h.
 */
#include "mm/large.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/floor.h"
#include "mm/fill.h"
#include "mm/hash.h"
#include "mm/large_room.h"
#include "mm/nested.h"
#include "mm/share.h"
#include "mm/vm.h"

#define LOOKS_A_TICK 8u   /* ranges large_step() looks at */
#define HIGH_TICKS   100u /* the state is high so long before anything coalesces */
/* Free frames that large mappings leave alone: twice minFree and this part of all. */
#define KEEP_PART 8u
/* Whose frame's descriptor has another use for the link: the first of none. */
#define LINK_USED (FRAME_INDEXED | FRAME_CLEAN)

static struct {
    uint32_t keep;
    unsigned vm; /* where large_step() is: among those that live; first page */
    uint32_t range;
    uint64_t pressed; /* tick at which the state was last not high */
    /* A range of 512 private pages for which there is no block though enough is free. */
    bool waits;
    uint16_t waiting_vm;
    uint32_t waiting;
} large;

void large_init(void)
{
    memset(&large, 0, sizeof(large));
    large.keep = 2 * core.min_free + frame_managed_count() / KEEP_PART;
    large_room_init();
}

bool large_is_plenty(void)
{
    return frame_free_count() >= large.keep;
}

static entry_t load(const entry_t *slot)
{
    return (entry_t){ __atomic_load_n(&slot->v, __ATOMIC_ACQUIRE) };
}

pfn_t large_table(entry_t entry)
{
    const struct frame *first = frame_at(entry_frame(entry));
    ensure(first && first->kind == FRAME_PRIVATE && !frame_has(first, LINK_USED));
    return pfn(first->private.link);
}

/* The leaf of page i of the range whose table this is. */
static struct leaf leaf_at(struct mm_vm *vm, entry_t *upper, pfn_t table, uint32_t first,
                           uint32_t i)
{
    entry_t *slot = (entry_t *)machine_frame_map(table) + i;
    return (struct leaf){ .vm = vm,
                          .gfn = gfn(first + i),
                          .slot = slot,
                          .upper = upper,
                          .entry = load(slot),
                          .table = frame_at(table) };
}

/* ---- making and unmaking ---------------------------------------------------------- */

/* The upper entry is non-present and flushed; the table is complete. */
static void publish(struct mm_vm *vm, entry_t *upper, pfn_t table, pfn_t block, bool accessed)
{
    struct frame *first = frame_at(block);
    entry_t entry = entry_large(block, core.config.large_execute);
    if (core.config.accessed_dirty && accessed)
        entry.v |= ENTRY_ACCESSED;
    ensure(!frame_has(first, LINK_USED));
    first->private.link = table.v;
    atomic_add(vm->large, 1);
    atomic_add(core.large, 1);
    __atomic_store_n(&upper->v, entry.v, __ATOMIC_RELEASE);
}

/* Nobody reaches the range by this entry once the VM is flushed; the entry as it was,
 * accessed and dirty bits included. */
static entry_t revoke(entry_t *upper)
{
    uint64_t away = entry_away(HOME_ZERO, 0).v;
    return (entry_t){ __atomic_exchange_n(&upper->v, away, __ATOMIC_ACQ_REL) };
}

/* The mapping is no large one any more; returns its leaf table. */
static pfn_t unname(struct mm_vm *vm, entry_t entry)
{
    pfn_t table = large_table(entry);
    atomic_sub(vm->large, 1);
    atomic_sub(core.large, 1);
    return table;
}

/* A page that holds nothing needs no frame: what the touch of a neighbour brought in
 * goes first. The range is revoked and flushed. */
static bool drop_zero(struct leaf *page)
{
    pfn_t frame = entry_frame(page->entry);
    uint64_t word;
    if (frame_has(frame_at(frame), FRAME_PINNED) ||
        floor_holds(page->vm, page->gfn, frame_at(frame)) ||
        !hash_page_uniform(machine_frame_map(frame), &word) || word != 0)
        return false;
    home_change(page, entry_away(HOME_ZERO, 0));
    frame_free(frame);
    core_count(MM_HOST_freed_zero, 1);
    vm_count(page->vm, MM_VM_out_uniform, 1);
    return true;
}

void large_split(struct leaf *leaf)
{
    struct mm_vm *vm = leaf->vm;
    ensure(large_holds(leaf));
    entry_t old = revoke(leaf->upper);
    core_flush(vm);
    pfn_t table = unname(vm, old);
    ensure(frame_at(table) == leaf->table);
    uint64_t bits = old.v & (ENTRY_ACCESSED | ENTRY_DIRTY);
    uint32_t first = leaf->gfn.v / LARGE_PAGES * LARGE_PAGES;
    for (uint32_t i = 0; i < LARGE_PAGES; i++) {
        struct leaf page = leaf_at(vm, leaf->upper, table, first, i);
        if (page.gfn.v == leaf->gfn.v || !drop_zero(&page))
            home_adjust(&page, bits, 0);
    }
    __atomic_store_n(&leaf->upper->v, entry_table(table).v, __ATOMIC_RELEASE);
    leaf->entry = load(leaf->slot);
    core_count(MM_HOST_large_split, 1);
    vm_count(vm, MM_VM_large_split, 1);
}

pfn_t large_end(struct mm_vm *vm, entry_t *upper)
{
    pfn_t table = unname(vm, load(upper));
    __atomic_store_n(&upper->v, entry_table(table).v, __ATOMIC_RELEASE);
    return table;
}

bool large_was_accessed(const struct leaf *leaf, bool *cleared)
{
    if (!core.config.accessed_dirty)
        return true;
    uint64_t old = __atomic_fetch_and(&leaf->upper->v, ~ENTRY_ACCESSED, __ATOMIC_ACQ_REL);
    *cleared |= (old & ENTRY_ACCESSED) != 0;
    return (old & ENTRY_ACCESSED) != 0;
}

/* ---- first touch -------------------------------------------------------------------- */

static bool is_allowed(const struct mm_vm *vm, uint32_t first)
{
    return core.config.large_pages && atomic_get(core.state) == MM_HIGH &&
           vm->config.pages >= LARGE_PAGES && first <= vm->config.pages - LARGE_PAGES;
}

/* A block, charged to the VM as held; none when its limit or the host says no. */
static pfn_t reserve(struct mm_vm *vm)
{
    pfn_t block = PFN_NONE;
    atomic_add(vm->held_frames, LARGE_PAGES);
    if (vm_resident(vm) <= vm->config.limit_pages)
        block = frame_alloc_block(large.keep);
    if (pfn_is_none(block))
        atomic_sub(vm->held_frames, LARGE_PAGES);
    return block;
}

static void free_block(pfn_t block)
{
    for (uint32_t i = 0; i < LARGE_PAGES; i++)
        frame_free(pfn(block.v + i));
}

pfn_t large_touch(struct mm_vm *vm, entry_t *upper, uint32_t first)
{
    pfn_t block = is_allowed(vm, first) ? reserve(vm) : PFN_NONE;
    if (pfn_is_none(block))
        return block;
    pfn_t table = nested_table_make(vm, 1, first);
    if (pfn_is_none(table)) {
        free_block(block);
        atomic_sub(vm->held_frames, LARGE_PAGES);
        return table;
    }
    for (uint32_t i = 0; i < LARGE_PAGES; i++) {
        struct leaf leaf = leaf_at(vm, upper, table, first, i);
        fill_page(machine_frame_map(pfn(block.v + i)), 0);
        home_change(&leaf, entry_private(pfn(block.v + i)));
    }
    atomic_sub(vm->held_frames, LARGE_PAGES);
    publish(vm, upper, table, block, true);
    core_count(MM_HOST_large_made, 1);
    vm_count(vm, MM_VM_large_made, 1);
    return table;
}

/* ---- coalescing ----------------------------------------------------------------------- */

/* 512 private pages that may move. */
static bool is_whole(const struct leaf *leaf)
{
    if (!leaf->slot || large_holds(leaf) || leaf->table->table.entries != LARGE_PAGES ||
        leaf->table->table.fetched)
        return false;
    for (uint32_t i = 0; i < LARGE_PAGES; i++) {
        entry_t entry = load(leaf->slot + i);
        if (entry_home(entry) != HOME_PRIVATE || !entry_is_writable(entry) ||
            frame_has(frame_at(entry_frame(entry)), FRAME_PINNED))
            return false;
    }
    return true;
}

static bool is_in_place(const struct leaf *leaf)
{
    uint32_t block = entry_frame(leaf->entry).v;
    bool same = block % LARGE_PAGES == 0;
    for (uint32_t i = 1; same && i < LARGE_PAGES; i++)
        same = entry_frame(load(leaf->slot + i)).v == block + i;
    return same;
}

/* The range is revoked and flushed. */
static void move(struct leaf *page, pfn_t to)
{
    const uint8_t kept = FRAME_PROTECTED | FRAME_COLD | FRAME_ACTIVE | FRAME_STUBBORN;
    pfn_t from = entry_frame(page->entry);
    uint64_t dirty = page->entry.v & ENTRY_DIRTY;
    memcpy(machine_frame_map(to), machine_frame_map(from), PAGE_SIZE);
    frame_flag_set(frame_at(to), frame_at(from)->flags & kept);
    home_change(page, (entry_t){ entry_private(to).v | dirty });
    frame_free(from);
}

/* The whole range into the block, which may be where it is. The dirty bit of each page
 * stays in the table; that some were accessed goes up. */
static void coalesce(struct leaf *range, pfn_t block)
{
    struct mm_vm *vm = range->vm;
    pfn_t table = frame_number(range->table);
    bool accessed = false, stays = entry_frame(range->entry).v == block.v;
    revoke(range->upper);
    core_flush(vm);
    for (uint32_t i = 0; i < LARGE_PAGES; i++) {
        struct leaf page = leaf_at(vm, range->upper, table, range->gfn.v, i);
        accessed |= entry_is_accessed(page.entry);
        share_forget(entry_frame(page.entry));
        if (stays)
            home_adjust(&page, 0, ENTRY_ACCESSED);
        else
            move(&page, pfn(block.v + i));
    }
    publish(vm, range->upper, table, block, accessed);
    core_count(MM_HOST_large_coalesced, 1);
    vm_count(vm, MM_VM_large_coalesced, 1);
}

/* The range is whole and there is no block for it. */
static void wait_for_room(struct mm_vm *vm, uint32_t first)
{
    if (large.waits || frame_free_count() < large.keep + LARGE_PAGES || large_room_is_resting())
        return;
    large.waits = true;
    large.waiting_vm = vm->id;
    large.waiting = first;
}

/* True when the range is large now and was not. */
static bool look_at(struct mm_vm *vm, uint32_t first)
{
    struct leaf leaf;
    bool done = false;
    nested_lock(vm, gfn(first), NESTED_LOOK, &leaf);
    if (is_whole(&leaf)) {
        pfn_t block = is_in_place(&leaf) ? entry_frame(leaf.entry) : frame_alloc_block(large.keep);
        done = !pfn_is_none(block);
        if (done)
            coalesce(&leaf, block);
        else
            wait_for_room(vm, first);
    }
    nested_unlock(&leaf);
    return done;
}

/* The next range of any VM; false: the round is over. */
static bool next(struct mm_vm **vm, uint32_t *first)
{
    while (large.vm < vm_live_count()) {
        *vm = vm_live(large.vm);
        *first = large.range;
        if (!vm_is_stopped(*vm) && (*vm)->config.pages >= LARGE_PAGES &&
            *first <= (*vm)->config.pages - LARGE_PAGES) {
            large.range += LARGE_PAGES;
            return true;
        }
        large.vm++;
        large.range = 0;
    }
    large.vm = 0;
    return false;
}

/* Under pressure; true when the range was large. */
static bool cut(struct mm_vm *vm, uint32_t first)
{
    struct leaf leaf;
    nested_lock(vm, gfn(first), NESTED_LOOK, &leaf);
    bool is_large = large_holds(&leaf);
    if (is_large)
        large_split(&leaf);
    nested_unlock(&leaf);
    if (is_large)
        share_not_dry();
    return is_large;
}

/* Makes a block for the range that waits; true when the range is large now. */
static bool make_room(void)
{
    if (!large.waits)
        return false;
    if (!large_room_step()) {
        large.waits = !large_room_is_resting();
        return false;
    }
    struct mm_vm *vm = vm_at(large.waiting_vm);
    large.waits = false;
    return vm && !vm_is_stopped(vm) && large.waiting + LARGE_PAGES <= vm->config.pages &&
           look_at(vm, large.waiting);
}

void large_step(void)
{
    struct mm_vm *vm;
    uint32_t first;
    if (core.state != MM_HIGH)
        large.pressed = core.ticks;
    bool calm = core.ticks - large.pressed > HIGH_TICKS;
    if (!calm && large.waits) {
        large.waits = false;
        large_room_stop();
    }
    if (!core.config.large_pages || (core.state == MM_HIGH && !calm) || (calm && make_room()))
        return;
    for (unsigned n = 0; n < LOOKS_A_TICK && next(&vm, &first); n++)
        if (calm ? look_at(vm, first) : cut(vm, first))
            return;
}
