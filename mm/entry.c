/*
 * Making and reading entries of nested tables; see entry.h for the layout.
 * No locks: values only.
 */
#include "mm/entry.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "mm/entry_ept.h"

#define LOW_MASK ((1ull << ENTRY_LOW_BITS) - 1)

/* Payloads the core needs at least: 2^28 slots of swap are 1 TiB of pages. */
#define PAYLOAD_BITS_LEAST 28u

struct entry_format entry_format;

static uint64_t payload_limit;
static uint64_t hidden_bit; /* the address bit that must be 1 in away entries */

void entry_format_choose(const struct entry_format *format)
{
    entry_format = format ? *format : entry_ept;
}

bool entry_init(unsigned max_physical_bits, uint32_t highest)
{
    /* Internally, caches may compare more address bits than CPUID says (44 for
     * 36-bit parts); with all higher bits 1 too, that changes nothing. */
    unsigned bits = max_physical_bits > 52 ? 52 : max_physical_bits;
    if (bits < PAGE_SHIFT + 2 || bits - 13 + ENTRY_LOW_BITS < PAYLOAD_BITS_LEAST) {
        log_error("mm: %u physical address bits are too few", max_physical_bits);
        return false;
    }
    hidden_bit = 1ull << (bits - 1);
    payload_limit = 1ull << (bits - 1 - PAGE_SHIFT + ENTRY_LOW_BITS);
    if (((uint64_t)highest << PAGE_SHIFT) >= hidden_bit) {
        log_error("mm: memory in the upper half of %u address bits", max_physical_bits);
        return false;
    }
    return true;
}

uint64_t entry_payload_limit(void)
{
    return payload_limit;
}

entry_t entry_private(pfn_t frame)
{
    return (entry_t){ pfn_to_hpa(frame).v | ENTRY_RWX | entry_format.leaf };
}

entry_t entry_shared(pfn_t frame)
{
    return (entry_t){ pfn_to_hpa(frame).v | ENTRY_READ | ENTRY_EXEC | entry_format.leaf |
                      ENTRY_SHARED };
}

entry_t entry_table(pfn_t frame)
{
    return (entry_t){ pfn_to_hpa(frame).v | ENTRY_RWX };
}

entry_t entry_large(pfn_t frame, bool execute)
{
    entry_t entry = { entry_private(frame).v | ENTRY_LARGE };
    if (!execute)
        entry.v = (entry.v | entry_format.data_set) & ~entry_format.data_clear;
    return entry;
}

/*
 * The bits of an away entry, by sums of parts that do not overlap: the home, the
 * upper part of the payload inverted, its low part. What is ensured is P15 for
 * every width: no bit a CPU would take for "present", none of bits 7 to 11, and
 * bit 63 clear; from the hidden bit up to bit 51 all ones. `make proof` shows it
 * with Frama-C (ACSL).
 */
/*@
  requires home < HOME_COUNT;
  requires PAGE_SIZE <= hidden_bit <= 0x8000000000000;
  requires payload / 2048 < hidden_bit / 4096;
  terminates \true;
  exits \false;
  assigns \nothing;
  ensures \result % 4096 == home * 8 <= 80;
  ensures \result <= 0x7fffffffffffffff;
  ensures \result % 0x10000000000000 >= 0x10000000000000 - hidden_bit;
*/
static uint64_t away_bits(unsigned home, uint64_t payload)
{
    uint64_t low = payload % (1u << ENTRY_LOW_BITS), upper = payload / (1u << ENTRY_LOW_BITS);
    return low * (1ull << ENTRY_LOW_SHIFT) + (ENTRY_FRAME - upper * PAGE_SIZE) +
           home * (1ull << ENTRY_HOME_SHIFT);
}

entry_t entry_away(enum home home, uint64_t payload)
{
    assert(home != HOME_NONE && home != HOME_PRIVATE && home != HOME_SHARED && home < HOME_COUNT);
    ensure(payload < payload_limit);
    entry_t e = { away_bits(home, payload) };
    ensure(entry_is_safe(e));
    return e;
}

uint64_t entry_payload(entry_t e)
{
    assert(!entry_is_present(e) && e.v != 0);
    uint64_t upper = (~e.v & ENTRY_FRAME) >> PAGE_SHIFT;
    return (upper << ENTRY_LOW_BITS) | ((e.v >> ENTRY_LOW_SHIFT) & LOW_MASK);
}

bool entry_is_safe(entry_t e)
{
    if (entry_is_present(e) || e.v == 0)
        return true;
    return (e.v & ENTRY_AWAY_CLEAR) == 0 && (e.v & hidden_bit) != 0;
}
