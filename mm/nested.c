/*
 * Nested page tables; see nested.h.
 *
 * Source: Intel SDM volume 3C, 29.3.2, and AMD APM volume 2, 5.3: four levels of
 * 512 entries, 9 bits of the address each; upper present entries carry permissions
 * and an address only.
 */
#include "mm/nested.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/vm.h"

#define LEVELS      4u /* depth; the leaf is level 1 */
#define LEVEL_BITS  9u
#define LEVEL_COUNT (1u << LEVEL_BITS)

static entry_t *entries_of(pfn_t table)
{
    return machine_frame_map(table);
}

static unsigned index_at(uint32_t page, unsigned level)
{
    return (page >> (LEVEL_BITS * (level - 1))) & (LEVEL_COUNT - 1);
}

/* First page of the range that the entry for `page` covers at this level. */
static uint32_t range_start(uint32_t page, unsigned level)
{
    return page & ~((1u << (LEVEL_BITS * (level - 1))) - 1);
}

static entry_t load(const entry_t *slot)
{
    return (entry_t){ __atomic_load_n(&slot->v, __ATOMIC_ACQUIRE) };
}

static void store(entry_t *slot, entry_t entry)
{
    __atomic_store_n(&slot->v, entry.v, __ATOMIC_RELEASE);
}

/* A table at `level` whose pages are all ZERO (NONE beyond the guest's end);
 * first: the first page it covers. */
static pfn_t table_make(struct mm_vm *vm, unsigned level, uint32_t first)
{
    pfn_t table = frame_alloc(FRAME_TABLE, FRAME_TABLES);
    if (pfn_is_none(table))
        return table;
    frame_at(table)->tag = vm->id;
    entry_t zero = entry_away(HOME_ZERO, 0), *entries = entries_of(table);
    uint64_t step = 1ull << (LEVEL_BITS * (level - 1));
    for (unsigned i = 0; i < LEVEL_COUNT; i++)
        entries[i] = first + i * step < vm->config.pages ? zero : (entry_t){ 0 };
    vm->tables++;
    return table;
}

bool nested_create(struct mm_vm *vm)
{
    vm->root = table_make(vm, LEVELS, 0);
    return !pfn_is_none(vm->root);
}

/* The next table down from `table` (at `level`); made when wanted. */
static pfn_t step_down(struct mm_vm *vm, pfn_t table, unsigned level, uint32_t page,
                       enum nested_mode mode)
{
    entry_t *slot = &entries_of(table)[index_at(page, level)];
    entry_t entry = load(slot);
    if (entry_is_present(entry))
        return entry_frame(entry);
    if (mode == NESTED_LOOK || mode == NESTED_TRY)
        return PFN_NONE;
    ensure(entry_home(entry) == HOME_ZERO);
    pfn_t below = table_make(vm, level - 1, range_start(page, level));
    if (!pfn_is_none(below)) {
        frame_at(table)->table.entries++;
        store(slot, entry_table(below));
    }
    return below;
}

/* The leaf table; the VM's lock is held. */
static pfn_t walk(struct mm_vm *vm, uint32_t page, enum nested_mode mode)
{
    pfn_t table = vm->root;
    for (unsigned level = LEVELS; level > 1 && !pfn_is_none(table); level--)
        table = step_down(vm, table, level, page, mode);
    return table;
}

static void leaf_set(struct leaf *leaf, struct mm_vm *vm, gfn_t page, pfn_t table)
{
    leaf->vm = vm;
    leaf->gfn = page;
    leaf->locked = true;
    if (pfn_is_none(table)) {
        leaf->slot = NULL;
        leaf->table = NULL;
        leaf->entry = entry_away(HOME_ZERO, 0);
    } else {
        leaf->slot = &entries_of(table)[index_at(page.v, 1)];
        leaf->table = frame_at(table);
        leaf->entry = load(leaf->slot);
    }
}

bool nested_lock(struct mm_vm *vm, gfn_t page, enum nested_mode mode, struct leaf *leaf)
{
    ensure(page.v < vm->config.pages);
    bool took = true;
    if (mode == NESTED_TRY)
        took = spin_try_lock(&vm->lock);
    else
        spin_lock(&vm->lock);
    if (!took)
        return false;
    pfn_t table = walk(vm, page.v, mode);
    if (!pfn_is_none(table)) {
        struct spinlock *lock = &frame_at(table)->table.lock;
        if (mode == NESTED_TRY)
            took = spin_try_lock(lock);
        else
            spin_lock(lock);
    } else {
        took = mode == NESTED_LOOK || mode == NESTED_TRY;
    }
    if (took)
        leaf_set(leaf, vm, page, table);
    spin_unlock(&vm->lock);
    return took;
}

/* A leaf table without any page but ZERO and NONE: the range becomes uniform,
 * the table is freed after the flush. */
static void collapse(struct mm_vm *vm, uint32_t page)
{
    spin_lock(&vm->lock);
    pfn_t above = vm->root;
    for (unsigned level = LEVELS; level > 2 && !pfn_is_none(above); level--)
        above = step_down(vm, above, level, page, NESTED_LOOK);
    pfn_t table = pfn_is_none(above) ? above : step_down(vm, above, 2, page, NESTED_LOOK);
    if (!pfn_is_none(table)) {
        struct frame *frame = frame_at(table);
        spin_lock(&frame->table.lock);
        bool empty = frame->table.entries == 0;
        if (empty) {
            store(&entries_of(above)[index_at(page, 2)], entry_away(HOME_ZERO, 0));
            frame_at(above)->table.entries--;
        }
        spin_unlock(&frame->table.lock);
        if (empty) {
            /* No walker waits for that lock: they all come through vm->lock. */
            core_flush(vm);
            vm->tables--;
            frame_free(table);
            core_count(MM_HOST_tables_collapsed, 1);
        }
    }
    spin_unlock(&vm->lock);
}

