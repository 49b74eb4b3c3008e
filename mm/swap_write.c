/*
 * Writing: pages are encrypted into the open cluster, a cluster goes to the
 * device as one request.
 *
 *   IDLE -> OPEN (a run of free cells was found) -> WRITING -> IDLE
 *
 * Within the cluster an extent goes into the first cell with room for it, so
 * compressed pages of five and of four sectors share one. Cells are begun in
 * order; those of the run that were not needed leave the cluster when it is sent.
 *
 * A cluster that fails costs its cells, which are never used again, and gives
 * all of its slots back before the callers hear of it; they still have their
 * pages. A reader of a slot whose cluster is not on disk yet waits for it and
 * is served from the buffer.
 */
#include "mm/swap_area.h"

#include "lib/log.h"
#include "lib/string.h"

/* ---- finding things ------------------------------------------------------------- */

struct swap_cluster *swap_cluster_of(struct swap_extent extent)
{
    uint32_t cell = extent.sector / SWAP_CELL_SECTORS;
    for (unsigned i = 0; i < SWAP_CLUSTER_COUNT; i++) {
        struct swap_cluster *cluster = &swap.clusters[i];
        if (cluster->state != SWAP_CLUSTER_IDLE && cell >= cluster->first_cell &&
            cell - cluster->first_cell < cluster->cell_count)
            return cluster;
    }
    return NULL;
}

const uint8_t *swap_cluster_extent(const struct swap_cluster *cluster, struct swap_extent extent)
{
    uint32_t sector = extent.sector - cluster->first_cell * SWAP_CELL_SECTORS;
    return cluster->buffer + sector * BLOCK_SECTOR_SIZE;
}

static struct swap_cluster *cluster_in_state(enum swap_cluster_state state)
{
    for (unsigned i = 0; i < SWAP_CLUSTER_COUNT; i++)
        if (swap.clusters[i].state == state)
            return &swap.clusters[i];
    return NULL;
}

/* The first cell with that many free sectors; cell_count when there is none. */
static uint32_t cell_with_room(const struct swap_cluster *cluster, uint32_t sectors)
{
    uint32_t i = 0;
    while (i < cluster->cell_count && cluster->fill[i] + sectors > SWAP_CELL_SECTORS)
        i++;
    return i;
}

/* ---- to the device ---------------------------------------------------------------- */

/* Gives up the cells of the run that were not needed, which the next cluster may
 * find, and empties what lies between extents, where an earlier cluster may still
 * stand. Returns the sectors up to the end of the last extent. */
static uint32_t close_run(struct swap_cluster *cluster)
{
    uint32_t sectors = 0, i = 0;
    for (; i < cluster->cell_count && cluster->fill[i]; i++) {
        uint32_t end = (i + 1) * SWAP_CELL_SECTORS;
        sectors = i * SWAP_CELL_SECTORS + cluster->fill[i];
        memset(cluster->buffer + sectors * BLOCK_SECTOR_SIZE, 0,
               (end - sectors) * BLOCK_SECTOR_SIZE);
    }
    cluster->cell_count = i;
    return sectors;
}

void swap_cluster_send(struct swap_cluster *cluster)
{
    assert(cluster->state == SWAP_CLUSTER_OPEN && !list_is_empty(&cluster->ios));
    cluster->state = SWAP_CLUSTER_WRITING;
    cluster->request = (struct block_request){
        .operation = BLOCK_WRITE,
        .sector = swap.first_sector + (uint64_t)cluster->first_cell * SWAP_CELL_SECTORS,
        .sector_count = close_run(cluster),
        .buffer = cluster->buffer,
        .buffer_address = cluster->address,
        .done = swap_write_done,
    };
    list_init(&cluster->request.link);
    swap.counts.writes++;
    swap.device->submit(swap.device, &cluster->request);
}

void swap_write_flush(void)
{
    spin_lock(&swap.lock);
    struct swap_cluster *cluster = cluster_in_state(SWAP_CLUSTER_OPEN);
    if (cluster && !list_is_empty(&cluster->ios))
        swap_cluster_send(cluster);
    spin_unlock(&swap.lock);
}

/* ---- into the cluster ------------------------------------------------------------- */

static enum swap_status open_cluster(struct swap_cluster **opened)
{
    struct swap_cluster *cluster = cluster_in_state(SWAP_CLUSTER_IDLE);
    if (!cluster)
        return SWAP_BUSY;
    cluster->cell_count = swap_cells_find(&swap.cells, swap.cluster_cells, &cluster->first_cell);
    if (!cluster->cell_count)
        return SWAP_FULL;
    memset(cluster->fill, 0, sizeof(cluster->fill));
    cluster->state = SWAP_CLUSTER_OPEN;
    *opened = cluster;
    return SWAP_OK;
}

/* A cluster with room, and the cell in it. A full one is sent on the way. */
static enum swap_status find_room(uint32_t sectors, struct swap_cluster **found, uint32_t *cell)
{
    struct swap_cluster *cluster = cluster_in_state(SWAP_CLUSTER_OPEN);
    if (cluster && cell_with_room(cluster, sectors) == cluster->cell_count) {
        swap_cluster_send(cluster);
        cluster = NULL;
    }
    enum swap_status status = cluster ? SWAP_OK : open_cluster(&cluster);
    if (status == SWAP_OK) {
        *found = cluster;
        *cell = cell_with_room(cluster, sectors);
    }
    return status;
}

