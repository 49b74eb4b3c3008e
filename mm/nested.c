/*
 * Nested page tables; see nested.h.
 *
 * Source: Intel SDM volume 3C, 29.3.2, and AMD APM volume 2, 5.3: four levels of
 * 512 entries, 9 bits of the address each; upper present entries carry permissions
 * and an address only, of a table or, at level 2, of a large page.
 */
#include "mm/nested.h"
#include "lib/string.h"
#include "mm/core.h"
#include "mm/large.h"
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

pfn_t nested_table_make(struct mm_vm *vm, unsigned level, uint32_t first)
{
    pfn_t table = frame_alloc(FRAME_TABLE, FRAME_TABLES);
    if (pfn_is_none(table))
        return table;
    frame_at(table)->tag = vm->id;
    entry_t zero = entry_away(HOME_ZERO, 0), *entries = entries_of(table);
    uint64_t step = 1ull << (LEVEL_BITS * (level - 1));
    for (unsigned i = 0; i < LEVEL_COUNT; i++)
        entries[i] = first + i * step < vm->config.pages ? zero : (entry_t){ 0 };
    atomic_add(vm->tables, 1);
    return table;
}

bool nested_create(struct mm_vm *vm)
{
    vm->root = nested_table_make(vm, LEVELS, 0);
    vm->last_walk = UINT64_MAX;
    return !pfn_is_none(vm->root);
}

/* The table an upper entry names, or has beside it; none: the range is uniform. */
static pfn_t below(entry_t entry)
{
    if (entry_is_large(entry))
        return large_table(entry);
    return entry_is_present(entry) ? entry_frame(entry) : PFN_NONE;
}

/* The table below `table` (at `level`), none when that range is uniform. */
static pfn_t step_down(pfn_t table, unsigned level, uint32_t page)
{
    return below(load(&entries_of(table)[index_at(page, level)]));
}

/* The same, made when missing. What guards the entry is held: the range's lock
 * for a leaf table, the VM's for others. */
static pfn_t step_make(struct mm_vm *vm, pfn_t table, unsigned level, uint32_t page)
{
    pfn_t found = step_down(table, level, page);
    if (!pfn_is_none(found))
        return found;
    entry_t *slot = &entries_of(table)[index_at(page, level)];
    ensure(entry_home(load(slot)) == HOME_ZERO);
    found = nested_table_make(vm, level - 1, range_start(page, level));
    if (!pfn_is_none(found)) {
        atomic_add(frame_at(table)->table.entries, 1);
        store(slot, entry_table(found));
    }
    return found;
}

/* The table of level 2. Upper tables stay until the VM ends, so the way down
 * needs no lock unless one has to be made. */
static __attribute__((noinline)) pfn_t walk_down(struct mm_vm *vm, uint32_t page, bool make)
{
    pfn_t table = vm->root;
    for (unsigned level = LEVELS; level > 2 && !pfn_is_none(table); level--) {
        pfn_t next = step_down(table, level, page);
        if (pfn_is_none(next) && make) {
            spin_lock(&vm->lock);
            next = step_make(vm, table, level, page);
            spin_unlock(&vm->lock);
        }
        table = next;
    }
    if (!pfn_is_none(table))
        __atomic_store_n(&vm->last_walk, (uint64_t)(page >> 2 * LEVEL_BITS) << 32 | table.v,
                         __ATOMIC_RELEASE);
    return table;
}

/* The same when it is where the last walk led, as it is in VMs of up to 1 GiB. */
static inline pfn_t walk(struct mm_vm *vm, uint32_t page, bool make)
{
    uint64_t last = __atomic_load_n(&vm->last_walk, __ATOMIC_ACQUIRE);
    if (last >> 32 == page >> 2 * LEVEL_BITS)
        return pfn((uint32_t)last);
    return walk_down(vm, page, make);
}

/* ---- locks ------------------------------------------------------------------- */

static struct spinlock *range_lock(struct mm_vm *vm, uint32_t page)
{
    return &vm->ranges[(page >> LEVEL_BITS) % VM_RANGE_LOCKS];
}

