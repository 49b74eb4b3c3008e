/*
 * What the core does while these parts are not linked: nothing is scanned or
 * reclaimed. Every function here is weak.
 */
#include "mm/core.h"
#include "mm/reclaim.h"
#include "mm/share.h"
#define WEAK __attribute__((weak))
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
