/* noint: halts with interrupts off, for ever. */
#include "guest-driver/console.h"
#include "guest-driver/guest.h"

int guest_main(const struct guest_boot *boot)
{
    (void)boot;
    console_line("noint: about to");
    __asm__ volatile("cli; hlt" : : : "memory");
    return 1;
}
