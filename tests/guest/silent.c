/*
 * silent: has no balloon driver. All of its memory reads as zero at first (P4),
 * then it is written, kept and verified, rounds= times.
 */
#include "guest-driver/console.h"
#include "tests/guest/hostile.h"

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    hostile_memory_init(&memory, boot);
    hostile_memory_check_zero(&memory);
    console_line("silent: %lu fresh pages checked, %lu not zero", memory.checked,
                 memory.mismatched);
    for (uint64_t rounds = hostile_number(boot, "rounds", 2); rounds; rounds--) {
        hostile_memory_fill(&memory);
        hostile_memory_verify(&memory);
        hostile_memory_verify(&memory);
    }
    return hostile_memory_finish(&memory, "silent");
}
