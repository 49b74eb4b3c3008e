/*
 * Books of the swap area: which cells are taken, where each slot's extent lies
 * and how often the slot was used. Private to mm/swap*.c; the swap lock is held
 * around every call.
 *
 * The area is divided into cells of nine sectors, the worst case of one page.
 * An extent lies within one cell, and a cell is handed out only when it is
 * wholly free. So N extents never occupy more than N cells, and an area of N
 * cells holds any N pages, whatever was written and freed before: admission can
 * count on it. Small extents of one cluster share cells.
 *
 *   cells  |9 sectors|9 sectors|9 sectors|
 *          |aaaaaaaaa|bbbbb cc |dddd eeee|
 *
 * Both tables grow by a frame (FRAME_BOOK) when first needed and never shrink.
 */
#ifndef MM_SWAP_BOOKS_H
#define MM_SWAP_BOOKS_H

#include "lib/types.h"
#include "mm/swap.h"

#define SWAP_CELL_SECTORS 9u
#define SWAP_CELL_BYTES   (SWAP_CELL_SECTORS * BLOCK_SECTOR_SIZE)

/* ---- a table that grows page by page ------------------------------------------- */

#define SWAP_BOOK_DIRECT        32u /* pages that need no directory: small hosts have no others */
#define SWAP_BOOK_DIRECTORIES   64u
#define SWAP_BOOK_PER_DIRECTORY (PAGE_SIZE / 4u)

struct swap_book {
    uint32_t direct[SWAP_BOOK_DIRECT];           /* frame numbers; 0: none yet */
    uint32_t directories[SWAP_BOOK_DIRECTORIES]; /* the same */
    uint32_t frames;                             /* taken, directories included */
};

/* Page `index` of the table, zero where never written; NULL when not there. */
void *swap_book_page(const struct swap_book *book, uint32_t index);
/* The same, but made when missing; NULL when there was no frame for it. */
void *swap_book_make(struct swap_book *book, uint32_t index);

/* ---- cells ------------------------------------------------------------------------ */

struct swap_cells {
    struct swap_book book; /* four bits a cell: live extents, or SWAP_CELL_BAD */
    uint32_t count, free, bad;
    uint32_t cursor; /* where the next search begins */
    uint32_t known;  /* cells below this have their page in the book; the rest is free */
};
#define SWAP_CELL_BAD 15u
/* 2^28 sectors: what an extent can name. 128 GiB. */
#define SWAP_CELLS_MAX ((1u << 28) / SWAP_CELL_SECTORS)

void swap_cells_init(struct swap_cells *cells, uint32_t count);

/* A run of at most `most` free neighbours, behind the last one found where
 * possible; returns its length, 0 when there is none or no frame for the book.
 * Nothing is taken yet. */
uint32_t swap_cells_find(struct swap_cells *cells, uint32_t most, uint32_t *first);
/* One extent more in a cell whose run was found. */
void swap_cells_take(struct swap_cells *cells, uint32_t cell);
/* One extent less. */
void swap_cells_give(struct swap_cells *cells, uint32_t cell);
/* Never to be used again, whatever it held. */
void swap_cells_set_bad(struct swap_cells *cells, uint32_t cell);

/* ---- slots ------------------------------------------------------------------------- */

/* Sectors counted from the first cell. */
struct swap_extent {
    uint32_t sector;
    uint32_t sectors; /* 1 .. SWAP_CELL_SECTORS */
};

struct swap_slots {
    struct swap_book book;
    uint32_t made;       /* entries below this were in use at least once */
    uint32_t free_first; /* chain of free entries, SWAP_SLOTS_MAX: empty */
    uint32_t used, retired;
};
#define SWAP_SLOTS_MAX ((1u << 25) - 1)

void swap_slots_init(struct swap_slots *slots);

/* Takes a slot for the extent, with a generation it never had. SWAP_SLOT_NONE
 * when there is no frame for the book or no slot. */
swap_slot_t swap_slots_take(struct swap_slots *slots, struct swap_extent extent);
/* False for a slot that is not in use. */
bool swap_slots_look(const struct swap_slots *slots, swap_slot_t slot, struct swap_extent *extent,
                     uint32_t *generation);
/* The slot must be in use. One whose generations are used up is retired. */
void swap_slots_give(struct swap_slots *slots, swap_slot_t slot);

/* 8 bytes a slot. Tests reach for them. */
struct swap_slot_entry {
    /* In use: sector << 4 | sectors. Free: next free slot << 4. Retired: 15. */
    uint32_t extent;
    uint32_t generation;
};
struct swap_slot_entry *swap_slots_entry(const struct swap_slots *slots, swap_slot_t slot);

#endif
