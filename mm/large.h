/*
 * Large mappings: 2 MiB of guest memory by one entry of level 2.
 *
 *   upper entry   non-present: no table, all pages ZERO
 *                 table:       512 leaf entries, the processor walks them
 *                 large:       512 private frames that are neighbours; the leaf table is
 *                              kept beside it, complete, and no processor sees it
 *
 * The leaf table of a large mapping names the same frames with the same rights. So
 * all of the core goes on to see 512 private pages, each with its leaf entry and its
 * frame's descriptor, and cutting a mapping into pages allocates nothing: the
 * table takes its place. The descriptor of the first frame knows the table.
 *
 *   large_touch     512 pages ZERO => PRIVATE by the first touch of one, state high
 *   large_split     by whoever changes one page: home_change(), home_adjust(); by a
 *                   fetch, where large pages may not be executed from; from state clear
 *                   on, by large_step(). Pages that hold zeros => ZERO on the way, so that
 *                   large mappings make no guest larger than it is when memory is short
 *   large_coalesce  512 private pages => a block of their own, state high for a while
 *
 * Between table and large, in either direction, the upper entry is non-present across
 * a flush: no processor ever holds translations of both sizes, accessed and dirty bits
 * are final before they are handed on, and a page that moves has no writer.
 *
 * Erratum of many Intel processors (CVE-2018-12207): a guest that changes the size of
 * its own pages under a large nested mapping can stop the processor with a machine
 * check by executing there. On those mm_config.large_execute is false.
 *
 * Locks: the range's lock for all of it; large_step() has core.step_lock too.
 */
#ifndef MM_LARGE_H
#define MM_LARGE_H

#include "mm/home.h"

#define LARGE_PAGES FRAME_BLOCK

/* Settles how much must stay free; after reclaim_init(). */
void large_init(void);

/* Is so much memory free that large mappings cost nobody anything? */
bool large_is_plenty(void);

/* Is the locked page part of a large mapping now? */
static inline bool large_holds(const struct leaf *leaf)
{
    return leaf->upper &&
           entry_is_large((entry_t){ __atomic_load_n(&leaf->upper->v, __ATOMIC_ACQUIRE) });
}

/* A range without a table, whose first page is `first`: maps it large when memory is
 * plenty, the VM's limit allows it and there is a block. The leaf table; none: not. */
pfn_t large_touch(struct mm_vm *vm, entry_t *upper, uint32_t first);

/* The leaf table beside a large entry. */
pfn_t large_table(entry_t large);

/* Cuts the mapping that holds the leaf into pages. Flushes. */
void large_split(struct leaf *leaf);
/* The same at the end of a VM that does not run and is flushed; returns the table. */
pfn_t large_end(struct mm_vm *vm, entry_t *upper);

/* Was any of its pages accessed since this was last asked? Sets *cleared when the VM
 * must be flushed before the answer can be a new one. */
bool large_was_accessed(const struct leaf *leaf, bool *cleared);

/* Once a tick, bounded: cuts a mapping in state clear and worse, coalesces a range
 * when the state has been high for a while. */
void large_step(void);

#endif
