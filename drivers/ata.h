/*
 * What IDE and AHCI share: IDENTIFY DEVICE (ATA/ATAPI-6, T13/1410D, 8.15; ACS-3,
 * T13/2161-D, 7.12 for words 75 and 76). The drive is not trusted. No state.
 */
#ifndef DRIVERS_ATA_H
#define DRIVERS_ATA_H

#include "lib/types.h"

#define ATA_IDENTIFY_WORDS 256
#define ATA_LBA28_LIMIT    (1ull << 28)

#define ATA_STATUS_ERROR 0x01u
#define ATA_STATUS_DATA  0x08u
#define ATA_STATUS_FAULT 0x20u
#define ATA_STATUS_READY 0x40u
#define ATA_STATUS_BUSY  0x80u

#define ATA_COMMAND_IDENTIFY      0xec
#define ATA_COMMAND_READ_DMA      0xc8
#define ATA_COMMAND_WRITE_DMA     0xca
#define ATA_COMMAND_READ_DMA_EXT  0x25
#define ATA_COMMAND_WRITE_DMA_EXT 0x35

struct ata_identity {
    uint64_t sector_count;
    bool dma, lba48;
    unsigned depth; /* of its native command queue; 0: it has none */
    char model[41];
};

/* NULL, or why the drive cannot be used; model is filled in either way. */
const char *ata_identify_parse(const uint16_t words[ATA_IDENTIFY_WORDS],
                               struct ata_identity *identity);

#endif
