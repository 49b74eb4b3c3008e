/* One AHCI port: commands, completions, reset. See ahci.h. */
#include "drivers/ahci.h"

#include "drivers/wait.h"
#include "lib/string.h"

#define STOP_TIMEOUT     (500 * WAIT_MS) /* 10.1.2 */
#define RESET_HOLD       (1 * WAIT_MS)   /* 10.4.2 */
#define LINK_TIMEOUT     (500 * WAIT_MS)
#define READY_TIMEOUT    (2000 * WAIT_MS) /* drives at hand have long spun up */
#define IDENTIFY_TIMEOUT (2000 * WAIT_MS)

#define SCTL_RESET 0x301u /* DET 1, no power saving */
#define SCTL_NONE  0x300u

/* FIS host to device (Serial ATA 3.0, 10.3.4), as offsets. */
#define FIS_TYPE         0
#define FIS_FLAGS        1
#define FIS_COMMAND      2
#define FIS_FEATURES     3
#define FIS_LBA_LOW      4
#define FIS_DEVICE       7
#define FIS_LBA_HIGH     8
#define FIS_FEATURES_EXT 11
#define FIS_COUNT        12
#define FIS_COUNT_EXT    13
#define FIS_HOST         0x27
#define FIS_IS_COMMAND   0x80
#define DEVICE_LBA       0x40u

#define COMMAND_READ_NCQ  0x60
#define COMMAND_WRITE_NCQ 0x61

static uint32_t get(const struct ahci_port *port, unsigned offset)
{
    return mmio_read32(port->registers, offset);
}

static void set(struct ahci_port *port, unsigned offset, uint32_t value)
{
    mmio_write32(port->registers, offset, value);
}

/* ---- reset ------------------------------------------------------------------------------ */

static const char *stop(struct ahci_port *port)
{
    set(port, AHCI_PxIE, 0);
    set(port, AHCI_PxCMD, get(port, AHCI_PxCMD) & ~AHCI_CMD_START);
    if (!wait_mmio32(port->registers, AHCI_PxCMD, AHCI_CMD_RUNS, 0, STOP_TIMEOUT))
        return "its command list does not stop";
    set(port, AHCI_PxCMD, get(port, AHCI_PxCMD) & ~AHCI_CMD_FIS);
    if (!wait_mmio32(port->registers, AHCI_PxCMD, AHCI_CMD_FIS_RUNS, 0, STOP_TIMEOUT))
        return "its FIS receiver does not stop";
    return NULL;
}

static void clear_errors(struct ahci_port *port)
{
    set(port, AHCI_PxSERR, UINT32_MAX);
    set(port, AHCI_PxIS, UINT32_MAX);
    mmio_write32(port->hba, AHCI_IS, 1u << port->number);
}

static void place_memory(struct ahci_port *port)
{
    uint64_t list = port->memory_address.v;
    uint64_t received = list + offsetof(struct ahci_memory, received);
    memset(port->memory, 0, sizeof(*port->memory));
    set(port, AHCI_PxCLB, (uint32_t)list);
    set(port, AHCI_PxCLBU, (uint32_t)(list >> 32));
    set(port, AHCI_PxFB, (uint32_t)received);
    set(port, AHCI_PxFBU, (uint32_t)(received >> 32));
}

static const char *link_reset(struct ahci_port *port)
{
    set(port, AHCI_PxSCTL, SCTL_RESET);
    wait_ns(RESET_HOLD);
    set(port, AHCI_PxSCTL, SCTL_NONE);
    if (!wait_mmio32(port->registers, AHCI_PxSSTS, AHCI_SSTS_DETECT, AHCI_SSTS_PRESENT,
                     LINK_TIMEOUT))
        return "no drive";
    if (!wait_mmio32(port->registers, AHCI_PxTFD, ATA_STATUS_BUSY | ATA_STATUS_DATA, 0,
                     READY_TIMEOUT))
        return "its drive stays busy";
    return NULL;
}