/* A leaf as its table has it; of a large mapping, the processor's bits are above. */
static void leaf_set(struct leaf *leaf, struct mm_vm *vm, gfn_t page, pfn_t table, entry_t *upper)
{
    leaf->vm = vm;
    leaf->gfn = page;
    leaf->locked = true;
    leaf->made = false;
    leaf->upper = upper;
    if (pfn_is_none(table)) {
        leaf->slot = leaf->upper = NULL;
        leaf->table = NULL;
        leaf->entry = entry_away(HOME_ZERO, 0);
        return;
    }
    leaf->slot = &entries_of(table)[index_at(page.v, 1)];
    leaf->table = frame_at(table);
    leaf->entry = load(leaf->slot);
    if (large_holds(leaf))
        leaf->entry.v |= load(upper).v & (ENTRY_ACCESSED | ENTRY_DIRTY);
}

/* A range without a leaf table gets one, or a large mapping with a table beside it; none:
 * no frame. The range's lock is held. */
static __attribute__((noinline)) pfn_t leaf_table_make(struct mm_vm *vm, pfn_t above, uint32_t page,
                                                       enum nested_mode mode, bool *made)
{
    pfn_t table = PFN_NONE;
    if (mode == NESTED_TOUCH)
        table = large_touch(vm, &entries_of(above)[index_at(page, 2)], range_start(page, 2));
    *made = !pfn_is_none(table);
    if (*made)
        atomic_add(frame_at(above)->table.entries, 1);
    return *made ? table : step_make(vm, above, 2, page);
}

/* The range's lock is held. False: it has no leaf table. */
static inline __attribute__((always_inline)) bool
leaf_find(struct mm_vm *vm, gfn_t page, enum nested_mode mode, struct leaf *leaf)
{
    bool make = mode == NESTED_MAKE || mode == NESTED_TOUCH, made = false;
    pfn_t above = walk(vm, page.v, make), table = PFN_NONE;
    entry_t *upper = NULL;
    if (!pfn_is_none(above)) {
        upper = &entries_of(above)[index_at(page.v, 2)];
        table = below(load(upper));
        if (pfn_is_none(table) && make)
            table = leaf_table_make(vm, above, page.v, mode, &made);
    }
    leaf_set(leaf, vm, page, table, upper);
    leaf->made = made;
    return !pfn_is_none(table);
}

bool nested_lock(struct mm_vm *vm, gfn_t page, enum nested_mode mode, struct leaf *leaf)
{
    ensure(page.v < vm->config.pages);
    struct spinlock *lock = range_lock(vm, page.v);
    if (mode != NESTED_TRY)
        spin_lock(lock);
    else if (!spin_try_lock(lock))
        return false;
    bool found = leaf_find(vm, page, mode, leaf);
    if (!found)
        spin_unlock(lock);
    return found || mode == NESTED_LOOK || mode == NESTED_TRY;
}

/* A leaf table without any page but ZERO and NONE: the range becomes uniform,
 * the table is freed after the flush. The range's lock is held. */
static __attribute__((noinline)) void collapse(struct mm_vm *vm, uint32_t page)
{
    pfn_t above = walk(vm, page, false);
    pfn_t table = step_down(above, 2, page);
    store(&entries_of(above)[index_at(page, 2)], entry_away(HOME_ZERO, 0));
    atomic_sub(frame_at(above)->table.entries, 1);
    core_flush(vm);
    atomic_sub(vm->tables, 1);
    frame_free(table);
    core_count(MM_HOST_tables_collapsed, 1);
}

void nested_unlock(struct leaf *leaf)
{
    if (!leaf->slot)
        return;
    leaf->slot = NULL;
    if (!leaf->locked)
        return;
    if (leaf->table->table.entries == 0)
        collapse(leaf->vm, leaf->gfn.v);
    spin_unlock(range_lock(leaf->vm, leaf->gfn.v));
}

bool nested_lock_pair(struct mm_vm *vm_a, gfn_t a, struct leaf *leaf_a, struct mm_vm *vm_b, gfn_t b,
                      struct leaf *leaf_b)
{
    struct spinlock *lock_a = range_lock(vm_a, a.v), *lock_b = range_lock(vm_b, b.v);
    struct spinlock *first = lock_a <= lock_b ? lock_a : lock_b;
    struct spinlock *second = first == lock_a ? lock_b : lock_a;
    spin_lock(first);
    if (second != first)
        spin_lock(second);
    bool found = leaf_find(vm_a, a, NESTED_LOOK, leaf_a) && leaf_find(vm_b, b, NESTED_LOOK, leaf_b);
    if (found) {
        leaf_b->locked = second != first;
        return true;
    }
    if (second != first)
        spin_unlock(second);
    spin_unlock(first);
    return false;
}

