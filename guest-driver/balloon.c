/*
 * Inflating takes free pages first, down to KEEP_FREE, then pages of the cache.
 * When the guest runs dry, page_alloc() asks the cache, then the balloon; after
 * that the balloon does not grow for HOLD_TICKS.
 */
#include "guest-driver/balloon.h"

#include "guest-driver/balloon_core.h"
#include "guest-driver/cache.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/interrupts.h"
#include "guest-driver/ioapic.h"
#include "guest-driver/lapic.h"
#include "guest-driver/page_alloc.h"
#include "lib/types.h"

#define KEEP_FREE   64u /* pages a growing balloon leaves to the guest */
#define RETRY_TICKS 10u /* how often a balloon below its target looks for pages */
#define HOLD_TICKS  100u

static struct balloon balloon;
static bool is_running;
static uint64_t registers;
static uint64_t next_try, hold_end;

static uint32_t op_read(void *context, uint32_t offset)
{
    (void)context;
    return mmio_read32(registers + offset);
}

static void op_write(void *context, uint32_t offset, uint32_t value)
{
    (void)context;
    mmio_write32(registers + offset, value);
}

static uint64_t op_physical(void *context, const void *memory)
{
    (void)context;
    return (uint64_t)memory;
}

static uint32_t op_page_alloc(void *context)
{
    (void)context;
    uint32_t page = page_alloc_free_only(KEEP_FREE);
    if (page == PAGE_NONE && cache_shrink(1))
        page = page_alloc_free_only(KEEP_FREE);
    return page;
}

static void op_page_free(void *context, uint32_t page)
{
    (void)context;
    page_free(page);
}

static void op_statistics(void *context, uint64_t values[VIRTIO_BALLOON_S_COUNT])
{
    (void)context;
    uint64_t free = page_alloc_free_count(), cached = cache_count();
    values[VIRTIO_BALLOON_S_FREE_MEMORY] = free * PAGE_SIZE;
    values[VIRTIO_BALLOON_S_TOTAL_MEMORY] = (uint64_t)page_alloc_total() * PAGE_SIZE;
    values[VIRTIO_BALLOON_S_AVAILABLE] = (free + cached) * PAGE_SIZE;
    values[VIRTIO_BALLOON_S_CACHES] = cached * PAGE_SIZE;
    values[VIRTIO_BALLOON_S_SWAP_IN] = 0;
    values[VIRTIO_BALLOON_S_SWAP_OUT] = 0;
    values[VIRTIO_BALLOON_S_MAJOR_FAULTS] = 0;
    values[VIRTIO_BALLOON_S_MINOR_FAULTS] = 0;
}

static void op_wait(void *context)
{
    (void)context;
    cpu_halt();
}

static const struct balloon_ops ops = {
    .read = op_read,
    .write = op_write,
    .physical = op_physical,
    .page_alloc = op_page_alloc,
    .page_free = op_page_free,
    .statistics = op_statistics,
    .wait = op_wait,
};

static void handle_interrupt(void)
{
    balloon_interrupt(&balloon);
}

static uint32_t deflate_on_oom(uint32_t wanted)
{
    (void)wanted;
    hold_end = lapic_ticks() + HOLD_TICKS;
    return balloon_reclaim(&balloon);
}

void balloon_init(uint64_t address, unsigned gsi)
{
    registers = address;
    uint32_t *pages = page_alloc_array((size_t)page_alloc_total() * sizeof(*pages));
    if (!pages)
        return;
    ioapic_route(gsi, VECTOR_BALLOON);
    interrupts_set_handler(VECTOR_BALLOON, handle_interrupt);
    enum balloon_status status = balloon_start(&balloon, &ops, NULL, pages, page_alloc_total());
    if (status != BALLOON_OK) {
        console_line("balloon: %s", balloon_status_name(status));
        return;
    }
    page_alloc_add_shrinker(deflate_on_oom);
    is_running = true;
}

void balloon_poll(void)
{
    if (!is_running)
        return;
    uint64_t now = lapic_ticks();
    if (!balloon_is_pending(&balloon) && now < next_try)
        return;
    next_try = now + RETRY_TICKS;
    if (balloon.held && now >= hold_end)
        balloon_resume(&balloon);
    enum balloon_status status = balloon_work(&balloon);
    if (status == BALLOON_OK)
        return;
    is_running = false;
    console_line("balloon: %s", balloon_status_name(status));
}

bool balloon_finish(void)
{
    if (balloon.inflated_count)
        console_line("balloon: %lu pages inflated, %lu deflated, %lu times out of memory",
                     balloon.inflated_count, balloon.deflated_count, balloon.oom_count);
    return balloon.status == BALLOON_OK || balloon.status == BALLOON_NO_DEVICE;
}
