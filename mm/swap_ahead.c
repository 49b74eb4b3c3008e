/*
 * Reading ahead: several extents that lie close together, with one request.
 *
 * A group has a buffer as long as a cluster; the request covers everything between
 * the first and the last extent chosen, and what else lies there is passed over.
 * Each extent is opened with slot and generation from memory, as any page read (P5).
 * Nobody depends on a group: a read that fails is not tried again, and an extent
 * whose tag does not fit is only reported to the caller, who reads that page by
 * itself when it is needed, and then believes the answer.
 */
#include "mm/swap_area.h"

/* Parts of a request that must be of use: one half. */
#define USEFUL_PART 2u

static struct swap_group *free_group(void)
{
    for (unsigned i = 0; i < SWAP_GROUP_COUNT; i++)
        if (swap.groups[i].buffer && swap.groups[i].count == 0)
            return &swap.groups[i];
    return NULL;
}

/* Requests the device has not answered. */
static unsigned requests_under_way(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SWAP_READ_COUNT; i++)
        count += swap.readers[i].state == SWAP_READER_DEVICE;
    for (unsigned i = 0; i < SWAP_CLUSTER_COUNT; i++)
        count += swap.clusters[i].state == SWAP_CLUSTER_WRITING;
    for (unsigned i = 0; i < SWAP_GROUP_COUNT; i++)
        count += swap.groups[i].count != 0;
    return count;
}

/* The device has to have nothing to do but the page that is waited for, or half of
 * its queue free: what comes next is served after this. */
static bool device_has_time(void)
{
    unsigned most = swap.device->queue_depth / 2;
    return requests_under_way() <= (most > 1 ? most : 1);
}

struct range {
    uint32_t first, end, useful; /* sectors */
};

/* The range with this extent in it, where it stays short and dense enough. */
static bool range_extend(struct range *range, struct swap_extent extent)
{
    struct range wider = *range;
    uint32_t end = extent.sector + extent.sectors;
    wider.first = extent.sector < wider.first ? extent.sector : wider.first;
    wider.end = end > wider.end ? end : wider.end;
    wider.useful += extent.sectors;
    uint32_t sectors = wider.end - wider.first;
    if (sectors > swap.cluster_cells * SWAP_CELL_SECTORS || sectors > wider.useful * USEFUL_PART)
        return false;
    *range = wider;
    return true;
}

/* Extents that are on disk. */
static bool look(swap_slot_t slot, struct swap_extent *extent, uint32_t *generation)
{
    return swap_slots_look(&swap.slots, slot, extent, generation) && !swap_cluster_of(*extent);
}

uint32_t swap_ahead_choose(const swap_slot_t slots[], unsigned count)
{
    struct range range = { .first = UINT32_MAX };
    uint32_t chosen = 0, generation;
    struct swap_extent extent;
    ensure(count <= SWAP_AHEAD_MAX);
    spin_lock(&swap.lock);
    if (swap.online && free_group() && device_has_time())
        for (unsigned i = 0; i < count; i++)
            if (look(slots[i], &extent, &generation) && range_extend(&range, extent))
                chosen |= 1u << i;
    spin_unlock(&swap.lock);
    return chosen;
}

/* Fills the group; false when the extents are not where they were any more. */
static bool fill(struct swap_group *group, struct swap_io *const ios[], unsigned count,
                 struct range *range)
{
    for (unsigned i = 0; i < count; i++) {
        group->ios[i] = ios[i];
        if (!look(ios[i]->slot, &group->extents[i], &group->generations[i]) ||
            !range_extend(range, group->extents[i]))
            return false;
    }
    return true;
}

static enum swap_status start_locked(struct swap_io *const ios[], unsigned count)
{
    struct range range = { .first = UINT32_MAX };
    struct swap_group *group = swap.online ? free_group() : NULL;
    if (!group || !fill(group, ios, count, &range))
        return SWAP_BUSY;
    group->count = count;
    group->first = range.first;
    group->request = (struct block_request){
        .operation = BLOCK_READ,
        .sector = swap.first_sector + range.first,
        .sector_count = range.end - range.first,
        .buffer = group->buffer,
        .buffer_address = group->address,
        .done = swap_ahead_done,
    };
    list_init(&group->request.link);
    swap.counts.reads++;
    swap.device->submit(swap.device, &group->request);
    return SWAP_OK;
}

enum swap_status swap_ahead_start(struct swap_io *const ios[], unsigned count)
{
    ensure(count > 0 && count <= SWAP_AHEAD_MAX);
    spin_lock(&swap.lock);
    enum swap_status status = start_locked(ios, count);
    spin_unlock(&swap.lock);
    return status;
}

/* One page of the group, in its buffer. */
static enum swap_status open_one(struct swap_group *group, unsigned i)
{
    struct swap_io *io = group->ios[i];
    uint32_t sector = group->extents[i].sector - group->first;
    spin_lock(&swap.lock);
    bool current = swap_slot_is_current(io->slot, group->generations[i]);
    spin_unlock(&swap.lock);
    if (!current)
        return SWAP_IO_ERROR;
    uint8_t *at = group->buffer + sector * BLOCK_SECTOR_SIZE;
    if (!swap_extent_open(io, at, group->extents[i], group->generations[i]))
        return SWAP_TAMPERED;
    spin_lock(&swap.lock);
    swap.counts.pages_read++;
    spin_unlock(&swap.lock);
    return SWAP_OK;
}

static enum swap_status note_error(enum block_status status)
{
    if (status == BLOCK_OK)
        return SWAP_OK;
    swap.counts.read_errors++;
    if (status == BLOCK_GONE)
        swap_go_offline();
    return swap.online ? SWAP_IO_ERROR : SWAP_OFFLINE;
}

void swap_ahead_done(struct block_request *request)
{
    struct swap_group *group = container_of(request, struct swap_group, request);
    spin_lock(&swap.lock);
    if (group->count == 0 || group->answered) {
        swap.counts.strays++;
        spin_unlock(&swap.lock);
        return;
    }
    group->answered = true;
    enum swap_status status = note_error(request->status);
    spin_unlock(&swap.lock);
    for (unsigned i = 0; i < group->count; i++)
        group->ios[i]->done(group->ios[i], status == SWAP_OK ? open_one(group, i) : status);
    spin_lock(&swap.lock);
    group->count = 0;
    group->answered = false;
    spin_unlock(&swap.lock);
    if (status == SWAP_OFFLINE)
        swap_cluster_fail_open();
}
