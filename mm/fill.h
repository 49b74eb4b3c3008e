/*
 * A VM's table of fill words: contents that are one 64-bit word repeated are
 * kept as a word and a count. One table a VM, so that no word crosses VMs.
 *
 * Lock: its own, inside range locks.
 */
#ifndef MM_FILL_H
#define MM_FILL_H

#include "mm/locks.h"
#include "lib/types.h"

#define FILL_WORDS 64u

struct fill_table {
    struct spinlock lock;
    uint64_t words[FILL_WORDS];
    uint32_t refs[FILL_WORDS]; /* pages; 0: the slot is free */
};

/* One more page holds word. False when the table is full: the page stays. */
bool fill_take(struct fill_table *table, uint64_t word, unsigned *index);
/* A page leaves FILL. */
void fill_drop(struct fill_table *table, unsigned index);
uint64_t fill_word(struct fill_table *table, unsigned index);

/* Fills a page with a word. */
void fill_page(void *page, uint64_t word);

#endif
