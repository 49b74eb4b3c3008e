/*
 * fpu: vector registers hold nothing of others at the start (P4), then patterns
 * that differ by seed=, while other VMs with other patterns run in between;
 * rounds= times. Run two of it, with different seeds. With pages=, so many pages of
 * text are read in each round, too: where they were compressed, the hypervisor needs
 * vector registers of its own to bring them back.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/content.h"
#include "guest-driver/cpu.h"
#include "guest-driver/fpu.h"
#include "guest-driver/lapic.h"
#include "guest-driver/page_alloc.h"
#include "tests/guest/hostile.h"

void fpu_store_xmm(uint64_t *values);

static bool starts_clean(void)
{
    uint64_t found[16 * 4] = { 0 }, sum = 0;
    fpu_store_xmm(found);
    for (unsigned i = 0; i < 16 * 4; i++)
        sum |= found[i];
    return sum == 0;
}

static const struct content_mix text = { { 0, 100, 0, 0 } };

static void write_pages(uint32_t first, uint32_t count, uint64_t seed)
{
    for (uint32_t i = 0; i < count; i++)
        content_write(page_content(first + i), &text, (struct content_id){ seed, i, 0 });
}

/* Each with the registers full; how many differ, or came with other registers. */
static uint32_t read_pages(uint32_t first, uint32_t count, uint64_t seed)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i % 64 == 0)
            fpu_fill(seed + i);
        bad += !content_verify(page_content(first + i), &text, (struct content_id){ seed, i, 0 });
        if (i % 64 == 63)
            bad += !fpu_verify();
    }
    return bad;
}

int guest_main(const struct guest_boot *boot)
{
    uint64_t seed = hostile_number(boot, "seed", 1), rounds = hostile_number(boot, "rounds", 100);
    uint32_t bad = !starts_clean();
    if (bad)
        console_line("fpu: the registers were not empty");
    uint32_t pages = (uint32_t)hostile_number(boot, "pages", 0);
    struct hostile_memory memory;
    hostile_memory_init(&memory, boot);
    lapic_init();
    write_pages(memory.first, pages, seed);
    for (uint64_t round = 0; round < rounds; round++) {
        fpu_fill(seed * 1000 + round);
        for (unsigned i = 0; i < 200000; i++) /* others run at interrupts in here, */
            __asm__ volatile("");
        cpu_halt(); /* and while it sleeps */
        cpu_interrupts_off();
        bad += !fpu_verify();
        bad += read_pages(memory.first, pages, seed);
    }
    guest_report((uint32_t)rounds, bad);
    console_line("fpu: %lu rounds of %s, %u mismatches", rounds, fpu_kind(), bad);
    return bad ? GUEST_STATUS_MISMATCH : GUEST_STATUS_OK;
}
