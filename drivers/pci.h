/*
 * PCI by configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2):
 * ports 0xcf8 and 0xcfc. Boot CPU only, no lock. What a device says is checked.
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
void pci_write32(const struct pci_device *device, unsigned offset, uint32_t value);

/* I/O port base in BAR number `bar`, 0: none there. */
uint16_t pci_io_base(const struct pci_device *device, unsigned bar);

/* Where and how large the memory behind BAR number `bar` is. False: no memory
 * there, or a place that makes no sense. */
bool pci_memory_bar(const struct pci_device *device, unsigned bar, uint64_t *base, uint64_t *bytes);

/* Offset of the next capability with this number after the one at `after` (0: from
 * the beginning); 0: none. */
unsigned pci_capability(const struct pci_device *device, uint8_t id, unsigned after);

/* Lets the device decode I/O ports, or memory, and master the bus. */
void pci_enable_io_dma(const struct pci_device *device);
void pci_enable_memory_dma(const struct pci_device *device);
/* The device reads and writes no memory any more. */
void pci_disable_dma(const struct pci_device *device);

/* How a device interrupts: by message (MSI-X or MSI), else by its line. */
enum pci_interrupt_kind {
    PCI_INTERRUPT_NONE,
    PCI_INTERRUPT_LINE,
    PCI_INTERRUPT_MSI,
    PCI_INTERRUPT_MSIX
};
struct pci_interrupt {
    enum pci_interrupt_kind kind;
    uint8_t vector; /* 0: none */
};

/* Switches on the best there is (drivers/pci_msi.c). map: for the table of MSI-X. */
struct pci_interrupt pci_interrupt_start(const struct pci_device *device,
                                         void *(*map)(hpa_t address, size_t size));
/* The device interrupts no more, in no way. */
void pci_interrupt_stop(const struct pci_device *device);

/* Calls found() for every function of every bus; at most 256 * 32 * 8 probes,
 * buses beyond the first only behind bridges. */
void pci_enumerate(void (*found)(const struct pci_device *device));

#endif
