/* exit7: ends by itself, with a status that is no success (status= changes it). */
#include "guest-driver/console.h"
#include "tests/guest/hostile.h"

int guest_main(const struct guest_boot *boot)
{
    int status = (int)hostile_number(boot, "status", 7);
    console_line("exit7: status %d", status);
    return status;
}