/* Header and encrypted payload, zeros up to the end of the last sector. */
static void seal_extent(uint8_t *at, uint32_t sectors, const struct swap_io *io,
                        uint32_t generation, const void *payload)
{
    struct swap_extent_header *header = (struct swap_extent_header *)at;
    header->nonce = swap_nonce(io->slot, generation);
    header->size = io->size;
    header->compressed = io->compressed;
    header->reserved = 0;
    uint8_t *body = at + sizeof(*header);
    aead_seal(&swap.key, header->nonce, &header->size, SWAP_EXTRA_BYTES, payload, body, io->size,
              header->tag);
    memset(body + io->size, 0, sectors * BLOCK_SECTOR_SIZE - sizeof(*header) - io->size);
}

static enum swap_status write_locked(struct swap_io *io, const void *payload)
{
    uint32_t bytes = (uint32_t)sizeof(struct swap_extent_header) + io->size;
    uint32_t sectors = (bytes + BLOCK_SECTOR_SIZE - 1) / BLOCK_SECTOR_SIZE, cell, generation;
    struct swap_cluster *cluster;
    enum swap_status status = find_room(sectors, &cluster, &cell);
    if (status != SWAP_OK)
        return status;
    struct swap_extent extent = {
        .sector = (cluster->first_cell + cell) * SWAP_CELL_SECTORS + cluster->fill[cell],
        .sectors = sectors,
    };
    io->slot = swap_slots_take(&swap.slots, extent);
    if (io->slot.v == SWAP_SLOT_NONE.v)
        return SWAP_FULL;
    swap_cells_take(&swap.cells, cluster->first_cell + cell);
    cluster->fill[cell] = (uint8_t)(cluster->fill[cell] + sectors);
    swap.sectors_used += sectors;
    swap_slots_look(&swap.slots, io->slot, &extent, &generation);
    seal_extent(cluster->buffer +
                    (cell * SWAP_CELL_SECTORS + cluster->fill[cell] - sectors) * BLOCK_SECTOR_SIZE,
                sectors, io, generation, payload);
    list_append(&cluster->ios, &io->link);
    if (cell_with_room(cluster, 1) == cluster->cell_count)
        swap_cluster_send(cluster);
    return SWAP_OK;
}

enum swap_status swap_write(struct swap_io *io, const void *payload, uint16_t size, bool compressed)
{
    assert(size > 0 && size <= PAGE_SIZE);
    spin_lock(&swap.lock);
    io->size = size;
    io->compressed = compressed;
    enum swap_status status = swap.online ? write_locked(io, payload) : SWAP_OFFLINE;
    spin_unlock(&swap.lock);
    return status;
}

/* ---- back from the device ------------------------------------------------------------ */

static void set_cells_bad(const struct swap_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->cell_count; i++)
        swap_cells_set_bad(&swap.cells, cluster->first_cell + i);
    log_warn("swap: write of %u sectors at %llu failed, set aside", cluster->request.sector_count,
             (unsigned long long)cluster->request.sector);
}

/* Moves all nodes of one list to the empty list `to`. */
static void take_all(struct list_node *from, struct list_node *to)
{
    struct list_node *node;
    list_init(to);
    while ((node = list_pop(from)) != NULL)
        list_append(to, node);
}

/* Empties the cluster: books first, its ios and readers into the two lists. */
static void retire_cluster(struct swap_cluster *cluster, enum swap_status status,
                           struct list_node *ios, struct list_node *readers)
{
    take_all(&cluster->ios, ios);
    take_all(&cluster->readers, readers);
    list_for_each(node, readers)
    {
        struct swap_reader *reader = container_of(node, struct swap_reader, link);
        memcpy(reader->buffer, swap_cluster_extent(cluster, reader->extent),
               reader->extent.sectors * BLOCK_SECTOR_SIZE);
    }
    list_for_each(node, ios)
    {
        if (status == SWAP_OK) {
            swap.counts.pages_written++;
            continue;
        }
        struct swap_io *io = container_of(node, struct swap_io, link);
        swap_slot_give_back(io->slot);
    }
    cluster->state = SWAP_CLUSTER_IDLE;
}

static void report(struct list_node *ios, struct list_node *readers, enum swap_status status)
{
    struct list_node *node;
    while ((node = list_pop(ios)) != NULL) {
        struct swap_io *io = container_of(node, struct swap_io, link);
        io->done(io, status);
    }
    while ((node = list_pop(readers)) != NULL)
        swap_reader_finish(container_of(node, struct swap_reader, link), status);
}

void swap_cluster_fail_open(void)
{
    struct list_node ios, readers;
    spin_lock(&swap.lock);
    struct swap_cluster *cluster = cluster_in_state(SWAP_CLUSTER_OPEN);
    if (cluster)
        retire_cluster(cluster, SWAP_OFFLINE, &ios, &readers);
    spin_unlock(&swap.lock);
    if (cluster)
        report(&ios, &readers, SWAP_OFFLINE);
}

void swap_write_done(struct block_request *request)
{
    struct swap_cluster *cluster = container_of(request, struct swap_cluster, request);
    struct list_node ios, readers;
    enum swap_status status = SWAP_OK;
    spin_lock(&swap.lock);
    if (cluster->state != SWAP_CLUSTER_WRITING) {
        swap.counts.strays++;
        spin_unlock(&swap.lock);
        return;
    }
    if (request->status != BLOCK_OK) {
        swap.counts.write_errors++;
        status = request->status == BLOCK_GONE ? SWAP_OFFLINE : SWAP_IO_ERROR;
        if (status == SWAP_OFFLINE)
            swap_go_offline();
        else
            set_cells_bad(cluster);
    }
    retire_cluster(cluster, status, &ios, &readers);
    spin_unlock(&swap.lock);
    report(&ios, &readers, status);
    if (status == SWAP_OFFLINE)
        swap_cluster_fail_open();
}
