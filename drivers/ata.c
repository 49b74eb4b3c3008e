/* IDENTIFY DEVICE, see ata.h. */
#include "drivers/ata.h"

#include "lib/string.h"

#define WORD_MODEL        27 /* to 46, bytes swapped */
#define WORD_CAPABILITIES 49
#define CAPABILITY_DMA    (1u << 8)
#define CAPABILITY_LBA    (1u << 9)
#define WORD_SECTORS      60
#define WORD_QUEUE        75 /* depth - 1 in the low bits */
#define WORD_SATA         76 /* 0 and ffff: not valid */
#define SATA_NCQ          (1u << 8)
#define WORD_FEATURES     83
#define FEATURE_LBA48     (1u << 10)
#define WORD_SECTORS_48   100
#define WORD_SECTOR_SIZE  106 /* valid when bits 15:14 are 01; bit 12: not 512 */

static void copy_model(char model[41], const uint16_t *words)
{
    for (unsigned i = 0; i < 40; i++) {
        char c = (char)(i & 1 ? words[i / 2] & 0xff : words[i / 2] >> 8);
        model[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    unsigned length = 40;
    while (length && model[length - 1] == ' ')
        length--;
    model[length] = 0;
}

static uint64_t sector_count(const uint16_t *words, bool lba48)
{
    uint64_t count = 0;
    for (unsigned i = lba48 ? 4 : 2; i-- > 0;)
        count = count << 16 | words[(lba48 ? WORD_SECTORS_48 : WORD_SECTORS) + i];
    return count;
}

const char *ata_identify_parse(const uint16_t words[ATA_IDENTIFY_WORDS],
                               struct ata_identity *identity)
{
    memset(identity, 0, sizeof(*identity));
    copy_model(identity->model, words + WORD_MODEL);
    if (!(words[WORD_CAPABILITIES] & CAPABILITY_LBA))
        return "no LBA addressing";
    if ((words[WORD_SECTOR_SIZE] & 0xd000) == 0x5000)
        return "sectors are not 512 bytes";
    identity->lba48 =
        (words[WORD_FEATURES] & 0xc000) == 0x4000 && words[WORD_FEATURES] & FEATURE_LBA48;
    identity->dma = words[WORD_CAPABILITIES] & CAPABILITY_DMA;
    if (words[WORD_SATA] != 0xffff && words[WORD_SATA] & SATA_NCQ && identity->lba48)
        identity->depth = (words[WORD_QUEUE] & 31u) + 1;
    uint64_t count = sector_count(words, identity->lba48);
    if (count == 0 || count > 1ull << 48)
        return "its size makes no sense";
    if (!identity->lba48 && count > ATA_LBA28_LIMIT)
        count = ATA_LBA28_LIMIT;
    identity->sector_count = count;
    return NULL;
}