void nested_unlock(struct leaf *leaf)
{
    if (!leaf->slot || !leaf->locked)
        return;
    bool empty = leaf->table->table.entries == 0;
    spin_unlock(&leaf->table->table.lock);
    leaf->slot = NULL;
    if (empty)
        collapse(leaf->vm, leaf->gfn.v);
}

bool nested_lock_pair(struct mm_vm *vm_a, gfn_t a, struct leaf *leaf_a, struct mm_vm *vm_b, gfn_t b,
                      struct leaf *leaf_b)
{
    /* Both ways down are held until both tables are locked. */
    struct mm_vm *low = vm_a->id <= vm_b->id ? vm_a : vm_b;
    struct mm_vm *high = low == vm_a ? vm_b : vm_a;
    spin_lock(&low->lock);
    if (high != low)
        spin_lock(&high->lock);
    pfn_t table_a = walk(vm_a, a.v, NESTED_LOOK), table_b = walk(vm_b, b.v, NESTED_LOOK);
    bool found = !pfn_is_none(table_a) && !pfn_is_none(table_b);
    if (found) {
        pfn_t first = table_a.v <= table_b.v ? table_a : table_b;
        pfn_t second = first.v == table_a.v ? table_b : table_a;
        spin_lock(&frame_at(first)->table.lock);
        if (second.v != first.v)
            spin_lock(&frame_at(second)->table.lock);
        leaf_set(leaf_a, vm_a, a, table_a);
        leaf_set(leaf_b, vm_b, b, table_b);
        leaf_b->locked = table_a.v != table_b.v;
    }
    if (high != low)
        spin_unlock(&high->lock);
    spin_unlock(&low->lock);
    return found;
}

/* ---- the whole table ----------------------------------------------------------- */

static void drop_leaves(struct mm_vm *vm, pfn_t table, uint32_t first,
                        void (*drop)(struct leaf *leaf))
{
    for (unsigned i = 0; i < LEVEL_COUNT && first + i < vm->config.pages; i++) {
        struct leaf leaf;
        leaf_set(&leaf, vm, gfn(first + i), table);
        drop(&leaf);
        ensure(load(leaf.slot).v == 0);
    }
}

static void destroy_table(struct mm_vm *vm, pfn_t table, unsigned level, uint64_t first,
                          void (*drop)(struct leaf *leaf))
{
    uint64_t step = 1ull << (LEVEL_BITS * (level - 1));
    if (level == 1)
        drop_leaves(vm, table, (uint32_t)first, drop);
    else
        for (unsigned i = 0; i < LEVEL_COUNT; i++) {
            entry_t entry = load(&entries_of(table)[i]);
            if (entry_is_present(entry))
                destroy_table(vm, entry_frame(entry), level - 1, first + i * step, drop);
        }
    vm->tables--;
    frame_free(table);
}

void nested_destroy(struct mm_vm *vm, void (*drop)(struct leaf *leaf))
{
    destroy_table(vm, vm->root, LEVELS, 0, drop);
    vm->root = PFN_NONE;
}

uint32_t nested_worst_case(uint32_t pages)
{
    uint32_t sum = 0;
    uint64_t count = pages;
    for (unsigned level = 1; level <= LEVELS; level++) {
        count = (count + LEVEL_COUNT - 1) >> LEVEL_BITS;
        sum += (uint32_t)count;
    }
    return sum;
}

struct audit_walk {
    struct mm_vm *vm;
    void *context;
    void (*visit)(void *context, struct mm_vm *vm, gfn_t page, entry_t entry);
    void (*table)(void *context, struct mm_vm *vm, pfn_t table, unsigned level, uint32_t entries,
                  uint32_t unsafe);
};

static void audit_table(const struct audit_walk *w, pfn_t table, unsigned level, uint64_t first)
{
    uint64_t step = 1ull << (LEVEL_BITS * (level - 1));
    uint32_t count = 0, unsafe = 0;
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        entry_t entry = load(&entries_of(table)[i]);
        unsafe += !entry_is_safe(entry);
        if (level == 1) {
            enum home home = entry_home(entry);
            count += home != HOME_NONE && home != HOME_ZERO;
            if (first + i < w->vm->config.pages || entry.v != 0)
                w->visit(w->context, w->vm, gfn((uint32_t)(first + i)), entry);
        } else if (entry_is_present(entry)) {
            count++;
            audit_table(w, entry_frame(entry), level - 1, first + i * step);
        }
    }
    w->table(w->context, w->vm, table, level, count, unsafe);
}

void nested_audit(struct mm_vm *vm, void *context,
                  void (*visit)(void *context, struct mm_vm *vm, gfn_t page, entry_t entry),
                  void (*table)(void *context, struct mm_vm *vm, pfn_t table, unsigned level,
                                uint32_t entries, uint32_t unsafe))
{
    struct audit_walk w = { vm, context, visit, table };
    audit_table(&w, vm->root, LEVELS, 0);
}
