/* PCI configuration space and enumeration, see pci.h. */
#include "drivers/pci.h"

#include "drivers/pci_regs.h"
#include "drivers/port.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  0x80000000u

/* Header fields (PCI 3.0, 6.1; PCI-to-PCI Bridge 1.2, 3.2). */
#define REG_VENDOR      0x00
#define REG_CLASS       0x08
#define REG_HEADER_TYPE 0x0c /* bits 16-23 */
#define REG_BAR         0x10
#define REG_CAPABILITY  0x34
#define REG_BUSES       0x18 /* of a bridge: bits 8-15 the bus behind it */
#define REG_INTERRUPT   0x3c

#define STATUS_CAPABILITIES  0x0010u
#define HEADER_MANY          0x80u
#define HEADER_BRIDGE        0x01u
#define BAR_IS_IO            0x01u
#define BAR_TYPE             0x06u
#define BAR_TYPE_64          0x04u
#define BAR_COUNT            6u
#define CAPABILITY_FIRST     0x40u /* below lies the header */
#define CAPABILITY_STEPS_MAX 48u   /* as many as there is room for */

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

void pci_write32(const struct pci_device *device, unsigned offset, uint32_t value)
{
    select(device, offset);
    port_write32(CONFIG_DATA, value);
}

uint16_t pci_io_base(const struct pci_device *device, unsigned bar)
{
    uint32_t value = pci_read32(device, REG_BAR + 4 * bar);
    return value & BAR_IS_IO && value <= 0xffff ? (uint16_t)(value & ~3u) : 0;
}

/* What stays writable of a BAR says how large it is (PCI 3.0, 6.2.5.1). */
static uint32_t bar_mask(const struct pci_device *device, unsigned offset)
{
    uint32_t value = pci_read32(device, offset);
    pci_write32(device, offset, UINT32_MAX);
    uint32_t mask = pci_read32(device, offset);
    pci_write32(device, offset, value);
    return mask;
}

bool pci_memory_bar(const struct pci_device *device, unsigned bar, uint64_t *base, uint64_t *bytes)
{
    unsigned offset = REG_BAR + 4 * bar;
    if (bar >= BAR_COUNT)
        return false;
    uint32_t low = pci_read32(device, offset);
    bool wide = (low & BAR_TYPE) == BAR_TYPE_64;
    if (low & BAR_IS_IO || (wide && bar + 1 == BAR_COUNT))
        return false;
    uint16_t command = pci_read16(device, PCI_REG_COMMAND);
    pci_write16(device, PCI_REG_COMMAND, (uint16_t)(command & ~PCI_COMMAND_MEMORY));
    uint64_t mask = (bar_mask(device, offset) & ~15u) | 0xffffffff00000000ull;
    *base = low & ~15u;
    if (wide) {
        *base |= (uint64_t)pci_read32(device, offset + 4) << 32;
        mask = (mask & UINT32_MAX) | (uint64_t)bar_mask(device, offset + 4) << 32;
    }
    pci_write16(device, PCI_REG_COMMAND, command);
    *bytes = ~mask + 1;
    return *base && *bytes && (*bytes & (*bytes - 1)) == 0 && *base % *bytes == 0;
}

unsigned pci_capability(const struct pci_device *device, uint8_t id, unsigned after)
{
    if (!(pci_read32(device, PCI_REG_COMMAND) >> 16 & STATUS_CAPABILITIES))
        return 0;
    unsigned at = pci_read32(device, REG_CAPABILITY) & 0xfc;
    bool passed = after == 0;
    for (unsigned i = 0; i < CAPABILITY_STEPS_MAX && at >= CAPABILITY_FIRST; i++) {
        uint32_t header = pci_read32(device, at);
        if (passed && (header & 0xff) == id)
            return at;
        passed |= at == after;
        at = header >> 8 & 0xfc;
    }
    return 0;
}

static void enable(const struct pci_device *device, uint16_t bits)
{
    uint16_t command = pci_read16(device, PCI_REG_COMMAND);
    command = (uint16_t)((command | bits | PCI_COMMAND_MASTER) & ~PCI_COMMAND_INTX_DISABLE);
    pci_write16(device, PCI_REG_COMMAND, command);
}

void pci_enable_io_dma(const struct pci_device *device)
{
    enable(device, PCI_COMMAND_IO);
}

void pci_enable_memory_dma(const struct pci_device *device)
{
    enable(device, PCI_COMMAND_MEMORY);
}

void pci_disable_dma(const struct pci_device *device)
{
    uint16_t command = pci_read16(device, PCI_REG_COMMAND);
    pci_write16(device, PCI_REG_COMMAND, (uint16_t)(command & ~PCI_COMMAND_MASTER));
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
