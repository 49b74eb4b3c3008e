/* PCI configuration space and enumeration, see pci.h. */
#include "drivers/pci.h"

#include "drivers/port.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  0x80000000u

/* Header fields (PCI 3.0, 6.1; PCI-to-PCI Bridge 1.2, 3.2). */
#define REG_VENDOR      0x00
#define REG_COMMAND     0x04
#define REG_CLASS       0x08
#define REG_HEADER_TYPE 0x0c /* bits 16-23 */
#define REG_BAR         0x10
#define REG_BUSES       0x18 /* of a bridge: bits 8-15 the bus behind it */
#define REG_INTERRUPT   0x3c

#define COMMAND_IO           0x0001u
#define COMMAND_MASTER       0x0004u
#define COMMAND_INTX_DISABLE 0x0400u
#define HEADER_MANY          0x80u
#define HEADER_BRIDGE        0x01u
#define BAR_IS_IO            0x01u

#define BUSES     256
#define SLOTS     32
#define FUNCTIONS 8

static void select(const struct pci_device *device, unsigned offset)
{
    port_write32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)device->bus << 16 |
                                     (uint32_t)device->slot << 11 |
                                     (uint32_t)device->function << 8 | (offset & 0xfc));
}

uint32_t pci_read32(const struct pci_device *device, unsigned offset)
{
    select(device, offset);
    return port_read32(CONFIG_DATA);
}

uint16_t pci_read16(const struct pci_device *device, unsigned offset)
{
    select(device, offset);
    return port_read16(CONFIG_DATA + (offset & 2));
}

void pci_write16(const struct pci_device *device, unsigned offset, uint16_t value)
{
    select(device, offset);
    port_write16(CONFIG_DATA + (offset & 2), value);
}

uint16_t pci_io_base(const struct pci_device *device, unsigned bar)
{
    uint32_t value = pci_read32(device, REG_BAR + 4 * bar);
    return value & BAR_IS_IO && value <= 0xffff ? (uint16_t)(value & ~3u) : 0;
}

void pci_enable_io_dma(const struct pci_device *device)
{
    uint16_t command = pci_read16(device, REG_COMMAND);
    command = (uint16_t)((command | COMMAND_IO | COMMAND_MASTER) & ~COMMAND_INTX_DISABLE);
    pci_write16(device, REG_COMMAND, command);
}

/* False when no function answers there. */
static bool probe(struct pci_device *device)
{
    uint32_t id = pci_read32(device, REG_VENDOR);
    if ((id & 0xffff) == 0xffff)
        return false;
    uint32_t class = pci_read32(device, REG_CLASS);
    device->vendor = (uint16_t)id;
    device->device = (uint16_t)(id >> 16);
    device->class_code = (uint8_t)(class >> 24);
    device->subclass = (uint8_t)(class >> 16);
    device->interface = (uint8_t)(class >> 8);
    device->interrupt_line = (uint8_t)pci_read32(device, REG_INTERRUPT);
    return true;
}

static void scan_slot(unsigned bus, unsigned slot, uint8_t wanted[BUSES],
                      void (*found)(const struct pci_device *device))
{
    unsigned functions = 1;
    for (unsigned function = 0; function < functions; function++) {
        struct pci_device device = { .bus = (uint8_t)bus,
                                     .slot = (uint8_t)slot,
                                     .function = (uint8_t)function };
        if (!probe(&device))
            continue;
        uint32_t header = pci_read32(&device, REG_HEADER_TYPE) >> 16 & 0xff;
        if (function == 0 && header & HEADER_MANY)
            functions = FUNCTIONS;
        if ((header & 0x7f) == HEADER_BRIDGE)
            wanted[pci_read32(&device, REG_BUSES) >> 8 & 0xff] = 1;
        found(&device);
    }
}

/* Every bus is scanned once, whatever bridges say: a bus behind one is visited
 * when its number comes up, or in a later round when that has passed. */
void pci_enumerate(void (*found)(const struct pci_device *device))
{
    uint8_t wanted[BUSES] = { 1 }, done[BUSES] = { 0 };
    for (bool more = true; more;) {
        more = false;
        for (unsigned bus = 0; bus < BUSES; bus++) {
            if (!wanted[bus] || done[bus])
                continue;
            done[bus] = 1;
            more = true;
            for (unsigned slot = 0; slot < SLOTS; slot++)
                scan_slot(bus, slot, wanted, found);
        }
    }
}
