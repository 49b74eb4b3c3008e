/*
 * Blocks: 512 neighbouring frames of the general region, aligned to their size,
 * as a large mapping needs them; see frame.h.
 *
 * The allocator counts per block how many of its frames are on the general list;
 * a block with all of them there is whole. Frames one at a time are given out
 * from the bottom, blocks from the top, so that the two meet late. A block that is
 * to become whole is closed: its free frames stay behind all others on the list.
 *
 * Lock: the allocator's.
 */
#include "lib/atomic.h"
#include "mm/frame_state.h"

/* Index of a block's first frame; INDEX_NONE: not all of it is in the general region. */
static uint32_t block_start(uint32_t block)
{
    unsigned i = frame_state.bank_count - 1;
    while (frame_state.banks[i].block > block)
        i--;
    const struct bank *bank = &frame_state.banks[i];
    uint32_t first = (bank->base / FRAME_BLOCK + (block - bank->block)) * FRAME_BLOCK;
    if (first < bank->base || first - bank->base + FRAME_BLOCK > bank->count)
        return INDEX_NONE;
    uint32_t index = bank->index + (first - bank->base);
    return index + FRAME_BLOCK <= frame_state.share_start ? index : INDEX_NONE;
}

/* A whole block, the search going on downwards from the last one found. */
static uint32_t find(void)
{
    uint32_t blocks = frame_state.blocks;
    for (uint32_t n = 0; n < blocks; n++) {
        uint32_t block = (frame_state.block_hint + blocks - n) % blocks;
        if (frame_state.block_free[block] == FRAME_BLOCK) {
            frame_state.block_hint = block;
            return block;
        }
    }
    return INDEX_NONE;
}

pfn_t frame_alloc_block(uint32_t keep)
{
    pfn_t number = PFN_NONE;
    spin_lock(&frame_state.lock);
    frame_cache_return();
    uint32_t listed = frame_state.listed[0] + frame_state.listed[1];
    uint32_t block = listed >= FRAME_BLOCK && listed - FRAME_BLOCK >= keep ? find() : INDEX_NONE;
    if (block != INDEX_NONE) {
        uint32_t first = frame_block_first(block);
        for (uint32_t i = 0; i < FRAME_BLOCK; i++)
            frame_set_kind(first + i, FRAME_PRIVATE);
        number = frame_number_of(first);
    }
    spin_unlock(&frame_state.lock);
    return number;
}

/* ---- making one whole ------------------------------------------------------------- */

uint32_t frame_block_count(void)
{
    return frame_state.blocks;
}

uint32_t frame_block_free(uint32_t block)
{
    assert(block < frame_state.blocks);
    uint32_t count = __atomic_load_n(&frame_state.block_free[block], __ATOMIC_RELAXED);
    return count > 0 && block_start(block) != INDEX_NONE ? count : 0;
}

uint32_t frame_block_first(uint32_t block)
{
    uint32_t first = block_start(block);
    ensure(first != INDEX_NONE);
    return first;
}

void frame_block_close(uint32_t block)
{
    spin_lock(&frame_state.lock);
    atomic_set(frame_state.closed_first, frame_block_first(block));
    atomic_set(frame_state.closed_count, FRAME_BLOCK);
    frame_cache_return();
    spin_unlock(&frame_state.lock);
}

void frame_block_open(void)
{
    spin_lock(&frame_state.lock);
    atomic_set(frame_state.closed_count, 0);
    spin_unlock(&frame_state.lock);
}

bool frame_block_is_closed(pfn_t number)
{
    return frame_index_is_closed((uint32_t)(frame_at(number) - frame_state.frames));
}
