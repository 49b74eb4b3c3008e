/*
 * smp: several processors write and verify memory while the host takes it away.
 * Pages are dealt out in turn, so that processors are neighbours everywhere; on
 * the tally pages all of them count at once, where a lost write stays visible.
 * vcpus= how many, rounds= how often.
 */
#include "guest-driver/smp.h"

#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/content.h"
#include "guest-driver/page_alloc.h"
#include "tests/guest/hostile.h"

#define TALLY_PAGES 16u

static const struct content_mix mix = { { 5, 85, 5, 5 } };
static struct hostile_memory memory;
static unsigned vcpus;
static uint64_t rounds;
static struct {
    uint64_t checked, mismatched;
    volatile bool done;
} results[SMP_CPU_MAX];

static void tally_count(void)
{
    for (uint32_t i = 0; i < TALLY_PAGES; i++)
        __atomic_fetch_add(page_content(memory.first + i), 1, __ATOMIC_SEQ_CST);
}

static void round_of(unsigned number, uint32_t version)
{
    uint32_t first = memory.first + TALLY_PAGES + number;
    for (uint32_t page = first; page < memory.end; page += vcpus) {
        content_write(page_content(page), &mix, (struct content_id){ memory.seed, page, version });
        if (page % 32 == 0)
            tally_count();
    }
    for (uint32_t page = first; page < memory.end; page += vcpus) {
        results[number].checked++;
        if (!content_verify(page_content(page), &mix,
                            (struct content_id){ memory.seed, page, version }))
            results[number].mismatched++;
    }
}

static void work(unsigned number)
{
    for (uint32_t version = 1; version <= rounds; version++)
        round_of(number, version);
    results[number].done = true;
}

static uint64_t tally_wanted(void)
{
    uint64_t sum = 0;
    for (uint32_t page = memory.first + TALLY_PAGES; page < memory.end; page++)
        sum += page % 32 == 0;
    return sum * rounds;
}

static void tally_check(void)
{
    uint64_t wanted = tally_wanted();
    for (uint32_t i = 0; i < TALLY_PAGES; i++) {
        uint64_t found = *page_content(memory.first + i);
        memory.checked++;
        if (found == wanted)
            continue;
        if (memory.mismatched++ < 4)
            console_line("smp: tally %u is %lu, not %lu", i, found, wanted);
    }
}

int guest_main(const struct guest_boot *boot)
{
    hostile_memory_init(&memory, boot);
    vcpus = (unsigned)hostile_number(boot, "vcpus", 2);
    rounds = hostile_number(boot, "rounds", 2);
    if (vcpus < 1 || vcpus > SMP_CPU_MAX)
        return GUEST_STATUS_USAGE;
    unsigned came = vcpus > 1 ? smp_start(vcpus - 1, work) : 0;
    console_line("smp: %u processors", came + 1);
    if (came + 1 != vcpus)
        return GUEST_STATUS_UNEXPECTED;
    work(0);
    for (unsigned i = 0; i < vcpus; i++) {
        while (!results[i].done)
            __asm__ volatile("pause");
        memory.checked += results[i].checked;
        memory.mismatched += results[i].mismatched;
    }
    tally_check();
    return hostile_memory_finish(&memory, "smp");
}
