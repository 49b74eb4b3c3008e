/*
 * Fill words; see fill.h.
 */
#include "mm/fill.h"
#include "lib/assert.h"
#include "lib/string.h"

bool fill_take(struct fill_table *table, uint64_t word, unsigned *index)
{
    unsigned unused = FILL_WORDS;
    bool found = false;
    spin_lock(&table->lock);
    for (unsigned i = 0; i < FILL_WORDS && !found; i++) {
        if (table->refs[i] == 0 && unused == FILL_WORDS)
            unused = i;
        else if (table->refs[i] != 0 && table->words[i] == word) {
            unused = i;
            found = true;
        }
    }
    if (unused < FILL_WORDS) {
        table->words[unused] = word;
        table->refs[unused]++;
        *index = unused;
    }
    spin_unlock(&table->lock);
    return unused < FILL_WORDS;
}

void fill_drop(struct fill_table *table, unsigned index)
{
    ensure(index < FILL_WORDS);
    spin_lock(&table->lock);
    ensure(table->refs[index] > 0);
    table->refs[index]--;
    spin_unlock(&table->lock);
}

uint64_t fill_word(struct fill_table *table, unsigned index)
{
    ensure(index < FILL_WORDS);
    spin_lock(&table->lock);
    ensure(table->refs[index] > 0);
    uint64_t word = table->words[index];
    spin_unlock(&table->lock);
    return word;
}

void fill_page(void *page, uint64_t word)
{
    uint64_t *words = page;
    if (word == 0) {
        memset(page, 0, PAGE_SIZE);
        return;
    }
    for (unsigned i = 0; i < PAGE_WORDS; i++)
        words[i] = word;
}
