/*
 * Page contents. Each generator exists once and is compiled twice, for writing
 * and for comparing. Comparing gathers the differences of all words, so that
 * every byte of the page is looked at.
 *
 * Random words are a 64-bit linear congruential generator (multiplier of Knuth's
 * MMIX, TAOCP volume 2, 3.3.4 table 1) with its high half folded into the low
 * one: no four bytes repeat at a distance LZ4 could use. Text is phrases of
 * two words drawn from 32, so that LZ4 finds 16-byte matches, with a number in between
 * that no other page has.
 */
#include "guest-driver/content.h"

#include "lib/rng.h"
#include "lib/types.h"

#define LCG_MULTIPLIER 6364136223846793005ull
#define LCG_INCREMENT  1442695040888963407ull
#define UNIFORM_WORDS  8
#define PHRASE_COUNT   32
#define NUMBER_EVERY   16 /* words */
#define PHRASE_SHIFT   59 /* the top 5 bits of a state choose the phrase */

static const char phrases[PHRASE_COUNT][16] __attribute__((aligned(16))) = {
    "page after page ", "the host lends, ", "what guests hold", " and nobody else",
    " until it is all", " gone, or shared", " by two or more.", " A zero page has",
    " no frame at all", ", a filled one a", " word in a table", "; private frames",
    " have one owner,", " compressed ones", " are small blobs", " in a small pool",
    "; the oldest are", " written to disk", " under a new key", ", then read back",
    " when a touch is", " seen, and check", "ed to the byte. ", "A balloon grows ",
    "inside of guests", " that have spare", " memory to give;", " it shrinks when",
    " they ask for it", ". Nothing blocks", ", nothing leaks,", " nothing is lost",
};

static uint64_t id_hash(struct content_id id)
{
    uint64_t state = id.seed ^ ((uint64_t)id.version << 32 | id.index) * LCG_MULTIPLIER;
    return rng_splitmix(&state);
}

enum content_kind content_kind_of(const struct content_mix *mix, struct content_id id)
{
    uint32_t roll = (uint32_t)((id_hash(id) >> 32) * 100 >> 32);
    unsigned kind = 0;
    while (kind + 1 < CONTENT_KIND_COUNT && roll >= mix->percent[kind])
        roll -= mix->percent[kind++];
    return kind;
}

/* Writes the word, or adds its difference to what was found so far. */
static inline __attribute__((always_inline)) void word(uint64_t *at, uint64_t value, bool write,
                                                       uint64_t *difference)
{
    if (write)
        *at = value;
    else
        *difference |= *at ^ value;
}

static inline __attribute__((always_inline)) uint64_t random_page(uint64_t *page, uint64_t x,
                                                                  bool write)
{
    uint64_t difference = 0;
    for (unsigned i = 0; i < PAGE_WORDS; i += 4)
        for (unsigned j = 0; j < 4; j++) {
            x = x * LCG_MULTIPLIER + LCG_INCREMENT;
            word(&page[i + j], x ^ x >> 32, write, &difference);
        }
    return difference;
}

static inline __attribute__((always_inline)) uint64_t text_page(uint64_t *page, uint64_t x,
                                                                bool write)
{
    uint64_t difference = 0;
    for (unsigned i = 0; i < PAGE_WORDS; i += 2) {
        x = x * LCG_MULTIPLIER + LCG_INCREMENT;
        const uint64_t *phrase = (const uint64_t *)phrases[x >> PHRASE_SHIFT];
        word(&page[i], i % NUMBER_EVERY ? phrase[0] : x, write, &difference);
        word(&page[i + 1], phrase[1], write, &difference);
    }
    return difference;
}

static inline __attribute__((always_inline)) uint64_t uniform_page(uint64_t *page, uint64_t value,
                                                                   bool write)
{
    uint64_t difference = 0;
    for (unsigned i = 0; i < PAGE_WORDS; i += 4)
        for (unsigned j = 0; j < 4; j++)
            word(&page[i + j], value, write, &difference);
    return difference;
}

static inline __attribute__((always_inline)) uint64_t
content_page(uint64_t *page, const struct content_mix *mix, struct content_id id, bool write)
{
    uint64_t hash = id_hash(id);
    switch (content_kind_of(mix, id)) {
    case CONTENT_RANDOM:
        return random_page(page, hash, write);
    case CONTENT_TEXT:
        return text_page(page, hash, write);
    case CONTENT_UNIFORM:
        return uniform_page(page, (hash % UNIFORM_WORDS + 1) * LCG_INCREMENT, write);
    default:
        return uniform_page(page, 0, write);
    }
}

void content_write(uint64_t *page, const struct content_mix *mix, struct content_id id)
{
    content_page(page, mix, id, true);
}

bool content_verify(const uint64_t *page, const struct content_mix *mix, struct content_id id)
{
    return content_page((uint64_t *)page, mix, id, false) == 0;
}
