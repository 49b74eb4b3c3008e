/* spin: an endless loop with interrupts off. fill=1: with all its memory written before. */
#include "guest-driver/console.h"
#include "tests/guest/hostile.h"

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    hostile_memory_init(&memory, boot);
    if (hostile_number(boot, "fill", 0))
        hostile_memory_fill(&memory);
    console_line("spin: about to");
    __asm__ volatile("cli; 1: jmp 1b" : : : "memory");
    return 1;
}
