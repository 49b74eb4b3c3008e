/*
 * AHCI: every port with a disk is a queue of its own. Internal to drivers/; others
 * use drivers/disk.h and struct block_device.
 *
 * Source: Serial ATA AHCI 1.3.1 (registers: 3; command list and tables: 4; errors:
 * 6.2; ports: 10). FIS: Serial ATA 3.0, 10.3. Drives with a native command queue
 * get up to 32 commands, tags are slot numbers; others get one at a time.
 *
 * After an error the drive has dropped all of its queue. The port is reset, and the
 * requests are tried once more one by one, which finds the one to blame without
 * the drive's error log.
 */
#ifndef DRIVERS_AHCI_H
#define DRIVERS_AHCI_H

#include "drivers/ata.h"
#include "drivers/disk_driver.h"
#include "lib/assert.h"

/* HBA registers (3.1). */
#define AHCI_CAP     0x00
#define AHCI_GHC     0x04
#define AHCI_IS      0x08 /* one bit a port; 1 clears */
#define AHCI_PI      0x0c
#define AHCI_CAP2    0x24
#define AHCI_BOHC    0x28
#define AHCI_HBA_END 0x100

#define AHCI_CAP_SLOTS(cap) (((cap) >> 8 & 31) + 1)
#define AHCI_CAP_NCQ        (1u << 30)
#define AHCI_CAP_64         (1u << 31)
#define AHCI_CAP2_HANDOFF   0x1u
#define AHCI_BOHC_BIOS      0x1u
#define AHCI_BOHC_OS        0x2u
#define AHCI_GHC_RESET      0x1u
#define AHCI_GHC_INTERRUPTS 0x2u
#define AHCI_GHC_ENABLE     (1u << 31)

/* Port registers (3.3), from AHCI_PORT(n) on. */
#define AHCI_PORT(n)    (0x100 + 0x80 * (n))
#define AHCI_PORT_BYTES 0x80
#define AHCI_PORTS      32
#define AHCI_PxCLB      0x00
#define AHCI_PxCLBU     0x04
#define AHCI_PxFB       0x08
#define AHCI_PxFBU      0x0c
#define AHCI_PxIS       0x10
#define AHCI_PxIE       0x14
#define AHCI_PxCMD      0x18
#define AHCI_PxTFD      0x20
#define AHCI_PxSIG      0x24
#define AHCI_PxSSTS     0x28
#define AHCI_PxSCTL     0x2c
#define AHCI_PxSERR     0x30
#define AHCI_PxSACT     0x34
#define AHCI_PxCI       0x38

#define AHCI_CMD_START       (1u << 0)
#define AHCI_CMD_SPIN_UP     (1u << 1)
#define AHCI_CMD_POWER       (1u << 2)
#define AHCI_CMD_FIS         (1u << 4)
#define AHCI_CMD_FIS_RUNS    (1u << 14)
#define AHCI_CMD_RUNS        (1u << 15)
#define AHCI_CMD_ACTIVE_LINK (0xfu << 28)
#define AHCI_SSTS_DETECT     0xfu
#define AHCI_SSTS_PRESENT    0x3u /* device there, link up */
#define AHCI_SIG_DISK        0x00000101u

/* Completions: D2H, PIO setup, DMA setup, set device bits. */
#define AHCI_IS_DONE 0x0000000fu
/* Task file, host bus fatal and data, interface fatal, overflow, unknown FIS. */
#define AHCI_IS_ERROR 0x7d000010u

/* Command header (4.2.2), table (4.2.3), one region each: bounce buffers are
 * contiguous and shorter than the 4 MiB that a region holds. */
struct ahci_header {
    uint16_t flags;
    uint16_t region_count;
    uint32_t bytes_moved;
    uint32_t table, table_upper;
    uint32_t reserved[4];
};
static_assert(sizeof(struct ahci_header) == 32, "AHCI 1.3.1, 4.2.2");
#define AHCI_HEADER_FIS_WORDS 5u
#define AHCI_HEADER_WRITE     (1u << 6)

struct ahci_table {
    uint8_t fis[64], atapi[16], reserved[48];
    uint32_t address, address_upper, reserved_region, bytes; /* - 1 */
    uint8_t unused[112];
};
static_assert(sizeof(struct ahci_table) == 256, "tables are aligned to 128 bytes");

/* What the port reads and writes. */
struct ahci_memory {
    struct ahci_header headers[32];
    uint8_t received[256]; /* FIS of the drive */
    uint16_t identity[ATA_IDENTIFY_WORDS];
    uint8_t unused[256];
    struct ahci_table tables[DISK_DEPTH_MAX];
};
static_assert(offsetof(struct ahci_memory, received) % 256 == 0, "AHCI 1.3.1, 3.3.3");
static_assert(offsetof(struct ahci_memory, tables) % 128 == 0, "AHCI 1.3.1, 4.2.2");

#define AHCI_PORT_MAX 8u /* ports with disks, of all controllers */

struct ahci_port {
    struct disk_queue queue;
    volatile void *hba;
    volatile void *registers;
    unsigned number;
    bool lba48, ncq;
    struct ahci_memory *memory;
    hpa_t memory_address;
};

/* ---- ahci_port.c -------------------------------------------------------------------- */

/* Stops it, resets the link, and starts it again. NULL, or what failed. */
const char *ahci_port_bring_up(struct ahci_port *port);
/* A command's FIS, header and table, with its data; not issued. */
void ahci_command_set(struct ahci_port *port, unsigned slot, uint8_t command, bool write,
                      uint64_t address, uint32_t bytes);
/* Identify, waited for, into the port's memory. NULL, or what failed. */
const char *ahci_port_identify(struct ahci_port *port);

extern const struct disk_queue_ops ahci_queue_ops;

#endif
