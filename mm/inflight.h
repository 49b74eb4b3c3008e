/*
 * In-flight records: one for each page (or pool object) whose content is on its
 * way. All are set aside at boot, so that nothing on a path that frees memory
 * allocates. The leaf says BUSY_OUT or BUSY_IN and names the record; the record
 * says where the content is meanwhile and where it goes back to when the I/O
 * fails.
 *
 *   kind           leaf      content meanwhile      done        failed
 *   OUT_PRIVATE    BUSY_OUT  frame                  SWAP ...    PRIVATE
 *   OUT_SHARED     BUSY_OUT  frame (a sharer still) COUNTED     SHARED
 *   OUT_POOL       BUSY_OUT  pool object            SWAP        POOL
 *   OUT_COUNTED    COUNTED   pool object            (object moved to swap)
 *   IN_SWAP        BUSY_IN   slot                   PRIVATE     SWAP, VM stopped
 *   IN_COUNTED     BUSY_IN   the object's slot      PRIVATE     COUNTED, VM stopped
 *   IN_AHEAD       BUSY_IN   slot                   PRIVATE     SWAP (mm/read_ahead.h)
 *
 * Lock: a record belongs to whoever took it, all but kind and vm, which a lock of
 * its own guards, innermost but for wait.c's; that one guards the waiters' lists.
 */
#ifndef MM_INFLIGHT_H
#define MM_INFLIGHT_H

#include "mm/mm.h"
#include "mm/pool.h"
#include "mm/swap.h"

#define INFLIGHT_COUNT 64u
/* Page-outs leave this many to page-ins, for which vCPUs wait; what is read ahead as
 * many more. */
#define INFLIGHT_FOR_PAGE_INS 16u

enum inflight_kind {
    INFLIGHT_FREE,
    INFLIGHT_OUT_PRIVATE,
    INFLIGHT_OUT_SHARED,
    INFLIGHT_OUT_POOL,
    INFLIGHT_OUT_COUNTED,
    INFLIGHT_IN_SWAP,
    INFLIGHT_IN_COUNTED,
    INFLIGHT_IN_AHEAD
};

struct inflight {
    enum inflight_kind kind;
    struct mm_vm *vm; /* NULL for OUT_COUNTED */
    gfn_t gfn;
    pfn_t frame;              /* OUT_PRIVATE, OUT_SHARED: source; IN: destination */
    pool_location_t location; /* OUT_POOL */
    uint32_t object;          /* counted object */
    uint32_t block_size;      /* OUT_POOL: LZ4 bytes, for the books */
    swap_slot_t slot;         /* IN_SWAP, IN_AHEAD: where it comes from; OUT_PRIVATE: clean slot
                               * or none */
    struct mm_vcpu *vcpu;     /* IN: for whose floor; NULL when it is gone, or nobody waits */
    struct swap_io io;
    struct list_node waiters; /* mm_vcpu.wait_link */
};

void inflight_init(void);
/* For a page of vm (NULL: of no VM). NULL: none left for this purpose. */
struct inflight *inflight_take(enum inflight_kind kind, struct mm_vm *vm);
/* Wakes the waiters and gives the record back. The last thing a completion does
 * with the record's VM, which may be destroyed from then on. */
void inflight_release(struct inflight *record);

unsigned inflight_index(const struct inflight *record);
struct inflight *inflight_at(uint64_t index);
/* The record with this index, NULL when it is free: for the audit. */
struct inflight *inflight_peek(unsigned index);
/* Records in use: of the VM, or (NULL) of anyone. */
unsigned inflight_count(const struct mm_vm *vm);
/* Page-outs under way, of anyone: frames that will be free soon. */
unsigned inflight_outs(void);
/* Does a vCPU wait for a page that is on its way out? */
bool inflight_outs_awaited(void);

#endif
