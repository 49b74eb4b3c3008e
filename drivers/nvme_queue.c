/* Commands and completions of NVMe, see nvme.h. */
#include "drivers/nvme.h"

#include "drivers/port.h"
#include "lib/string.h"

void nvme_pair_clear(struct nvme_pair *pair)
{
    memset(pair->commands, 0, pair->entries * sizeof(struct nvme_command));
    memset((void *)pair->completions, 0, pair->entries * sizeof(struct nvme_completion));
    pair->tail = pair->head = 0;
    pair->phase = 1;
}

static void ring(struct nvme *nvme, unsigned index, unsigned value)
{
    dma_fence();
    mmio_write32(nvme->registers, NVME_DOORBELLS + (index * 4u << NVME_CAP_DSTRD(nvme->cap)),
                 value);
}

void nvme_pair_send(struct nvme *nvme, struct nvme_pair *pair, const struct nvme_command *command)
{
    pair->commands[pair->tail] = *command;
    pair->tail = (pair->tail + 1) % pair->entries;
    ring(nvme, 2 * pair->number, pair->tail);
}

bool nvme_pair_take(struct nvme_pair *pair, struct nvme_completion *completion)
{
    const volatile struct nvme_completion *next = &pair->completions[pair->head];
    uint16_t status = next->status;
    if ((status & 1) != pair->phase)
        return false;
    dma_fence();
    completion->result = next->result;
    completion->queue = next->queue;
    completion->id = next->id;
    completion->status = status;
    if (++pair->head == pair->entries) {
        pair->head = 0;
        pair->phase ^= 1;
    }
    return true;
}

void nvme_pair_taken(struct nvme *nvme, const struct nvme_pair *pair)
{
    ring(nvme, 2 * pair->number + 1, pair->head);
}

/* ---- requests ------------------------------------------------------------------------- */

static struct nvme *nvme_of(struct disk_queue *queue)
{
    return container_of(queue, struct nvme, queue);
}

/* Pages of the buffer: two fit into the command, more need a list (4.3). */
static void set_pages(struct nvme *nvme, unsigned slot, struct nvme_command *command,
                      const struct block_request *request)
{
    uint64_t at = request->buffer_address.v;
    uint64_t end = at + (uint64_t)request->sector_count * BLOCK_SECTOR_SIZE;
    uint64_t second = (at & ~(uint64_t)PAGE_MASK) + PAGE_SIZE;
    command->prp1 = at;
    if (second >= end)
        return;
    command->prp2 = second;
    if (end - second <= PAGE_SIZE)
        return;
    uint64_t *list = (uint64_t *)(nvme->lists + slot * NVME_PRP_BYTES);
    unsigned count = 0;
    for (uint64_t page = second; page < end; page += PAGE_SIZE)
        list[count++] = page;
    ensure(count <= NVME_PRP_PAGES_MAX);
    command->prp2 = nvme->lists_address.v + slot * NVME_PRP_BYTES;
}

static enum disk_verdict nvme_start(struct disk_queue *queue, unsigned slot)
{
    struct nvme *nvme = nvme_of(queue);
    const struct block_request *request = queue->slots[slot].request;
    struct nvme_command command = {
        .opcode = request->operation == BLOCK_READ ? NVME_IO_READ : NVME_IO_WRITE,
        .id = (uint16_t)slot,
        .nsid = nvme->namespaces[queue->slots[slot].unit->index],
        .dw10 = (uint32_t)request->sector,
        .dw11 = (uint32_t)(request->sector >> 32),
        .dw12 = request->sector_count - 1,
    };
    set_pages(nvme, slot, &command, request);
    nvme_pair_send(nvme, &nvme->io, &command);
    return DISK_FINE;
}

static enum disk_verdict take_one(struct nvme *nvme, const struct nvme_completion *completion)
{
    struct disk_queue *queue = &nvme->queue;
    if (completion->queue != nvme->io.number || !disk_queue_runs(queue, completion->id)) {
        disk_complain(queue, "completion of command %u on queue %u, which does not run",
                      completion->id, completion->queue);
        return DISK_NONSENSE;
    }
    unsigned status = NVME_STATUS(completion->status);
    if (status)
        disk_complain(queue, "command failed: status code type %u, code 0x%x", status >> 8,
                      status & 0xff);
    disk_queue_end(queue, completion->id, status ? BLOCK_ERROR : BLOCK_OK);
    return DISK_FINE;
}

/* At most as many completions as there are entries; more cannot be true. */
static enum disk_verdict nvme_advance(struct disk_queue *queue)
{
    struct nvme *nvme = nvme_of(queue);
    struct nvme_completion completion;
    enum disk_verdict verdict = DISK_FINE;
    unsigned count = 0;
    while (verdict == DISK_FINE && count < nvme->io.entries &&
           nvme_pair_take(&nvme->io, &completion)) {
        verdict = take_one(nvme, &completion);
        count++;
    }
    if (count)
        nvme_pair_taken(nvme, &nvme->io);
    else if (mmio_read32(nvme->registers, NVME_CSTS) & NVME_CSTS_FATAL) {
        disk_complain(queue, "fatal status 0x%x", mmio_read32(nvme->registers, NVME_CSTS));
        verdict = DISK_NONSENSE;
    }
    return verdict;
}

static void nvme_reset(struct disk_queue *queue)
{
    const char *problem = nvme_bring_up(nvme_of(queue));
    if (!problem)
        return;
    disk_complain(queue, "reset: %s", problem);
    disk_queue_lost(queue);
}

const struct disk_queue_ops nvme_queue_ops = {
    .start = nvme_start,
    .advance = nvme_advance,
    .reset = nvme_reset,
};
