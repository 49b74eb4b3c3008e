/*
 * The machine a guest sees: addresses, interrupt lines and the test ports.
 * Shared by the device models (hv/), the minimal guest (guest-driver/) and the
 * hostile guests (tests/guest/). An unmodified Linux learns the same from ACPI
 * in a later step.
 */
#ifndef ABI_MACHINE_H
#define ABI_MACHINE_H

/* Guest RAM starts at 0 and must end below the device hole. */
#define GUEST_HOLE_START 0xd0000000u

#define GUEST_VIRTIO_BASE 0xd0000000u /* virtio-mmio window of the balloon */
#define GUEST_VIRTIO_SIZE 0x200u
#define GUEST_IOAPIC_BASE 0xfec00000u
#define GUEST_LAPIC_BASE  0xfee00000u

#define GUEST_CONSOLE_PORT 0x3f8 /* 16550 */
#define GUEST_CONSOLE_GSI  4
#define GUEST_VIRTIO_GSI   5 /* edge triggered, active high */

/* Test-exit port: the byte written ends the VM with that status; 0 is success. */
#define GUEST_EXIT_PORT 0xf4
/* Report ports, 32-bit writes, added up by the host and shown at the end. */
#define GUEST_REPORT_CHECKED_PORT    0xf8 /* pages whose content was verified */
#define GUEST_REPORT_MISMATCHED_PORT 0xfc /* of those, pages that differed */

/* Statuses of the minimal guest. */
#define GUEST_STATUS_OK         0
#define GUEST_STATUS_MISMATCH   1 /* a page did not hold what was written */
#define GUEST_STATUS_USAGE      2 /* command line not understood */
#define GUEST_STATUS_NO_MEMORY  3 /* the workload does not fit in the guest */
#define GUEST_STATUS_DRIVER     4 /* the balloon device refused or misbehaved */
#define GUEST_STATUS_UNEXPECTED 5 /* exception in the guest, failed assertion */

#endif
