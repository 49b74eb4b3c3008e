/*
 * The drivers of disk controllers, as drivers/disk.c starts them: a table, one
 * entry for each kind of controller on PCI. Internal to drivers/.
 */
#ifndef DRIVERS_DISK_DRIVER_H
#define DRIVERS_DISK_DRIVER_H

#include "drivers/disk_queue.h"

/* What a driver needs of the machine, boot time. */
struct disk_host {
    void *(*dma_alloc)(size_t size, hpa_t *address); /* cleared, page-aligned, below 4 GiB */
    void *(*map)(hpa_t address, size_t size);        /* device registers, uncached */
    /* The queue's units are offered from now on; it stays where it is. False:
     * there is no room for more. */
    bool (*add)(struct disk_queue *queue);
};

#define DISK_DRIVER_ANY 0xffffu

struct disk_driver {
    const char *name;
    uint8_t class_code, subclass; /* PCI Code and ID Assignment 1.11, 1.2 */
    uint16_t interface;           /* DISK_DRIVER_ANY: all of them */
    uint16_t vendor;              /* the same */
    /* Brings up a controller and adds its queues. Whatever is wrong with the device
     * is logged by name; waits are bounded. */
    void (*probe)(const struct pci_device *device, const struct disk_host *host);
};

extern const struct disk_driver ide_driver, ahci_driver, nvme_driver, virtio_blk_driver;

#endif
