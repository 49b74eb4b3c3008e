/*
 * Reading ahead from swap: SWAP => BUSY_IN => PRIVATE for pages that nobody has asked for
 * yet, beside one that a guest waits for.
 *
 * Which. The guest's own order says what comes next, the disk's what comes cheap:
 * neighbours by guest page number, in the direction in which the guest came, whose
 * extents lie close enough together for one request. Slots alone would bring in pages of
 * other VMs and of other times; page numbers alone cost a request each once the order on
 * the disk is another one (Linux went from the one to the other, `swap_vma_readahead`,
 * and reads by slot where seeking is dear). The page number also needs no map from slots
 * to owners, and the neighbour's entry is under the lock that the fault holds.
 *
 * How many. Each VM has a window, at most swap_read_ahead pages, which doubles when three
 * quarters of what was judged last were used, and is halved when less than half were; at
 * 0 a few pages are tried now and then. A page is mapped at once, not accessed, with the
 * mark ENTRY_AHEAD: it is judged when something finds it accessed, or when it leaves.
 * Where as many pages as four windows are unjudged nothing more is read, so
 * what is wasted is bounded also where nothing ever looks.
 *
 * When. Memory is free beyond what reclaim wants, the VM stays below its target, the
 * swap area has room for clean slots, nothing of the VM is being read ahead, and the
 * device has nothing else to do. Without accessed bits: never, since nothing would tell
 * use from waste.
 *
 * What goes wrong stays unnoticed: the page is in its slot again, and whoever wants it
 * reads it. A page that is never used keeps its clean slot, is cold from the beginning,
 * and leaves without a write. No flush: entries only become present.
 *
 * Locks: the leaves' range lock; counts are atomic.
 */
#ifndef MM_READ_AHEAD_H
#define MM_READ_AHEAD_H

#include "mm/home.h"

/* The window that a VM begins with. */
uint32_t read_ahead_begin(void);

/* The leaf is locked and has just become BUSY_IN, its read with the device. */
void read_ahead_beside(const struct leaf *leaf);

/* A page that was read ahead was used, or has left without. By home.c. */
void read_ahead_judge(struct mm_vm *vm, bool used);

#endif
