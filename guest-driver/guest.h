/*
 * What every guest built here has in common: it is started with its memory and
 * command line known, runs guest_main(), and ends through the exit port. The
 * minimal guest (main.c) and the hostile guests (tests/guest/) each provide
 * guest_main().
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stdint.h>

#define GUEST_CMDLINE_MAX 512

struct guest_boot {
    char cmdline[GUEST_CMDLINE_MAX];
    uint64_t memory_bytes; /* end of the RAM range the image lies in */
    uint64_t image_end;    /* first byte after the image, page aligned */
};

/* Interrupts are off and the IDT is loaded; the page allocator, the local APIC
 * and the balloon are not initialized. Returns a GUEST_STATUS_* or a status of
 * its own. */
int guest_main(const struct guest_boot *boot);

/* Ends the VM with this status. */
_Noreturn void guest_exit(uint8_t status);

/* Adds to the sums the host shows at the end: pages verified, and of those the
 * pages that differed. */
void guest_report(uint32_t checked, uint32_t mismatched);

#endif
