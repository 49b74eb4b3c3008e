/*
 * PCI by configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2):
 * ports 0xcf8 and 0xcfc. Boot CPU only, no lock.
 */
#ifndef DRIVERS_PCI_H
#define DRIVERS_PCI_H

#include "lib/types.h"

struct pci_device {
    uint8_t bus, slot, function;
    uint16_t vendor, device;
    uint8_t class_code, subclass, interface;
    uint8_t interrupt_line; /* as the firmware routed it; 255: not at all */
};

uint32_t pci_read32(const struct pci_device *device, unsigned offset);
uint16_t pci_read16(const struct pci_device *device, unsigned offset);
void pci_write16(const struct pci_device *device, unsigned offset, uint16_t value);

/* I/O port base in BAR number `bar`, 0: none there. */
uint16_t pci_io_base(const struct pci_device *device, unsigned bar);

/* Lets the device decode I/O ports and master the bus. */
void pci_enable_io_dma(const struct pci_device *device);

/* Calls found() for every function of every bus; at most 256 * 32 * 8 probes,
 * buses beyond the first only behind bridges. */
void pci_enumerate(void (*found)(const struct pci_device *device));

#endif
