/*
 * What the core says about itself: counters by the list of mm/counters.h, and
 * the names of its enums.
 *
 * Net figures. Of every tier, freed_* counts the frames its moves freed at the
 * moment they were free, taken_* those that guests had to be given again for
 * the same content while they ran. What is still away when its VM ends was never
 * asked back and stays on the credit side. Moving a pool object to swap moves
 * its credit from compress to swap. The pool's own frames are its cost.
 */
#include "mm/clean.h"
#include "mm/core.h"
#include "mm/counted.h"
#include "mm/inflight.h"
#include "mm/pool.h"
#include "mm/share.h"
#include "mm/swap.h"
#include "mm/vm.h"

#define NAME_OF(names, count, value) ((unsigned)(value) < (count) ? (names)[value] : "?")

const char *mm_tier_name(enum mm_tier tier)
{
    static const char *const names[MM_TIER_COUNT] = { "share", "balloon", "compress", "swap" };
    return NAME_OF(names, MM_TIER_COUNT, tier);
}

const char *mm_state_name(enum mm_state state)
{
    static const char *const names[MM_STATE_COUNT] = { "high", "clear", "soft", "hard", "low" };
    return NAME_OF(names, MM_STATE_COUNT, state);
}

const char *mm_wait_name(enum mm_wait wait)
{
    static const char *const names[MM_WAIT_COUNT] = { "none", "page_in", "page_out", "frame",
                                                      "held" };
    return NAME_OF(names, MM_WAIT_COUNT, wait);
}

const char *mm_stop_reason_name(enum mm_stop_reason reason)
{
    static const char *const names[MM_STOP_REASON_COUNT] = { "swap_read", "swap_tampered",
                                                             "pool_damaged", "out_of_memory" };
    return NAME_OF(names, MM_STOP_REASON_COUNT, reason);
}