/* ---- the whole table ----------------------------------------------------------- */

static void drop_leaves(struct mm_vm *vm, pfn_t table, uint32_t first,
                        void (*drop)(struct leaf *leaf))
{
    spin_lock(range_lock(vm, first));
    for (unsigned i = 0; i < LEVEL_COUNT && first + i < vm->config.pages; i++) {
        struct leaf leaf;
        leaf_set(&leaf, vm, gfn(first + i), table, NULL);
        drop(&leaf);
        ensure(load(leaf.slot).v == 0);
    }
    spin_unlock(range_lock(vm, first));
}

static void destroy_table(struct mm_vm *vm, pfn_t table, unsigned level, uint64_t first,
                          void (*drop)(struct leaf *leaf))
{
    uint64_t step = 1ull << (LEVEL_BITS * (level - 1));
    if (level == 1)
        drop_leaves(vm, table, (uint32_t)first, drop);
    else
        for (unsigned i = 0; i < LEVEL_COUNT; i++) {
            entry_t *slot = &entries_of(table)[i];
            pfn_t found = entry_is_large(load(slot)) ? large_end(vm, slot) : below(load(slot));
            if (!pfn_is_none(found))
                destroy_table(vm, found, level - 1, first + i * step, drop);
        }
    atomic_sub(vm->tables, 1);
    frame_free(table);
}

void nested_destroy(struct mm_vm *vm, void (*drop)(struct leaf *leaf))
{
    destroy_table(vm, vm->root, LEVELS, 0, drop);
    vm->root = PFN_NONE;
    vm->last_walk = UINT64_MAX;
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
    void (*table)(void *context, struct mm_vm *vm, pfn_t table, unsigned level,
                  struct nested_count count);
    void (*large)(void *context, struct mm_vm *vm, gfn_t first, uint32_t astray);
};

/* Does the table beside a large entry say the same of all its pages? */
static void audit_large(const struct audit_walk *w, entry_t large, uint64_t first)
{
    uint32_t astray = 0;
    const entry_t *entries = entries_of(large_table(large));
    for (uint32_t i = 0; i < LEVEL_COUNT; i++) {
        entry_t entry = load(&entries[i]);
        astray += entry_home(entry) != HOME_PRIVATE || !entry_is_writable(entry) ||
                  entry_frame(entry).v != entry_frame(large).v + i;
    }
    w->large(w->context, w->vm, gfn((uint32_t)first), astray);
}

static void audit_table(const struct audit_walk *w, pfn_t table, unsigned level, uint64_t first)
{
    uint64_t step = 1ull << (LEVEL_BITS * (level - 1));
    struct nested_count count = { 0 };
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        entry_t entry = load(&entries_of(table)[i]);
        count.unsafe += !entry_is_safe(entry);
        count.present += entry_is_present(entry);
        if (level == 1) {
            enum home home = entry_home(entry);
            count.entries += home != HOME_NONE && home != HOME_ZERO;
            if (first + i < w->vm->config.pages || entry.v != 0)
                w->visit(w->context, w->vm, gfn((uint32_t)(first + i)), entry);
        } else if (entry_is_present(entry)) {
            count.entries++;
            if (entry_is_large(entry) && w->large)
                audit_large(w, entry, first + i * step);
            audit_table(w, below(entry), level - 1, first + i * step);
        }
    }
    if (w->table)
        w->table(w->context, w->vm, table, level, count);
}

void nested_audit(struct mm_vm *vm, void *context,
                  void (*visit)(void *context, struct mm_vm *vm, gfn_t page, entry_t entry),
                  void (*table)(void *context, struct mm_vm *vm, pfn_t table, unsigned level,
                                struct nested_count count),
                  void (*large)(void *context, struct mm_vm *vm, gfn_t first, uint32_t astray))
{
    struct audit_walk w = { vm, context, visit, table, large };
    audit_table(&w, vm->root, LEVELS, 0);
}