const char *ahci_port_bring_up(struct ahci_port *port)
{
    const char *problem = stop(port);
    if (problem)
        return problem;
    place_memory(port);
    clear_errors(port);
    uint32_t command = get(port, AHCI_PxCMD) & ~AHCI_CMD_ACTIVE_LINK;
    set(port, AHCI_PxCMD, command | AHCI_CMD_POWER | AHCI_CMD_SPIN_UP | AHCI_CMD_FIS);
    problem = link_reset(port);
    if (problem)
        return problem;
    clear_errors(port);
    set(port, AHCI_PxCMD, get(port, AHCI_PxCMD) | AHCI_CMD_START);
    set(port, AHCI_PxIE, AHCI_IS_DONE | AHCI_IS_ERROR);
    return NULL;
}

/* ---- commands ------------------------------------------------------------------------------ */

void ahci_command_set(struct ahci_port *port, unsigned slot, uint8_t command, bool write,
                      uint64_t address, uint32_t bytes)
{
    struct ahci_table *table = &port->memory->tables[slot];
    uint64_t table_address =
        port->memory_address.v + offsetof(struct ahci_memory, tables) + slot * sizeof(*table);
    memset(table->fis, 0, sizeof(table->fis));
    table->fis[FIS_TYPE] = FIS_HOST;
    table->fis[FIS_FLAGS] = FIS_IS_COMMAND;
    table->fis[FIS_COMMAND] = command;
    table->address = (uint32_t)address;
    table->address_upper = (uint32_t)(address >> 32);
    table->bytes = bytes - 1;
    port->memory->headers[slot] = (struct ahci_header){
        .flags = (uint16_t)(AHCI_HEADER_FIS_WORDS | (write ? AHCI_HEADER_WRITE : 0)),
        .region_count = 1,
        .table = (uint32_t)table_address,
        .table_upper = (uint32_t)(table_address >> 32),
    };
}

static void set_address(uint8_t *fis, uint64_t sector)
{
    for (unsigned i = 0; i < 3; i++) {
        fis[FIS_LBA_LOW + i] = (uint8_t)(sector >> (8 * i));
        fis[FIS_LBA_HIGH + i] = (uint8_t)(sector >> (24 + 8 * i));
    }
}

/* Native queueing has the count where others have features, and the tag where
 * others have the count. */
static void set_ncq(uint8_t *fis, unsigned slot, uint32_t count)
{
    fis[FIS_FEATURES] = (uint8_t)count;
    fis[FIS_FEATURES_EXT] = (uint8_t)(count >> 8);
    fis[FIS_COUNT] = (uint8_t)(slot << 3);
    fis[FIS_DEVICE] = DEVICE_LBA;
}

static void set_plain(const struct ahci_port *port, uint8_t *fis, uint64_t sector, uint32_t count)
{
    fis[FIS_COUNT] = (uint8_t)count;
    fis[FIS_COUNT_EXT] = (uint8_t)(count >> 8);
    fis[FIS_DEVICE] = DEVICE_LBA;
    if (port->lba48)
        return;
    fis[FIS_DEVICE] |= (uint8_t)(sector >> 24 & 15);
    fis[FIS_LBA_HIGH] = fis[FIS_COUNT_EXT] = 0;
}

static uint8_t command_of(const struct ahci_port *port, bool read)
{
    if (port->ncq)
        return read ? COMMAND_READ_NCQ : COMMAND_WRITE_NCQ;
    if (port->lba48)
        return read ? ATA_COMMAND_READ_DMA_EXT : ATA_COMMAND_WRITE_DMA_EXT;
    return read ? ATA_COMMAND_READ_DMA : ATA_COMMAND_WRITE_DMA;
}

static struct ahci_port *port_of(struct disk_queue *queue)
{
    return container_of(queue, struct ahci_port, queue);
}

