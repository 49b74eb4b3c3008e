/*
 * resetter: brings the balloon driver up and resets the device again, for ever.
 */
#include "abi/machine.h"
#include "tests/guest/hostile.h"
#include "tests/guest/raw_virtio.h"

int guest_main(const struct guest_boot *boot)
{
    if (!raw_find(boot))
        return GUEST_STATUS_DRIVER;
    for (;;) {
        raw_negotiate(0);
        raw_driver_ok();
        raw_write(VIRTIO_MMIO_STATUS, 0);
    }
}
