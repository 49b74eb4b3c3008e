/*
 * The life of a guest page: which home may follow which, and the one function
 * through which a leaf entry gets another home. Who reads home.c's table has
 * read the life of a page; docs/life-of-a-page.md draws it.
 *
 * home_change() checks the move against the table, exchanges the entry by
 * compare-and-swap (the processor sets accessed and dirty bits meanwhile),
 * keeps the counts per VM and per leaf table, and traces the move. The caller
 * holds the range's lock, and flushes before it reuses a frame. A page that is part
 * of a large mapping is cut out of it first (mm/large.h).
 */
#ifndef MM_HOME_H
#define MM_HOME_H

#include "mm/entry.h"
#include "mm/mm.h"

/* A leaf entry under its range's lock (nested_lock()). */
struct leaf {
    struct mm_vm *vm;
    gfn_t gfn;
    entry_t *slot;  /* NULL: no leaf table, the whole range is `entry` */
    entry_t *upper; /* the entry that names the leaf table, or maps the range large */
    entry_t entry;  /* as last read or written */
    struct frame *table;
    bool made;   /* NESTED_TOUCH found nothing and mapped the range large */
    bool locked; /* this leaf gives the lock up (false for the second of a pair under one) */
};

/* Is the move legal? */
bool home_may_change(enum home from, enum home to);
const char *home_name(enum home home);

/* Moves the page to its new home. leaf->entry becomes `to`; returns the entry
 * as it was at the moment of the exchange, accessed and dirty bits included. */
entry_t home_change(struct leaf *leaf, entry_t to);

/* Changes bits of a present entry, not its home: set, then clear. For write
 * protection (caller flushes), accessed and dirty bits. Setting those two leaves a
 * large mapping whole. An entry that was read ahead and is in use loses its mark. */
void home_adjust(struct leaf *leaf, uint64_t set, uint64_t clear);

/* The latest moves, for whoever must find out what went wrong. */
void home_init(void);
struct home_trace {
    uint32_t gfn;
    uint16_t vm;
    uint8_t from, to;
};
#define HOME_TRACE_COUNT 64u
/* The latest moves that this CPU made, oldest first; returns how many (at most
 * HOME_TRACE_COUNT). */
unsigned home_trace_get(struct home_trace trace[HOME_TRACE_COUNT]);

#endif
