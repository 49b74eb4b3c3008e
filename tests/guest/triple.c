/* triple: an exception with no IDT to deliver it, nor the double fault after it. */
#include "guest-driver/console.h"
#include "guest-driver/guest.h"

int guest_main(const struct guest_boot *boot)
{
    (void)boot;
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing = { 0, 0 };
    console_line("triple: about to");
    __asm__ volatile("lidt %0; int3" : : "m"(nothing) : "memory");
    return 1;
}
