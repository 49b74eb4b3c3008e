/*
 * NVMe: one admin queue pair and one I/O queue pair for each controller. Internal
 * to drivers/; others use drivers/disk.h and struct block_device.
 *
 * Source: NVM Express Base Specification 1.4 (registers: 3.1; queues: 4; admin
 * commands: 5; NVM commands: 6). A command's identifier is the number of its slot.
 *
 * The controller is not trusted: a completion counts only when its identifier
 * names a slot that runs, on the right queue; anything else is a reset.
 */
#ifndef DRIVERS_NVME_H
#define DRIVERS_NVME_H

#include "drivers/disk_driver.h"
#include "lib/assert.h"

/* Registers (3.1). */
#define NVME_CAP       0x00 /* 64 bits, read as two halves */
#define NVME_MASK_SET  0x0c /* for interrupts by line and MSI */
#define NVME_MASK_CLR  0x10
#define NVME_CC        0x14
#define NVME_CSTS      0x1c
#define NVME_AQA       0x24
#define NVME_ASQ       0x28
#define NVME_ACQ       0x30
#define NVME_DOORBELLS 0x1000

#define NVME_CAP_MQES(cap)   ((unsigned)(cap)&0xffff)         /* entries of a queue - 1 */
#define NVME_CAP_TO(cap)     ((unsigned)((cap) >> 24) & 0xff) /* in 500 ms */
#define NVME_CAP_DSTRD(cap)  ((unsigned)((cap) >> 32) & 0xf)
#define NVME_CAP_NVM(cap)    ((cap) >> 37 & 1) /* the NVM command set */
#define NVME_CAP_MPSMIN(cap) ((unsigned)((cap) >> 48) & 0xf)

#define NVME_CC_ENABLE  0x1u
#define NVME_CC_ENTRIES (6u << 16 | 4u << 20) /* 64 and 16 bytes; pages of 4 KiB */
#define NVME_CSTS_READY 0x1u
#define NVME_CSTS_FATAL 0x2u

#define NVME_ADMIN_CREATE_SQ    0x01
#define NVME_ADMIN_CREATE_CQ    0x05
#define NVME_ADMIN_IDENTIFY     0x06
#define NVME_ADMIN_SET_FEATURES 0x09
#define NVME_IO_WRITE           0x01
#define NVME_IO_READ            0x02

struct nvme_command {
    uint8_t opcode, flags;
    uint16_t id;
    uint32_t nsid;
    uint64_t reserved, metadata;
    uint64_t prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};
static_assert(sizeof(struct nvme_command) == 64, "NVMe 1.4, 4.2");

struct nvme_completion {
    uint32_t result, reserved;
    uint16_t head, queue;
    uint16_t id;
    uint16_t status; /* bit 0: phase */
};
static_assert(sizeof(struct nvme_completion) == 16, "NVMe 1.4, 4.6");

/* Status code type and code (4.6.1); 0: successful. */
#define NVME_STATUS(field) ((unsigned)(field) >> 1 & 0x7ff)

#define NVME_ENTRIES_MAX   64u /* one page of commands */
#define NVME_CONTROLLERS   4u
#define NVME_PRP_BYTES     512u /* of a slot's list of pages */
#define NVME_PRP_PAGES_MAX (NVME_PRP_BYTES / 8)

/* A queue pair: 0 admin, 1 I/O. */
struct nvme_pair {
    unsigned number, entries;
    struct nvme_command *commands;
    volatile struct nvme_completion *completions;
    hpa_t commands_address, completions_address;
    unsigned tail, head;
    uint16_t phase; /* of completions that are new */
};

struct nvme {
    struct disk_queue queue;
    struct pci_interrupt interrupt;
    volatile void *registers;
    uint64_t cap;
    struct nvme_pair admin, io;
    uint8_t *lists; /* NVME_PRP_BYTES for each slot */
    hpa_t lists_address;
    uint8_t *answer; /* one page: what Identify returns */
    hpa_t answer_address;
    uint32_t namespaces[DISK_UNIT_MAX]; /* identifier of each unit */
};

/* ---- nvme_admin.c: controller and queues ------------------------------------------- */

/* From whatever state to one where I/O commands are taken. NULL, or what failed. */
const char *nvme_bring_up(struct nvme *nvme);
/* One admin command, waited for. NULL, or what failed. */
const char *nvme_admin(struct nvme *nvme, struct nvme_command command, uint32_t *result);

/* ---- nvme_queue.c: commands and completions ------------------------------------------ */

void nvme_pair_clear(struct nvme_pair *pair);
/* Appends a command and tells the controller. */
void nvme_pair_send(struct nvme *nvme, struct nvme_pair *pair, const struct nvme_command *command);
/* Takes the next completion; false: there is none. */
bool nvme_pair_take(struct nvme_pair *pair, struct nvme_completion *completion);
/* Tells the controller how far completions were taken. */
void nvme_pair_taken(struct nvme *nvme, const struct nvme_pair *pair);

extern const struct disk_queue_ops nvme_queue_ops;

#endif