enum mm_state mm_host_state(void)
{
    return atomic_get(core.state);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t counted(enum mm_host_counter counter)
{
    return atomic_get(core.counters[counter]);
}

uint64_t core_net(enum mm_tier tier)
{
    switch (tier) {
    case MM_TIER_SHARE:
        return minus(counted(MM_HOST_freed_share), counted(MM_HOST_taken_share));
    case MM_TIER_BALLOON:
        return minus(counted(MM_HOST_freed_balloon), counted(MM_HOST_taken_balloon));
    case MM_TIER_COMPRESS:
        return minus(counted(MM_HOST_freed_compress),
                     counted(MM_HOST_taken_compress) + frame_kind_count(FRAME_POOL));
    default:
        return minus(counted(MM_HOST_freed_swap), counted(MM_HOST_taken_swap));
    }
}

void core_net_peaks(void)
{
    for (unsigned tier = 0; tier < MM_TIER_COUNT; tier++) {
        uint64_t net = core_net(tier), *peak = &core.counters[MM_HOST_peak_net_share + tier];
        uint64_t before = atomic_get(*peak);
        while (net > before && !__atomic_compare_exchange_n(peak, &before, net, false,
                                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            ;
    }
}

static void frame_values(uint64_t *v)
{
    v[MM_HOST_frames_managed] = frame_managed_count();
    v[MM_HOST_frames_free] = frame_free_count();
    v[MM_HOST_frames_private] = frame_kind_count(FRAME_PRIVATE);
    v[MM_HOST_frames_shared] = frame_kind_count(FRAME_SHARED);
    v[MM_HOST_frames_pool] = frame_kind_count(FRAME_POOL);
    v[MM_HOST_frames_table] = frame_kind_count(FRAME_TABLE);
    v[MM_HOST_min_free] = core.min_free;
    /* The last sharer of each frame takes it back. */
    v[MM_HOST_share_exposure] =
        minus(atomic_get(core.shared_leaves), frame_kind_count(FRAME_SHARED));
    v[MM_HOST_large] = atomic_get(core.large);
}

static void store_values(uint64_t *v)
{
    struct pool_stats pool = { 0 };
    struct swap_stats swap = { 0 };
    pool_stats_get(&pool);
    swap_stats_get(&swap);
    v[MM_HOST_pool_objects] = pool.objects;
    v[MM_HOST_pool_bytes] = pool.object_bytes;
    v[MM_HOST_pool_compacted] = pool.compacted;
    v[MM_HOST_metadata_pool] = pool.metadata_bytes;
    v[MM_HOST_metadata_other] = pool.scratch_bytes + swap.buffer_bytes;
    v[MM_HOST_swap_online] = swap.online;
    v[MM_HOST_swap_sectors] = swap.sectors;
    v[MM_HOST_swap_sectors_used] = swap.sectors_used;
    v[MM_HOST_swap_sectors_bad] = swap.sectors_bad;
    v[MM_HOST_swap_slots] = swap.slots_used;
    v[MM_HOST_swap_reads] = swap.reads;
    v[MM_HOST_swap_writes] = swap.writes;
    v[MM_HOST_swap_pages_read] = swap.pages_read;
    v[MM_HOST_swap_pages_written] = swap.pages_written;
    v[MM_HOST_swap_read_errors] = swap.read_errors;
    v[MM_HOST_swap_write_errors] = swap.write_errors;
    v[MM_HOST_swap_retries] = swap.retries;
    v[MM_HOST_swap_tampered] = swap.tampered;
    v[MM_HOST_swap_clean] = clean_count();
    v[MM_HOST_metadata_swap] = swap.metadata_bytes;
}

static void metadata_values(uint64_t *v)
{
    uint64_t configured = atomic_get(core.configured_pages);
    v[MM_HOST_metadata_frames] = frame_metadata_bytes();
    v[MM_HOST_metadata_share] = share_metadata_bytes();
    v[MM_HOST_metadata_other] += vm_metadata_bytes() + counted_metadata_bytes() +
                                 frame_cache_bytes() + INFLIGHT_COUNT * sizeof(struct inflight);
    uint64_t bytes = v[MM_HOST_metadata_frames] + v[MM_HOST_metadata_share] +
                     v[MM_HOST_metadata_pool] + v[MM_HOST_metadata_swap];
    v[MM_HOST_metadata_ppm] = bytes * 1000000 / ((uint64_t)frame_managed_count() << PAGE_SHIFT);
    v[MM_HOST_table_ppm] =
        configured ? (uint64_t)frame_kind_count(FRAME_TABLE) * 1000000 / configured : 0;
}

void mm_host_counters(uint64_t values[MM_HOST_COUNTER_COUNT])
{
    for (unsigned i = 0; i < MM_HOST_COUNTER_COUNT; i++)
        values[i] = counted((enum mm_host_counter)i);
    core_net_peaks();
    frame_values(values);
    store_values(values);
    metadata_values(values);
    for (unsigned tier = 0; tier < MM_TIER_COUNT; tier++) {
        values[MM_HOST_net_share + tier] = core_net(tier);
        values[MM_HOST_peak_net_share + tier] =
            counted((enum mm_host_counter)(MM_HOST_peak_net_share + tier));
    }
}

static void home_values(const struct mm_vm *vm, uint64_t *v)
{
    v[MM_VM_private] = vm_pages_in(vm, HOME_PRIVATE);
    v[MM_VM_shared] = vm_pages_in(vm, HOME_SHARED);
    v[MM_VM_zero] = vm_pages_in(vm, HOME_ZERO);
    v[MM_VM_fill] = vm_pages_in(vm, HOME_FILL);
    v[MM_VM_pool] = vm_pages_in(vm, HOME_POOL);
    v[MM_VM_swap] = vm_pages_in(vm, HOME_SWAP);
    v[MM_VM_counted] = vm_pages_in(vm, HOME_COUNTED);
    v[MM_VM_busy] = vm_pages_in(vm, HOME_BUSY_OUT) + vm_pages_in(vm, HOME_BUSY_IN);
    v[MM_VM_balloon] = vm_pages_in(vm, HOME_BALLOON);
}

void mm_vm_counters(const struct mm_vm *vm, uint64_t values[MM_VM_COUNTER_COUNT])
{
    uint64_t *v = values;
    for (unsigned i = 0; i < MM_VM_COUNTER_COUNT; i++)
        v[i] = atomic_get(vm->counters[i]);
    home_values(vm, v);
    v[MM_VM_configured] = vm->config.pages;
    v[MM_VM_reserve] = vm->config.reserve_pages;
    v[MM_VM_limit] = vm->config.limit_pages;
    v[MM_VM_target] = atomic_get(vm->target);
    v[MM_VM_resident] = vm_resident(vm);
    v[MM_VM_pool_bytes] = atomic_get(vm->pool_bytes);
    v[MM_VM_balloon_target] = atomic_get(vm->balloon_target);
    v[MM_VM_balloon_actual] = atomic_get(vm->balloon_actual);
    v[MM_VM_balloon_state] = atomic_get(vm->balloon_state);
    v[MM_VM_tables] = atomic_get(vm->tables);
    v[MM_VM_large] = atomic_get(vm->large);
    v[MM_VM_ahead_window] = atomic_get(vm->ahead.window);
    v[MM_VM_active] = atomic_get(vm->active);
    v[MM_VM_stall_page_in] = atomic_get(vm->stall_ns[MM_WAIT_PAGE_IN]) / 1000;
    v[MM_VM_stall_page_out] = atomic_get(vm->stall_ns[MM_WAIT_PAGE_OUT]) / 1000;
    v[MM_VM_stall_frame] = atomic_get(vm->stall_ns[MM_WAIT_FRAME]) / 1000;
    v[MM_VM_stall_held] = atomic_get(vm->stall_ns[MM_WAIT_HELD]) / 1000;
}
