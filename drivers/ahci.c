/* Finding AHCI controllers and the drives at their ports, see ahci.h. Boot time. */
#include "drivers/ahci.h"

#include "drivers/wait.h"
#include "lib/fmt.h"
#include "lib/string.h"

#define ABAR            5
#define RESET_TIMEOUT   (1000 * WAIT_MS) /* 10.4.3 */
#define LINK_WAIT       (50 * WAIT_MS)
#define HANDOFF_TIMEOUT (2000 * WAIT_MS) /* 10.6.3 */

static struct ahci_port ports[AHCI_PORT_MAX];
static unsigned port_count, controller_count;

struct controller {
    const struct pci_device *device;
    const struct disk_host *host;
    volatile void *registers;
    uint64_t bytes;
    uint32_t cap;
    struct pci_interrupt interrupt;
};

/* The firmware gives it up (10.6.3), or is not asked any longer. */
static void take_from_firmware(const struct controller *controller)
{
    volatile void *hba = controller->registers;
    if (!(mmio_read32(hba, AHCI_CAP2) & AHCI_CAP2_HANDOFF))
        return;
    mmio_write32(hba, AHCI_BOHC, mmio_read32(hba, AHCI_BOHC) | AHCI_BOHC_OS);
    wait_mmio32(hba, AHCI_BOHC, AHCI_BOHC_BIOS, 0, HANDOFF_TIMEOUT);
}

static const char *controller_start(struct controller *controller)
{
    uint64_t base;
    if (!pci_memory_bar(controller->device, ABAR, &base, &controller->bytes) ||
        controller->bytes < AHCI_PORT(1))
        return "no registers";
    if (controller->bytes > AHCI_PORT(AHCI_PORTS))
        controller->bytes = AHCI_PORT(AHCI_PORTS);
    volatile void *hba = controller->registers =
        controller->host->map(hpa(base), controller->bytes);
    if (!hba)
        return "its registers cannot be reached";
    take_from_firmware(controller);
    mmio_write32(hba, AHCI_GHC, AHCI_GHC_ENABLE);
    mmio_write32(hba, AHCI_GHC, AHCI_GHC_ENABLE | AHCI_GHC_RESET);
    if (!wait_mmio32(hba, AHCI_GHC, AHCI_GHC_RESET, 0, RESET_TIMEOUT))
        return "does not come out of reset";
    mmio_write32(hba, AHCI_GHC, AHCI_GHC_ENABLE);
    controller->cap = mmio_read32(hba, AHCI_CAP);
    return NULL;
}

/* NULL, or why the drive cannot be used. */
static const char *drive_describe(struct ahci_port *port, uint32_t cap)
{
    struct ata_identity identity;
    struct disk_unit *unit = &port->queue.units[0];
    const char *problem = ahci_port_identify(port);
    if (problem)
        return problem;
    problem = ata_identify_parse(port->memory->identity, &identity);
    memcpy(unit->model, identity.model, sizeof(unit->model));
    if (problem)
        return problem;
    if (!identity.dma)
        return "no DMA";
    port->lba48 = identity.lba48;
    port->ncq = identity.depth > 1 && cap & AHCI_CAP_NCQ;
    unsigned slots = AHCI_CAP_SLOTS(cap);
    if (!port->ncq)
        port->queue.depth = 1;
    else
        port->queue.depth = identity.depth < slots ? identity.depth : slots;
    unit->transfer = port->ncq ? "AHCI, NCQ" : "AHCI, DMA";
    return disk_unit_set(&port->queue, 0, identity.sector_count, DISK_SECTORS_MAX);
}

static void port_add(const struct controller *controller, unsigned number)
{
    struct ahci_port *port = &ports[port_count];
    struct disk_unit *unit = &port->queue.units[0];
    if (port_count == AHCI_PORT_MAX)
        return;
    memset(port, 0, sizeof(*port));
    disk_queue_init(&port->queue, &ahci_queue_ops, 1);
    port->hba = controller->registers;
    port->registers = (volatile char *)controller->registers + AHCI_PORT(number);
    port->number = number;
    port->queue.pci = *controller->device;
    port->queue.vector = controller->interrupt.vector;
    if (controller->cap & AHCI_CAP_64)
        port->queue.address_limit = UINT64_MAX;
    fmt_print(port->queue.name, sizeof(port->queue.name), "ahci%u.%u", controller_count, number);
    memcpy(unit->name, port->queue.name, sizeof(port->queue.name));
    port->memory = controller->host->dma_alloc(sizeof(struct ahci_memory), &port->memory_address);
    const char *problem = port->memory ? ahci_port_bring_up(port) : "no memory for its queue";
    if (!problem && mmio_read32(port->registers, AHCI_PxSIG) != AHCI_SIG_DISK)
        problem = "not a disk";
    if (!problem)
        problem = drive_describe(port, controller->cap);
    if (problem) {
        mmio_write32(port->registers, AHCI_PxIE, 0);
        log_info("disk %s: %s: not used", port->queue.name, problem);
        return;
    }
    port_count += controller->host->add(&port->queue);
}

/* Something is plugged in there, as far as the link tells. */
static bool port_is_used(const struct controller *controller, uint32_t implemented, unsigned number)
{
    if (!(implemented & 1u << number) || controller->bytes < AHCI_PORT(number + 1))
        return false;
    uint32_t status = mmio_read32(controller->registers, AHCI_PORT(number) + AHCI_PxSSTS);
    return (status & AHCI_SSTS_DETECT) != 0;
}

/* After the reset links come up by themselves, or when told to (10.10). */
static void spin_up(const struct controller *controller, uint32_t implemented)
{
    for (unsigned number = 0; number < AHCI_PORTS; number++) {
        unsigned command = AHCI_PORT(number) + AHCI_PxCMD;
        if (implemented & 1u << number && controller->bytes >= AHCI_PORT(number + 1))
            mmio_write32(controller->registers, command,
                         mmio_read32(controller->registers, command) | AHCI_CMD_POWER |
                             AHCI_CMD_SPIN_UP);
    }
    wait_ns(LINK_WAIT);
}

static void ahci_probe(const struct pci_device *device, const struct disk_host *host)
{
    struct controller controller = { .device = device, .host = host };
    pci_enable_memory_dma(device);
    const char *problem = controller_start(&controller);
    if (problem) {
        log_warn("disk ahci%u: %s: not used", controller_count++, problem);
        pci_disable_dma(device);
        return;
    }
    controller.interrupt = pci_interrupt_start(device, host->map);
    uint32_t implemented = mmio_read32(controller.registers, AHCI_PI);
    spin_up(&controller, implemented);
    for (unsigned number = 0; number < AHCI_PORTS; number++)
        if (port_is_used(&controller, implemented, number))
            port_add(&controller, number);
    mmio_write32(controller.registers, AHCI_IS, UINT32_MAX);
    mmio_write32(controller.registers, AHCI_GHC, AHCI_GHC_ENABLE | AHCI_GHC_INTERRUPTS);
    controller_count++;
}

const struct disk_driver ahci_driver = {
    .name = "AHCI",
    .class_code = 0x01,
    .subclass = 0x06,
    .interface = 0x01,
    .vendor = DISK_DRIVER_ANY,
    .probe = ahci_probe,
};
