/*
 * Waiting for a device register, bounded: at boot and in resets only. Internal to
 * drivers/.
 */
#ifndef DRIVERS_WAIT_H
#define DRIVERS_WAIT_H

#include "drivers/clock.h"
#include "drivers/port.h"

#define WAIT_MS 1000000ull /* ns */

/* True as soon as the masked register has the value; false after ns. */
static inline bool wait_mmio32(const volatile void *base, unsigned offset, uint32_t mask,
                               uint32_t value, uint64_t ns)
{
    uint64_t end = clock_now_ns() + ns;
    do {
        if ((mmio_read32(base, offset) & mask) == value)
            return true;
        __builtin_ia32_pause();
    } while (clock_now_ns() < end);
    return false;
}

static inline void wait_ns(uint64_t ns)
{
    for (uint64_t end = clock_now_ns() + ns; clock_now_ns() < end;)
        __builtin_ia32_pause();
}

#endif
