/*
 * fpu: vector registers hold nothing of others at the start (P4), then patterns
 * that differ by seed=, while other VMs with other patterns run in between;
 * rounds= times. Run two of it, with different seeds.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/fpu.h"
#include "guest-driver/lapic.h"
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

int guest_main(const struct guest_boot *boot)
{
    uint64_t seed = hostile_number(boot, "seed", 1), rounds = hostile_number(boot, "rounds", 100);
    uint32_t bad = !starts_clean();
    if (bad)
        console_line("fpu: the registers were not empty");
    lapic_init();
    for (uint64_t round = 0; round < rounds; round++) {
        fpu_fill(seed * 1000 + round);
        for (unsigned i = 0; i < 200000; i++) /* others run at interrupts in here, */
            __asm__ volatile("");
        cpu_halt(); /* and while it sleeps */
        cpu_interrupts_off();
        bad += !fpu_verify();
    }
    guest_report((uint32_t)rounds, bad);
    console_line("fpu: %lu rounds of %s, %u mismatches", rounds, fpu_kind(), bad);
    return bad ? GUEST_STATUS_MISMATCH : GUEST_STATUS_OK;
}
