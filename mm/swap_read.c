/*
 * Reading: a reader with a bounce buffer for each page on its way.
 *
 * What comes back is believed only when slot and generation, both from memory,
 * open the tag over payload, size and kind (P5). A slot that was given back
 * while its read was on its way is noticed by its generation, so a page that was
 * freed is neither delivered nor called tampered with.
 */
#include "mm/swap_area.h"

#include "lib/log.h"

static void reader_send(struct swap_reader *reader)
{
    reader->state = SWAP_READER_DEVICE;
    reader->request = (struct block_request){
        .operation = BLOCK_READ,
        .sector = swap.first_sector + reader->extent.sector,
        .sector_count = reader->extent.sectors,
        .buffer = reader->buffer,
        .buffer_address = reader->address,
        .done = swap_read_done,
    };
    list_init(&reader->request.link);
    swap.counts.reads++;
    swap.device->submit(swap.device, &reader->request);
}

/* A cluster that is still open is sent, or its reader could wait for ever. */
static void wait_for_cluster(struct swap_reader *reader, struct swap_cluster *cluster)
{
    reader->state = SWAP_READER_CLUSTER;
    list_append(&cluster->readers, &reader->link);
    if (cluster->state == SWAP_CLUSTER_OPEN)
        swap_cluster_send(cluster);
}

static enum swap_status read_locked(struct swap_io *io, swap_slot_t slot)
{
    struct swap_extent extent;
    uint32_t generation;
    if (!swap.online)
        return SWAP_OFFLINE;
    ensure(swap_slots_look(&swap.slots, slot, &extent, &generation));
    struct list_node *node = list_pop(&swap.free_readers);
    if (!node)
        return SWAP_BUSY;
    struct swap_reader *reader = container_of(node, struct swap_reader, link);
    reader->io = io;
    reader->extent = extent;
    reader->generation = generation;
    io->slot = slot;
    io->tries = 0;
    struct swap_cluster *cluster = swap_cluster_of(extent);
    if (cluster)
        wait_for_cluster(reader, cluster);
    else
        reader_send(reader);
    return SWAP_OK;
}

enum swap_status swap_read(struct swap_io *io, swap_slot_t slot)
{
    spin_lock(&swap.lock);
    enum swap_status status = read_locked(io, slot);
    spin_unlock(&swap.lock);
    return status;
}

const void *swap_read_payload(const struct swap_io *io)
{
    return (const uint8_t *)io->buffer + sizeof(struct swap_extent_header);
}

/* True when the device was asked again. */
static bool try_again(struct swap_reader *reader)
{
    swap.counts.read_errors++;
    if (reader->request.status == BLOCK_GONE)
        swap_go_offline();
    if (!swap.online || ++reader->io->tries >= SWAP_READ_TRIES)
        return false;
    swap.counts.retries++;
    reader_send(reader);
    return true;
}

void swap_read_done(struct block_request *request)
{
    struct swap_reader *reader = container_of(request, struct swap_reader, request);
    enum swap_status status = SWAP_OK;
    spin_lock(&swap.lock);
    if (reader->state != SWAP_READER_DEVICE) {
        swap.counts.strays++;
        spin_unlock(&swap.lock);
        return;
    }
    if (request->status != BLOCK_OK) {
        if (try_again(reader)) {
            spin_unlock(&swap.lock);
            return;
        }
        status = swap.online ? SWAP_IO_ERROR : SWAP_OFFLINE;
    }
    reader->state = SWAP_READER_DONE;
    spin_unlock(&swap.lock);
    swap_reader_finish(reader, status);
    if (status == SWAP_OFFLINE)
        swap_cluster_fail_open();
}

bool swap_slot_is_current(swap_slot_t slot, uint32_t generation)
{
    struct swap_extent extent;
    uint32_t now;
    return swap_slots_look(&swap.slots, slot, &extent, &now) && now == generation;
}

/* The header comes from the disk: its size is bounded before it is used, and all of it
 * is compared or covered by the tag. */
bool swap_extent_open(struct swap_io *io, uint8_t *at, struct swap_extent extent,
                      uint32_t generation)
{
    const struct swap_extent_header *header = (const struct swap_extent_header *)at;
    uint64_t nonce = swap_nonce(io->slot, generation);
    uint32_t room = extent.sectors * BLOCK_SECTOR_SIZE - (uint32_t)sizeof(*header);
    uint8_t *payload = at + sizeof(*header);
    if (header->nonce != nonce || header->size == 0 || header->size > room ||
        header->size > PAGE_SIZE || header->compressed > 1)
        return false;
    if (!aead_open(&swap.key, nonce, &header->size, SWAP_EXTRA_BYTES, payload, payload,
                   header->size, header->tag))
        return false;
    io->buffer = at;
    io->size = header->size;
    io->compressed = header->compressed != 0;
    return true;
}

void swap_reader_finish(struct swap_reader *reader, enum swap_status status)
{
    struct swap_io *io = reader->io;
    spin_lock(&swap.lock);
    if (status == SWAP_OK && !swap_slot_is_current(io->slot, reader->generation))
        status = SWAP_IO_ERROR;
    spin_unlock(&swap.lock);
    if (status == SWAP_OK &&
        !swap_extent_open(io, reader->buffer, reader->extent, reader->generation))
        status = SWAP_TAMPERED;

    spin_lock(&swap.lock);
    if (status == SWAP_OK)
        swap.counts.pages_read++;
    if (status == SWAP_TAMPERED)
        swap.counts.tampered++;
    spin_unlock(&swap.lock);
    io->done(io, status);

    spin_lock(&swap.lock);
    reader->state = SWAP_READER_FREE;
    list_append(&swap.free_readers, &reader->link);
    spin_unlock(&swap.lock);
}
