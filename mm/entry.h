/*
 * One entry of a nested table: the authority for where a guest page's content
 * is. Two formats of the hardware's share one layout; what differs is data
 * (struct entry_format), chosen once in mm_init(). mm/entry_ept.h and
 * mm/entry_npt.h hold the two.
 *
 *   present        63 ..... 53 52  51 ................ 12  11 ........... 3  2 1 0
 *                   0 AHEAD,        frame number            as the format     X W R
 *                      LOGGED,
 *                      SHARED
 *   away (leaf or  63 | 62 ....... 52 | 51 ........ 12 | 11 | 10 | 9..7 | 6 .. 3 | 2 1 0
 *   upper level)    0 | payload 10..0 | ~(payload>>11) |  0 |  0 |   0  |  home  | 0 0 0
 *   NONE           all zero bits
 *
 * Bits 0 and 1 mean the same in both; bit 2 is set in every present entry of 4 KiB,
 * as "execute" in one format and as "user" in the other. Bit 7 of an upper entry
 * says in both that it is a leaf itself: of level 2, a large page of 2 MiB.
 *
 * L1TF (P15): a CPU that takes a non-present entry for an address must find
 * none in cacheable memory. Bits 12..51 hold the payload inverted, and
 * entry_init() bounds the payload so that the highest bit of the machine's
 * physical address is always 1 there, while no managed frame lies in that half.
 */
#ifndef MM_ENTRY_H
#define MM_ENTRY_H

#include "lib/types.h"

typedef struct {
    uint64_t v;
} entry_t;

/* Where a guest page's content is. The codes are part of the entry format. */
enum home {
    HOME_NONE,     /* no memory here */
    HOME_ZERO,     /* nowhere: reads as zero */
    HOME_FILL,     /* nowhere: one word repeated; payload: index in the VM's fill table */
    HOME_PRIVATE,  /* its own frame */
    HOME_SHARED,   /* a merged, read-only frame */
    HOME_POOL,     /* payload: pool_location_t */
    HOME_SWAP,     /* payload: swap_slot_t */
    HOME_COUNTED,  /* merged and paged out; payload: index of a counted object */
    HOME_BALLOON,  /* the guest gave it up */
    HOME_BUSY_OUT, /* on its way out; payload: index of an in-flight record */
    HOME_BUSY_IN,  /* on its way in; payload: index of an in-flight record */
    HOME_COUNT
};

#define ENTRY_READ  (1ull << 0)
#define ENTRY_WRITE (1ull << 1)
#define ENTRY_EXEC  (1ull << 2)
#define ENTRY_RWX   (ENTRY_READ | ENTRY_WRITE | ENTRY_EXEC)

/* What the formats do not have in common. */
struct entry_format {
    uint64_t leaf;     /* set in every present leaf: memory type */
    uint64_t accessed; /* set by the processor, in leaves */
    uint64_t dirty;
    uint64_t data_set, data_clear; /* of an entry that allows no execution */
};
/* Settled by mm_init(), the same for all VMs. */
extern struct entry_format entry_format;
#define ENTRY_ACCESSED (entry_format.accessed)
#define ENTRY_DIRTY    (entry_format.dirty)

#define ENTRY_SHARED (1ull << 52) /* software: the frame is SHARED */
#define ENTRY_LOGGED (1ull << 53) /* software: kept for dirty logging */
#define ENTRY_AHEAD  (1ull << 54) /* software: read ahead, not seen in use (mm/read_ahead.h) */
#define ENTRY_LARGE  (1ull << 7)  /* in an upper entry that is present: a leaf */
#define ENTRY_FRAME  0x000ffffffffff000ull

#define ENTRY_HOME_SHIFT 3
#define ENTRY_HOME_MASK  (0xfull << ENTRY_HOME_SHIFT)
#define ENTRY_LOW_BITS   11 /* of the payload, in bits 52..62 */
#define ENTRY_LOW_SHIFT  52
/* Bits no away entry may have set. */
#define ENTRY_AWAY_CLEAR (ENTRY_RWX | (0x1full << 7) | (1ull << 63))

/* The format of all entries made from now on; NULL: the one of mm/entry_ept.h. */
void entry_format_choose(const struct entry_format *format);

/* max_physical_bits: CPUID 80000008h EAX[7:0]; highest: highest managed frame
 * number. False when this machine's address width cannot hide the payloads the
 * core needs, or memory lies in the half they point to. */
bool entry_init(unsigned max_physical_bits, uint32_t highest);

/* Payloads below this fit. */
uint64_t entry_payload_limit(void);

static inline bool entry_is_present(entry_t e)
{
    return (e.v & ENTRY_RWX) != 0;
}
static inline bool entry_is_writable(entry_t e)
{
    return (e.v & ENTRY_WRITE) != 0;
}
static inline bool entry_is_accessed(entry_t e)
{
    return (e.v & ENTRY_ACCESSED) != 0;
}
/* Of level 2: does it map 2 MiB? */
static inline bool entry_is_large(entry_t e)
{
    return entry_is_present(e) && (e.v & ENTRY_LARGE);
}
static inline bool entry_is_dirty(entry_t e)
{
    return (e.v & ENTRY_DIRTY) != 0;
}
/* Of a present entry: read ahead and not seen in use so far? Used meanwhile? */
static inline bool entry_is_ahead(entry_t e)
{
    return entry_is_present(e) && (e.v & ENTRY_AHEAD);
}
static inline bool entry_is_used(entry_t e)
{
    return (e.v & (ENTRY_ACCESSED | ENTRY_DIRTY)) != 0;
}
static inline enum home entry_home(entry_t e)
{
    if (entry_is_present(e))
        return (e.v & ENTRY_SHARED) ? HOME_SHARED : HOME_PRIVATE;
    return (enum home)((e.v & ENTRY_HOME_MASK) >> ENTRY_HOME_SHIFT);
}
static inline pfn_t entry_frame(entry_t e)
{
    return pfn((uint32_t)((e.v & ENTRY_FRAME) >> PAGE_SHIFT));
}

entry_t entry_private(pfn_t frame); /* RWX */
entry_t entry_shared(pfn_t frame);  /* R-X */
entry_t entry_table(pfn_t frame);   /* upper level */
/* Level 2: 512 private frames from this one on; RWX, or without execution. */
entry_t entry_large(pfn_t frame, bool execute);
/* home: one that is not present; payload below entry_payload_limit(). */
entry_t entry_away(enum home home, uint64_t payload);
uint64_t entry_payload(entry_t e);

/* False for an entry that breaks the L1TF rule (P15). */
bool entry_is_safe(entry_t e);

#endif
