/* GUID partition tables, see gpt.h. */
#include "drivers/gpt.h"

#include "lib/assert.h"
#include "lib/crc32.h"
#include "lib/string.h"

#define SECTOR       512u
#define REVISION     0x00010000u
#define HEADER_BYTES 92u
#define ENTRY_BYTES  128u
#define FIRST_HEADER 1u /* sector */

/* UEFI 2.10, table 5.5. */
struct header {
    char signature[8];
    uint32_t revision, size, crc, reserved;
    uint64_t my_sector, other_sector, first_usable, last_usable;
    uint8_t disk[16];
    uint64_t entries_sector;
    uint32_t entry_count, entry_bytes, entries_crc;
} __attribute__((packed));
static_assert(sizeof(struct header) == HEADER_BYTES, "UEFI 2.10, table 5.5");

/* UEFI 2.10, table 5.6, without the name. */
struct entry {
    uint8_t type[16], id[16];
    uint64_t first, last, attributes;
};
static_assert(sizeof(struct entry) == 56, "UEFI 2.10, table 5.6");

const char *gpt_result_name(enum gpt_result result)
{
    static const char *const names[GPT_RESULT_COUNT] = {
        [GPT_OK] = "partition table",
        [GPT_BACKUP] = "partition table from its backup copy",
        [GPT_NONE] = "no partition table",
        [GPT_UNREADABLE] = "partition table cannot be read",
        [GPT_BAD_HEADER] = "damaged partition table header",
        [GPT_BAD_BOUNDS] = "partition table reaches outside the disk",
        [GPT_BAD_ENTRIES] = "damaged partition table entries",
        [GPT_BAD_PARTITION] = "a partition overlaps another or reaches outside the disk",
        [GPT_TOO_MANY] = "too many partitions",
    };
    return result < GPT_RESULT_COUNT ? names[result] : "unknown";
}

static uint64_t entries_sectors(const struct header *header)
{
    return ((uint64_t)header->entry_count * header->entry_bytes + SECTOR - 1) / SECTOR;
}

static enum gpt_result check_header(const struct gpt_disk *disk, const struct header *header)
{
    if (header->entry_bytes != ENTRY_BYTES || header->entry_count == 0 ||
        header->entry_count > GPT_ENTRY_MAX)
        return GPT_BAD_ENTRIES;
    uint64_t sectors = entries_sectors(header);
    if (header->first_usable > header->last_usable || header->last_usable >= disk->sector_count ||
        header->entries_sector <= FIRST_HEADER || header->entries_sector >= disk->sector_count ||
        sectors > disk->sector_count - header->entries_sector)
        return GPT_BAD_BOUNDS;
    return GPT_OK;
}

static enum gpt_result read_header(const struct gpt_disk *disk, uint64_t sector, void *buffer,
                                   struct header *header)
{
    if (sector >= disk->sector_count)
        return GPT_NONE;
    if (!disk->read(disk->context, sector, buffer))
        return GPT_UNREADABLE;
    memcpy(header, buffer, sizeof(*header));
    if (memcmp(header->signature, "EFI PART", 8) != 0)
        return GPT_NONE;
    if (header->revision != REVISION || header->size < HEADER_BYTES || header->size > SECTOR ||
        header->my_sector != sector)
        return GPT_BAD_HEADER;
    memset((char *)buffer + offsetof(struct header, crc), 0, sizeof(header->crc));
    if (crc32_add(0, buffer, header->size) != header->crc)
        return GPT_BAD_HEADER;
    return check_header(disk, header);
}

static bool is_unused(const struct entry *entry)
{
    static const uint8_t zero[16];
    return memcmp(entry->type, zero, sizeof(zero)) == 0;
}

static enum gpt_result add_entry(const struct header *header, const struct entry *entry,
                                 unsigned number, struct gpt_partition *partitions, unsigned *count)
{
    if (is_unused(entry))
        return GPT_OK;
    if (entry->first > entry->last || entry->first < header->first_usable ||
        entry->last > header->last_usable)
        return GPT_BAD_PARTITION;
    for (unsigned i = 0; i < *count; i++)
        if (entry->first < partitions[i].first + partitions[i].count &&
            partitions[i].first <= entry->last)
            return GPT_BAD_PARTITION;
    if (*count == GPT_PARTITION_MAX)
        return GPT_TOO_MANY;
    struct gpt_partition *partition = &partitions[(*count)++];
    memcpy(partition->type, entry->type, sizeof(partition->type));
    partition->first = entry->first;
    partition->count = entry->last - entry->first + 1;
    partition->number = number;
    return GPT_OK;
}

/* One pass: each sector is read once, checked and added to the CRC, which
 * decides at the end whether any of it counts. A wrong CRC is the better answer
 * when entries look wrong too. */
static enum gpt_result read_entries(const struct gpt_disk *disk, const struct header *header,
                                    void *buffer, struct gpt_partition *partitions, unsigned *count)
{
    enum gpt_result result = GPT_OK;
    uint32_t crc = 0, left = header->entry_count;
    for (uint64_t i = 0; left; i++) {
        if (!disk->read(disk->context, header->entries_sector + i, buffer))
            return GPT_UNREADABLE;
        uint32_t here = left < SECTOR / ENTRY_BYTES ? left : SECTOR / ENTRY_BYTES;
        crc = crc32_add(crc, buffer, here * ENTRY_BYTES);
        for (uint32_t j = 0; j < here && result == GPT_OK; j++) {
            struct entry entry;
            memcpy(&entry, (char *)buffer + j * ENTRY_BYTES, sizeof(entry));
            result =
                add_entry(header, &entry, header->entry_count - left + j + 1, partitions, count);
        }
        left -= here;
    }
    return crc == header->entries_crc ? result : GPT_BAD_ENTRIES;
}

static enum gpt_result read_table(const struct gpt_disk *disk, uint64_t sector, void *buffer,
                                  struct gpt_partition *partitions, unsigned *count)
{
    struct header header;
    *count = 0;
    enum gpt_result result = read_header(disk, sector, buffer, &header);
    if (result == GPT_OK)
        result = read_entries(disk, &header, buffer, partitions, count);
    if (result != GPT_OK)
        *count = 0;
    return result;
}

enum gpt_result gpt_read(const struct gpt_disk *disk, void *buffer,
                         struct gpt_partition partitions[GPT_PARTITION_MAX], unsigned *count)
{
    enum gpt_result first = read_table(disk, FIRST_HEADER, buffer, partitions, count);
    if (first == GPT_OK || disk->sector_count <= FIRST_HEADER + 1)
        return first;
    enum gpt_result backup = read_table(disk, disk->sector_count - 1, buffer, partitions, count);
    return backup == GPT_OK ? GPT_BACKUP : first;
}