static enum disk_verdict ahci_start(struct disk_queue *queue, unsigned slot)
{
    struct ahci_port *port = port_of(queue);
    const struct block_request *request = queue->slots[slot].request;
    bool read = request->operation == BLOCK_READ;
    uint8_t *fis = port->memory->tables[slot].fis;
    ahci_command_set(port, slot, command_of(port, read), !read, request->buffer_address.v,
                     request->sector_count * BLOCK_SECTOR_SIZE);
    set_address(fis, request->sector);
    if (port->ncq)
        set_ncq(fis, slot, request->sector_count);
    else
        set_plain(port, fis, request->sector, request->sector_count);
    dma_fence();
    if (port->ncq)
        set(port, AHCI_PxSACT, 1u << slot);
    set(port, AHCI_PxCI, 1u << slot);
    return DISK_FINE;
}

/* ---- completions -------------------------------------------------------------------------------
 */

/* Which slots the port still works on. */
static uint32_t busy_slots(const struct ahci_port *port)
{
    uint32_t issued = get(port, AHCI_PxCI);
    return port->ncq ? issued | get(port, AHCI_PxSACT) : issued;
}

/* The port has stopped. The only command there is is to blame; of several, the
 * second try will tell. */
static enum disk_verdict blame(struct disk_queue *queue, uint32_t causes)
{
    struct ahci_port *port = port_of(queue);
    disk_complain(queue, "error: interrupt status 0x%x, task file 0x%x, link errors 0x%x", causes,
                  get(port, AHCI_PxTFD), get(port, AHCI_PxSERR));
    if (queue->running != 1)
        return DISK_RESET;
    for (unsigned slot = 0; slot < queue->depth; slot++)
        if (disk_queue_runs(queue, slot))
            disk_queue_end(queue, slot, BLOCK_ERROR);
    return DISK_RESET;
}

static enum disk_verdict ahci_advance(struct disk_queue *queue)
{
    struct ahci_port *port = port_of(queue);
    uint32_t causes = get(port, AHCI_PxIS);
    if (causes == UINT32_MAX) {
        disk_complain(queue, "registers read as 0x%x", causes);
        return DISK_NONSENSE;
    }
    set(port, AHCI_PxIS, causes);
    mmio_write32(port->hba, AHCI_IS, 1u << port->number);
    if (causes & AHCI_IS_ERROR)
        return blame(queue, causes);
    uint32_t busy = busy_slots(port);
    dma_fence();
    if (get(port, AHCI_PxTFD) & (ATA_STATUS_ERROR | ATA_STATUS_FAULT) && queue->running)
        return blame(queue, causes);
    for (unsigned slot = 0; slot < queue->depth; slot++)
        if (disk_queue_runs(queue, slot) && !(busy & 1u << slot))
            disk_queue_end(queue, slot, BLOCK_OK);
    return DISK_FINE;
}

static void ahci_reset(struct disk_queue *queue)
{
    const char *problem = ahci_port_bring_up(port_of(queue));
    if (!problem)
        return;
    disk_complain(queue, "reset: %s", problem);
    disk_queue_lost(queue);
}

const struct disk_queue_ops ahci_queue_ops = {
    .start = ahci_start,
    .advance = ahci_advance,
    .reset = ahci_reset,
};

/* ---- identify
 * ------------------------------------------------------------------------------------ */

const char *ahci_port_identify(struct ahci_port *port)
{
    ahci_command_set(port, 0, ATA_COMMAND_IDENTIFY, false,
                     port->memory_address.v + offsetof(struct ahci_memory, identity),
                     sizeof(port->memory->identity));
    dma_fence();
    set(port, AHCI_PxCI, 1);
    bool answered = wait_mmio32(port->registers, AHCI_PxCI, 1, 0, IDENTIFY_TIMEOUT);
    bool failed = (get(port, AHCI_PxTFD) & (ATA_STATUS_ERROR | ATA_STATUS_FAULT)) ||
                  (get(port, AHCI_PxIS) & AHCI_IS_ERROR);
    clear_errors(port);
    if (!answered || failed)
        return answered ? "identification failed" : "identification not answered";
    dma_fence();
    return NULL;
}
