/*
 * Nested page tables: finding, making and collapsing them.
 *
 * Four levels; a range without a leaf table is uniform, and the upper entry
 * says so with the home code ZERO (or NONE beyond the guest's memory). Tables
 * are made on demand and charged to the VM; a leaf table whose pages are all
 * ZERO again collapses when its lock is given up. A range may be mapped large
 * (mm/large.h): its leaf table is then found beside the large entry.
 *
 * Locks: the leaf entries of a range of 512 pages, whether it has a leaf table,
 * and the upper entry that says so, are guarded by the range's lock: one of
 * VM_RANGE_LOCKS in the VM, which ranges far apart share. Upper tables stay
 * until their VM ends, so the way down takes no lock, and vCPUs of one VM meet
 * only where they touch the same 2 MiB. Two locks are taken by VM, then stripe.
 */
#ifndef MM_NESTED_H
#define MM_NESTED_H

#include "mm/home.h"

enum nested_mode {
    NESTED_LOOK, /* do not make a table; an absent one is no failure */
    NESTED_TRY,  /* as LOOK, but false when the range is locked by someone else */
    NESTED_MAKE, /* make the table */
    NESTED_TOUCH /* as MAKE; a range without a table may become one large mapping */
};

/* The root, and nothing else. False: no frame. */
bool nested_create(struct mm_vm *vm);

/* A table of this level whose pages are all ZERO (NONE beyond the guest's end), not
 * entered anywhere yet; first: the first page it covers. None: no frame. */
pfn_t nested_table_make(struct mm_vm *vm, unsigned level, uint32_t first);

/* Finds and locks the page's leaf entry. gfn below the VM's size. False: no
 * frame for a table, or (TRY) locked; nothing is held then. */
bool nested_lock(struct mm_vm *vm, gfn_t page, enum nested_mode mode, struct leaf *leaf);
void nested_unlock(struct leaf *leaf);

/* The page at which a hand that saw the leaf goes on: the next one, or the next range
 * of 512 when all of this one is seen with it: `whole`, or there is no leaf table. */
static inline uint32_t nested_next(const struct leaf *leaf, bool whole)
{
    return leaf->slot && !whole ? leaf->gfn.v + 1 : (leaf->gfn.v | 511u) + 1;
}

/* The leaf of a page of the same range, under the lock that `leaf` holds and goes on
 * holding: its table is there. */
static inline struct leaf nested_beside(const struct leaf *leaf, gfn_t page)
{
    struct leaf other = *leaf;
    other.gfn = page;
    other.slot = leaf->slot + ((int64_t)page.v - leaf->gfn.v);
    other.entry.v = __atomic_load_n(&other.slot->v, __ATOMIC_ACQUIRE);
    other.made = other.locked = false;
    return other;
}

/* Both entries, whose tables must exist; false (nothing held) when one does not.
 * Given up in either order; no page of them may become ZERO meanwhile. */
bool nested_lock_pair(struct mm_vm *vm_a, gfn_t a, struct leaf *leaf_a, struct mm_vm *vm_b, gfn_t b,
                      struct leaf *leaf_b);

/* Calls drop for every page that is not NONE, which must leave it NONE, and
 * frees every table. The VM does not run and its translations are flushed. */
void nested_destroy(struct mm_vm *vm, void (*drop)(struct leaf *leaf));

/* Frames a VM's tables can need at most. */
uint32_t nested_worst_case(uint32_t pages);

/* What a table's entries are; of level 1: `entries` neither NONE nor ZERO. */
struct nested_count {
    uint32_t entries, present, unsafe;
};

/* Calls visit for every leaf entry of every leaf table, and table (where there is one
 * to call) for every table (level 1 is the leaf); large for every large mapping, with the number of
 * pages that its table has elsewhere or with other rights. For the audit: nothing
 * is locked. */
void nested_audit(struct mm_vm *vm, void *context,
                  void (*visit)(void *context, struct mm_vm *vm, gfn_t page, entry_t entry),
                  void (*table)(void *context, struct mm_vm *vm, pfn_t table, unsigned level,
                                struct nested_count count),
                  void (*large)(void *context, struct mm_vm *vm, gfn_t first, uint32_t astray));

#endif
