/* spin: an endless loop with interrupts off. */
#include "guest-driver/console.h"
#include "guest-driver/guest.h"

int guest_main(const struct guest_boot *boot)
{
    (void)boot;
    console_line("spin: about to");
    __asm__ volatile("cli; 1: jmp 1b" : : : "memory");
    return 1;
}
