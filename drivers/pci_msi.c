/*
 * Message-signalled interrupts (PCI Local Bus 3.0, 6.8), see pci.h. One message a
 * device: all its queues share a vector, and each looks for itself.
 */
#include "drivers/irq.h"
#include "drivers/pci.h"
#include "drivers/pci_regs.h"
#include "drivers/port.h"

#define CONTROL 2 /* offset in both capabilities */

/* An entry of the MSI-X table (6.8.2.6 to 6.8.2.9). */
#define ENTRY_ADDRESS 0
#define ENTRY_UPPER   4
#define ENTRY_DATA    8
#define ENTRY_CONTROL 12
#define ENTRY_BYTES   16

static uint8_t msix_start(const struct pci_device *device, unsigned at,
                          void *(*map)(hpa_t address, size_t size))
{
    uint64_t base, bytes, address;
    uint32_t place = pci_read32(device, at + 4), data;
    uint64_t offset = place & ~PCI_MSIX_TABLE_BAR;
    if (!pci_memory_bar(device, place & PCI_MSIX_TABLE_BAR, &base, &bytes) || bytes < ENTRY_BYTES ||
        offset > bytes - ENTRY_BYTES)
        return 0;
    volatile void *entry = map(hpa(base + offset), ENTRY_BYTES);
    uint8_t vector = entry ? irq_route_message(&address, &data) : 0;
    if (!vector)
        return 0;
    uint16_t control = pci_read16(device, at + CONTROL);
    pci_write16(device, at + CONTROL, control | PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    mmio_write32(entry, ENTRY_ADDRESS, (uint32_t)address);
    mmio_write32(entry, ENTRY_UPPER, (uint32_t)(address >> 32));
    mmio_write32(entry, ENTRY_DATA, data);
    mmio_write32(entry, ENTRY_CONTROL, 0);
    pci_write16(device, at + CONTROL, (uint16_t)((control & ~PCI_MSIX_MASK_ALL) | PCI_MSIX_ENABLE));
    return vector;
}

static uint8_t msi_start(const struct pci_device *device, unsigned at)
{
    uint64_t address;
    uint32_t data;
    uint8_t vector = irq_route_message(&address, &data);
    if (!vector)
        return 0;
    uint16_t control = pci_read16(device, at + CONTROL);
    unsigned data_at = at + (control & PCI_MSI_64 ? 12 : 8);
    pci_write32(device, at + 4, (uint32_t)address);
    if (control & PCI_MSI_64)
        pci_write32(device, at + 8, (uint32_t)(address >> 32));
    pci_write16(device, data_at, (uint16_t)data);
    if (control & PCI_MSI_MASKABLE)
        pci_write32(device, data_at + 4, 0);
    pci_write16(device, at + CONTROL, (uint16_t)((control & ~PCI_MSI_MANY) | PCI_MSI_ENABLE));
    return vector;
}

static void line_set(const struct pci_device *device, bool on)
{
    uint16_t command = pci_read16(device, PCI_REG_COMMAND);
    pci_write16(
        device, PCI_REG_COMMAND,
        (uint16_t)(on ? command & ~PCI_COMMAND_INTX_DISABLE : command | PCI_COMMAND_INTX_DISABLE));
}

struct pci_interrupt pci_interrupt_start(const struct pci_device *device,
                                         void *(*map)(hpa_t address, size_t size))
{
    unsigned at = pci_capability(device, PCI_CAPABILITY_MSIX, 0);
    uint8_t vector;
    pci_interrupt_stop(device); /* whatever the firmware left on */
    if (at && (vector = msix_start(device, at, map)) != 0)
        return (struct pci_interrupt){ PCI_INTERRUPT_MSIX, vector };
    at = pci_capability(device, PCI_CAPABILITY_MSI, 0);
    if (at && (vector = msi_start(device, at)) != 0)
        return (struct pci_interrupt){ PCI_INTERRUPT_MSI, vector };
    vector = irq_route_pci(device->interrupt_line);
    if (!vector)
        return (struct pci_interrupt){ PCI_INTERRUPT_NONE, 0 };
    line_set(device, true);
    return (struct pci_interrupt){ PCI_INTERRUPT_LINE, vector };
}

void pci_interrupt_stop(const struct pci_device *device)
{
    unsigned at = pci_capability(device, PCI_CAPABILITY_MSIX, 0);
    if (at)
        pci_write16(device, at + CONTROL,
                    (uint16_t)(pci_read16(device, at + CONTROL) & ~PCI_MSIX_ENABLE));
    at = pci_capability(device, PCI_CAPABILITY_MSI, 0);
    if (at)
        pci_write16(device, at + CONTROL,
                    (uint16_t)(pci_read16(device, at + CONTROL) & ~PCI_MSI_ENABLE));
    line_set(device, false);
}
