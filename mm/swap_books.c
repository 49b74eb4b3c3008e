/*
 * Cells and slots of the swap area; see swap_books.h.
 */
#include "mm/swap_books.h"

#include "lib/assert.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/machine.h"

/* ---- the growing table ---------------------------------------------------------- */

static uint32_t book_frame(struct swap_book *book)
{
    pfn_t number = frame_alloc(FRAME_BOOK, FRAME_RECLAIM);
    if (pfn_is_none(number))
        return 0;
    ensure(number.v != 0); /* 0 says "none" in the directories */
    memset(machine_frame_map(number), 0, PAGE_SIZE);
    book->frames++;
    return number.v;
}

/* Where the page's frame number stands; NULL: its directory is missing. */
static const uint32_t *book_place(const struct swap_book *book, uint32_t index)
{
    if (index < SWAP_BOOK_DIRECT)
        return &book->direct[index];
    uint32_t directory = book->directories[index / SWAP_BOOK_PER_DIRECTORY];
    const uint32_t *pages = directory ? machine_frame_map(pfn(directory)) : NULL;
    return pages ? &pages[index % SWAP_BOOK_PER_DIRECTORY] : NULL;
}

void *swap_book_page(const struct swap_book *book, uint32_t index)
{
    const uint32_t *place = book_place(book, index);
    return place && *place ? machine_frame_map(pfn(*place)) : NULL;
}

void *swap_book_make(struct swap_book *book, uint32_t index)
{
    uint32_t *directory = &book->directories[index / SWAP_BOOK_PER_DIRECTORY];
    if (index >= SWAP_BOOK_DIRECT && !*directory)
        *directory = book_frame(book);
    uint32_t *place = (uint32_t *)book_place(book, index);
    if (place && !*place)
        *place = book_frame(book);
    return place && *place ? machine_frame_map(pfn(*place)) : NULL;
}

/* ---- cells ------------------------------------------------------------------------ */

#define CELLS_PER_WORD 16u
#define CELLS_PER_PAGE (PAGE_SIZE / 8u * CELLS_PER_WORD)
#define EACH_CELL_1    0x1111111111111111ull

void swap_cells_init(struct swap_cells *cells, uint32_t count)
{
    assert(count <= SWAP_CELLS_MAX);
    memset(cells, 0, sizeof(*cells));
    cells->count = cells->free = count;
}

static uint64_t *cell_word(const struct swap_cells *cells, uint32_t cell)
{
    uint64_t *words = swap_book_page(&cells->book, cell / CELLS_PER_PAGE);
    ensure(words); /* a cell that was found: its page was made */
    return &words[cell % CELLS_PER_PAGE / CELLS_PER_WORD];
}

static uint32_t cell_get(const uint64_t *word, uint32_t cell)
{
    return (uint32_t)(*word >> (cell % CELLS_PER_WORD * 4)) & 15u;
}

static void cell_set(uint64_t *word, uint32_t cell, uint32_t value)
{
    unsigned shift = cell % CELLS_PER_WORD * 4;
    *word = (*word & ~(15ull << shift)) | (uint64_t)value << shift;
}

/* Four bits of every cell or-ed into one: no 1 missing means no cell is free. */
static bool word_is_full(uint64_t word)
{
    return ((word | word >> 1 | word >> 2 | word >> 3) & EACH_CELL_1) == EACH_CELL_1;
}

/* The first run of `most` in [from, to), which lies within one page of the book,
 * or else the longest. */
static uint32_t longest_run(const uint64_t *words, uint32_t from, uint32_t to, uint32_t most,
                            uint32_t *first)
{
    uint32_t best = 0, run = 0;
    for (uint32_t cell = from; cell < to && best < most; cell++) {
        const uint64_t *word = &words[cell % CELLS_PER_PAGE / CELLS_PER_WORD];
        if (cell % CELLS_PER_WORD == 0 && word_is_full(*word)) {
            run = 0;
            cell += CELLS_PER_WORD - 1;
            continue;
        }
        run = cell_get(word, cell) ? 0 : run + 1;
        if (run > best) {
            best = run;
            *first = cell + 1 - run;
        }
    }
    return best;
}

/* The same, for a range that may have no page in the book yet: all free. */
static uint32_t run_within(struct swap_cells *cells, uint32_t from, uint32_t to, uint32_t most,
                           uint32_t *first)
{
    const uint64_t *words = swap_book_page(&cells->book, from / CELLS_PER_PAGE);
    if (words)
        return longest_run(words, from, to, most, first);
    if (!swap_book_make(&cells->book, from / CELLS_PER_PAGE))
        return 0;
    if (to > cells->known)
        cells->known = to;
    *first = from;
    return to - from < most ? to - from : most;
}

