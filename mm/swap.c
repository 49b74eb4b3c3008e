/*
 * The swap area as a whole: slots given back, what it says about itself.
 */
#include "mm/swap_area.h"

#include "lib/atomic.h"
#include "lib/log.h"

struct swap_area swap;

static const char *const status_names[SWAP_STATUS_COUNT] = {
    [SWAP_OK] = "ok",           [SWAP_BUSY] = "busy",         [SWAP_FULL] = "full",
    [SWAP_OFFLINE] = "offline", [SWAP_IO_ERROR] = "io-error", [SWAP_TAMPERED] = "tampered",
};

const char *swap_status_name(enum swap_status status)
{
    return (unsigned)status < SWAP_STATUS_COUNT ? status_names[status] : "?";
}

static uint32_t cell_of(struct swap_extent extent)
{
    return extent.sector / SWAP_CELL_SECTORS;
}

void swap_slot_give_back(swap_slot_t slot)
{
    struct swap_extent extent;
    uint32_t generation;
    ensure(swap_slots_look(&swap.slots, slot, &extent, &generation));
    swap_slots_give(&swap.slots, slot);
    swap_cells_give(&swap.cells, cell_of(extent));
    swap.sectors_used -= extent.sectors;
}

void swap_slot_free(swap_slot_t slot)
{
    struct swap_extent extent;
    uint32_t generation;
    spin_lock(&swap.lock);
    assert(!swap_slots_look(&swap.slots, slot, &extent, &generation) || !swap_cluster_of(extent));
    swap_slot_give_back(slot);
    spin_unlock(&swap.lock);
}

void swap_go_offline(void)
{
    if (swap.online)
        log_warn("swap: %s does not answer any more, swapping ends", swap.device->name);
    atomic_set(swap.online, false);
}

bool swap_is_online(void)
{
    return atomic_get(swap.online);
}

bool swap_is_roomy(void)
{
    spin_lock(&swap.lock);
    bool roomy = swap.online && swap.cells.free > swap.cells.count / 4;
    spin_unlock(&swap.lock);
    return roomy;
}

bool swap_is_tight(void)
{
    spin_lock(&swap.lock);
    bool tight = swap.cells.free < swap.cells.count / 8;
    spin_unlock(&swap.lock);
    return tight;
}

void swap_stats_get(struct swap_stats *stats)
{
    spin_lock(&swap.lock);
    *stats = swap.counts;
    stats->online = swap.online;
    stats->sectors = swap.sector_count;
    stats->sectors_used = swap.sectors_used;
    stats->sectors_bad = (uint64_t)swap.cells.bad * SWAP_CELL_SECTORS;
    stats->slots_used = swap.slots.used;
    stats->metadata_bytes =
        sizeof(swap) + (uint64_t)(swap.cells.book.frames + swap.slots.book.frames) * PAGE_SIZE;
    stats->buffer_bytes = swap.buffer_bytes;
    spin_unlock(&swap.lock);
}

uint64_t swap_capacity_pages(void)
{
    spin_lock(&swap.lock);
    uint64_t pages = swap.online ? swap.cells.count - swap.cells.bad : 0;
    spin_unlock(&swap.lock);
    return pages;
}

void swap_audit(void (*visit)(swap_slot_t slot, void *context), void *context)
{
    struct swap_extent extent;
    uint32_t generation;
    for (swap_slot_t slot = { 0 }; slot.v < swap.slots.made; slot.v++)
        if (swap_slots_look(&swap.slots, slot, &extent, &generation))
            visit(slot, context);
}
