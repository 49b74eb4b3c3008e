/*
 * What the core does while a store is not linked: there is no swap area, and
 * nothing is scanned or reclaimed. Every function here is weak.
 */
#include "mm/core.h"
#include "mm/reclaim.h"
#include "mm/share.h"
#include "mm/swap.h"
#define WEAK __attribute__((weak))
WEAK void swap_init(void) {}
WEAK enum swap_open_result swap_open(struct block_device *device, uint64_t first_sector,
                                     uint64_t sector_count)
{
    (void)device, (void)first_sector, (void)sector_count;
    return SWAP_OPEN_NO_SIGNATURE;
}
WEAK enum swap_status swap_write(struct swap_io *io, const void *payload, uint16_t size,
                                 bool compressed)
{
    (void)io, (void)payload, (void)size, (void)compressed;
    return SWAP_OFFLINE;
}
WEAK void swap_write_flush(void) {}
WEAK enum swap_status swap_read(struct swap_io *io, swap_slot_t slot)
{
    (void)io, (void)slot;
    return SWAP_OFFLINE;
}
WEAK const void *swap_read_payload(const struct swap_io *io)
{
    return io->buffer;
}
WEAK void swap_slot_free(swap_slot_t slot)
{
    (void)slot;
}
WEAK void swap_stats_get(struct swap_stats *stats)
{
    *stats = (struct swap_stats){ 0 };
}
WEAK uint64_t swap_capacity_pages(void)
{
    return 0;
}
WEAK void swap_audit(void (*visit)(swap_slot_t slot, void *context), void *context)
{
    (void)visit, (void)context;
}
WEAK const char *swap_status_name(enum swap_status status)
{
    (void)status;
    return "offline";
}
WEAK const char *swap_open_result_name(enum swap_open_result result)
{
    (void)result;
    return "no swap";
}
WEAK uint32_t share_step(uint32_t budget)
{
    (void)budget;
    return 0;
}
WEAK void reclaim_init(void)
{
    core.min_free = frame_managed_count() * 6 / 100;
}
WEAK bool reclaim_step(void)
{
    return false;
}
WEAK void reclaim_update_state(void) {}
WEAK unsigned mm_audit(char *first, size_t first_size)
{
    (void)first, (void)first_size;
    return 0;
}