uint32_t swap_cells_find(struct swap_cells *cells, uint32_t most, uint32_t *first)
{
    if (!cells->free)
        return 0;
    uint32_t from = cells->cursor < cells->count ? cells->cursor : 0;
    /* The book grows only when what it has is three quarters full. */
    uint32_t free_known = cells->free - (cells->count - cells->known);
    if (from >= cells->known && free_known > cells->known / 4)
        from = 0;
    uint32_t pages = (cells->count + CELLS_PER_PAGE - 1) / CELLS_PER_PAGE;
    /* The page of the cursor comes twice: from the cursor on, and as a whole. */
    for (uint32_t turn = 0; turn <= pages; turn++) {
        uint32_t to = (from / CELLS_PER_PAGE + 1) * CELLS_PER_PAGE;
        if (to > cells->count)
            to = cells->count;
        uint32_t length = run_within(cells, from, to, most, first);
        if (length)
            return length;
        from = to == cells->count ? 0 : to;
    }
    return 0;
}

void swap_cells_take(struct swap_cells *cells, uint32_t cell)
{
    uint64_t *word = cell_word(cells, cell);
    uint32_t extents = cell_get(word, cell);
    ensure(extents < SWAP_CELL_SECTORS);
    cell_set(word, cell, extents + 1);
    if (extents)
        return;
    cells->free--;
    cells->cursor = cell + 1;
}

void swap_cells_give(struct swap_cells *cells, uint32_t cell)
{
    uint64_t *word = cell_word(cells, cell);
    uint32_t extents = cell_get(word, cell);
    if (extents == SWAP_CELL_BAD)
        return;
    ensure(extents > 0);
    cell_set(word, cell, extents - 1);
    if (extents == 1)
        cells->free++;
}

void swap_cells_set_bad(struct swap_cells *cells, uint32_t cell)
{
    uint64_t *word = cell_word(cells, cell);
    uint32_t extents = cell_get(word, cell);
    if (extents == SWAP_CELL_BAD)
        return;
    if (!extents)
        cells->free--;
    cell_set(word, cell, SWAP_CELL_BAD);
    cells->bad++;
}

/* ---- slots ------------------------------------------------------------------------- */

#define SLOTS_PER_PAGE (PAGE_SIZE / (uint32_t)sizeof(struct swap_slot_entry))
#define ENTRY_RETIRED  15u

static_assert(sizeof(struct swap_slot_entry) == 8, "the books take 8 bytes a slot");
static_assert(SWAP_SLOTS_MAX / SLOTS_PER_PAGE < SWAP_BOOK_DIRECTORIES * SWAP_BOOK_PER_DIRECTORY,
              "the book holds every slot");

void swap_slots_init(struct swap_slots *slots)
{
    memset(slots, 0, sizeof(*slots));
    slots->free_first = SWAP_SLOTS_MAX;
}

struct swap_slot_entry *swap_slots_entry(const struct swap_slots *slots, swap_slot_t slot)
{
    struct swap_slot_entry *entries = swap_book_page(&slots->book, slot.v / SLOTS_PER_PAGE);
    return entries ? &entries[slot.v % SLOTS_PER_PAGE] : NULL;
}

/* A free slot's index; SWAP_SLOTS_MAX when there is none to be had. */
static uint32_t take_index(struct swap_slots *slots)
{
    uint32_t index = slots->free_first;
    if (index != SWAP_SLOTS_MAX) {
        slots->free_first = swap_slots_entry(slots, (swap_slot_t){ index })->extent >> 4;
        return index;
    }
    index = slots->made;
    if (index == SWAP_SLOTS_MAX || !swap_book_make(&slots->book, index / SLOTS_PER_PAGE))
        return SWAP_SLOTS_MAX;
    slots->made++;
    return index;
}

swap_slot_t swap_slots_take(struct swap_slots *slots, struct swap_extent extent)
{
    assert(extent.sectors > 0 && extent.sectors <= SWAP_CELL_SECTORS);
    swap_slot_t slot = { take_index(slots) };
    if (slot.v == SWAP_SLOTS_MAX)
        return SWAP_SLOT_NONE;
    struct swap_slot_entry *entry = swap_slots_entry(slots, slot);
    entry->extent = extent.sector << 4 | extent.sectors;
    entry->generation++;
    slots->used++;
    return slot;
}

static bool entry_in_use(const struct swap_slot_entry *entry)
{
    uint32_t sectors = entry->extent & 15u;
    return sectors > 0 && sectors <= SWAP_CELL_SECTORS;
}

bool swap_slots_look(const struct swap_slots *slots, swap_slot_t slot, struct swap_extent *extent,
                     uint32_t *generation)
{
    if (slot.v >= slots->made)
        return false;
    const struct swap_slot_entry *entry = swap_slots_entry(slots, slot);
    if (!entry_in_use(entry))
        return false;
    *extent = (struct swap_extent){ entry->extent >> 4, entry->extent & 15u };
    *generation = entry->generation;
    return true;
}

void swap_slots_give(struct swap_slots *slots, swap_slot_t slot)
{
    struct swap_slot_entry *entry = swap_slots_entry(slots, slot);
    ensure(slot.v < slots->made && entry_in_use(entry));
    slots->used--;
    if (entry->generation == UINT32_MAX) {
        entry->extent = ENTRY_RETIRED;
        slots->retired++;
        return;
    }
    entry->extent = slots->free_first << 4;
    slots->free_first = slot.v;
}
