/* Disk faults on purpose, see disk_fault.h. Called by the main loop only. */
#include "drivers/disk_fault.h"

#include "drivers/disk.h"

#define FAULT_MAX 4

struct fault {
    bool write;
    uint32_t first, count;
};

static struct fault faults[FAULT_MAX];
static unsigned fault_count;
static uint64_t counted[2]; /* requests since the first fault was set, by operation */

void disk_fault_set(bool write, uint32_t first, uint32_t count)
{
    if (fault_count < FAULT_MAX)
        faults[fault_count++] = (struct fault){ .write = write, .first = first, .count = count };
}

bool disk_fault_due(enum block_operation operation)
{
    if (!fault_count)
        return false;
    bool write = operation == BLOCK_WRITE;
    uint64_t number = ++counted[write];
    for (unsigned i = 0; i < fault_count; i++)
        if (faults[i].write == write && number >= faults[i].first &&
            number - faults[i].first < faults[i].count)
            return true;
    return false;
}
