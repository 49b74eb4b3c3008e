/*
 * Pages with known content. Between two pages the guest polls, so that the
 * balloon is served while a workload runs.
 */
#include "guest-driver/footprint.h"

#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/guest.h"
#include "guest-driver/kernel.h"
#include "guest-driver/page_alloc.h"
#include "lib/assert.h"
#include "lib/types.h"

#define MISMATCH_LINES 4

static uint64_t checked_count, mismatch_count;
static uint64_t checked_reported, mismatch_reported;

bool footprint_init(struct footprint *footprint, uint32_t capacity, uint64_t seed,
                    const struct content_mix *mix)
{
    footprint->pages = page_alloc_array((size_t)capacity * sizeof(uint32_t));
    footprint->versions = page_alloc_array(capacity);
    footprint->capacity = capacity;
    footprint->seed = footprint->first_seed = seed;
    footprint->mix = *mix;
    return footprint->pages && footprint->versions;
}

static struct content_id id_of(const struct footprint *footprint, uint32_t i)
{
    uint8_t version = footprint->versions[i];
    uint64_t seed = version == 1 ? footprint->first_seed : footprint->seed;
    return (struct content_id){ seed, i, version };
}

bool footprint_write(struct footprint *footprint, uint32_t i)
{
    assert(i < footprint->capacity);
    kernel_poll();
    if (footprint->pages[i] == PAGE_NONE)
        footprint->pages[i] = page_alloc();
    if (footprint->pages[i] == PAGE_NONE)
        return false;
    footprint->versions[i]++;
    content_write(page_content(footprint->pages[i]), &footprint->mix, id_of(footprint, i));
    return true;
}

void footprint_count(bool same, uint32_t index)
{
    checked_count++;
    if (same)
        return;
    if (mismatch_count++ < MISMATCH_LINES)
        console_line("guest: page %u does not hold what was written", index);
}

void footprint_verify(struct footprint *footprint, uint32_t i)
{
    assert(i < footprint->capacity && footprint->pages[i] != PAGE_NONE);
    kernel_poll();
    footprint_count(
        content_verify(page_content(footprint->pages[i]), &footprint->mix, id_of(footprint, i)), i);
}

void footprint_verify_all(struct footprint *footprint)
{
    for (uint32_t i = 0; i < footprint->capacity; i++)
        if (footprint->pages[i] != PAGE_NONE)
            footprint_verify(footprint, i);
    footprint_report();
}

void footprint_drop(struct footprint *footprint, uint32_t i)
{
    footprint_verify(footprint, i);
    page_free(footprint->pages[i]);
    footprint->pages[i] = PAGE_NONE;
}

void footprint_corrupt(struct footprint *footprint, uint64_t count)
{
    for (uint32_t i = 0; i < footprint->capacity && count; i++) {
        if (footprint->pages[i] == PAGE_NONE)
            continue;
        unsigned byte = (i * 997u + 4095u) % PAGE_SIZE;
        ((uint8_t *)page_content(footprint->pages[i]))[byte] ^= 1;
        count--;
    }
}

void footprint_report(void)
{
    guest_report((uint32_t)(checked_count - checked_reported),
                 (uint32_t)(mismatch_count - mismatch_reported));
    checked_reported = checked_count;
    mismatch_reported = mismatch_count;
}

int footprint_finish(const char *name)
{
    footprint_report();
    console_line("%s: %lu pages checked, %lu mismatches", name, checked_count, mismatch_count);
    return mismatch_count ? GUEST_STATUS_MISMATCH : GUEST_STATUS_OK;
}
