/*
 * An NVMe controller from reset to I/O queues, see nvme.h. At boot and after a
 * time-out; every wait is bounded, also when the controller asks for more.
 */
#include "drivers/nvme.h"

#include "drivers/wait.h"
#include "lib/string.h"

#define TIMEOUT_UNIT     (500 * WAIT_MS)
#define TIMEOUT_MAX      (3000 * WAIT_MS) /* CAP.TO may ask for two minutes */
#define ADMIN_TIMEOUT    (1000 * WAIT_MS)
#define FEATURE_QUEUES   0x07
#define QUEUE_CONTIGUOUS 0x1u
#define QUEUE_INTERRUPTS 0x2u
#define IO_QUEUE         1u

static const char *wait_ready(struct nvme *nvme, bool ready)
{
    uint64_t ns = (NVME_CAP_TO(nvme->cap) + 1) * TIMEOUT_UNIT;
    if (wait_mmio32(nvme->registers, NVME_CSTS, NVME_CSTS_READY, ready ? NVME_CSTS_READY : 0,
                    ns < TIMEOUT_MAX ? ns : TIMEOUT_MAX))
        return NULL;
    return ready ? "does not become ready" : "does not stop";
}

static const char *disable(struct nvme *nvme)
{
    uint32_t cc = mmio_read32(nvme->registers, NVME_CC);
    if (cc == UINT32_MAX)
        return "does not answer";
    if (cc & NVME_CC_ENABLE)
        mmio_write32(nvme->registers, NVME_CC, cc & ~NVME_CC_ENABLE);
    return wait_ready(nvme, false);
}

static void write64(struct nvme *nvme, unsigned offset, uint64_t value)
{
    mmio_write32(nvme->registers, offset, (uint32_t)value);
    mmio_write32(nvme->registers, offset + 4, (uint32_t)(value >> 32));
}

static const char *enable(struct nvme *nvme)
{
    struct nvme_pair *admin = &nvme->admin;
    nvme_pair_clear(admin);
    nvme_pair_clear(&nvme->io);
    mmio_write32(nvme->registers, NVME_AQA, (admin->entries - 1) << 16 | (admin->entries - 1));
    write64(nvme, NVME_ASQ, admin->commands_address.v);
    write64(nvme, NVME_ACQ, admin->completions_address.v);
    mmio_write32(nvme->registers, NVME_CC, NVME_CC_ENTRIES | NVME_CC_ENABLE);
    const char *problem = wait_ready(nvme, true);
    if (!problem && mmio_read32(nvme->registers, NVME_CSTS) & NVME_CSTS_FATAL)
        problem = "fatal status";
    /* Masks are for lines and MSI; with MSI-X they must not be touched (3.1.3). */
    if (!problem && nvme->interrupt.kind != PCI_INTERRUPT_MSIX)
        mmio_write32(nvme->registers, nvme->interrupt.vector ? NVME_MASK_CLR : NVME_MASK_SET, 1);
    return problem;
}

const char *nvme_admin(struct nvme *nvme, struct nvme_command command, uint32_t *result)
{
    struct nvme_completion completion;
    uint64_t end = clock_now_ns() + ADMIN_TIMEOUT;
    command.id = (uint16_t)nvme->admin.tail;
    nvme_pair_send(nvme, &nvme->admin, &command);
    while (!nvme_pair_take(&nvme->admin, &completion))
        if (clock_now_ns() >= end)
            return "admin command not answered";
    nvme_pair_taken(nvme, &nvme->admin);
    if (completion.queue != 0 || completion.id != command.id)
        return "admin completion of another command";
    if (NVME_STATUS(completion.status))
        return "admin command failed";
    if (result)
        *result = completion.result;
    return NULL;
}

static const char *create_queues(struct nvme *nvme)
{
    const struct nvme_pair *io = &nvme->io;
    uint32_t size = (io->entries - 1) << 16 | io->number;
    struct nvme_command features = { .opcode = NVME_ADMIN_SET_FEATURES, .dw10 = FEATURE_QUEUES };
    struct nvme_command completions = {
        .opcode = NVME_ADMIN_CREATE_CQ,
        .prp1 = io->completions_address.v,
        .dw10 = size,
        .dw11 = QUEUE_CONTIGUOUS | (nvme->interrupt.vector ? QUEUE_INTERRUPTS : 0),
    };
    struct nvme_command commands = {
        .opcode = NVME_ADMIN_CREATE_SQ,
        .prp1 = io->commands_address.v,
        .dw10 = size,
        .dw11 = QUEUE_CONTIGUOUS | io->number << 16,
    };
    const char *problem = nvme_admin(nvme, features, NULL); /* one pair is all it takes */
    if (!problem)
        problem = nvme_admin(nvme, completions, NULL);
    if (!problem)
        problem = nvme_admin(nvme, commands, NULL);
    return problem;
}

const char *nvme_bring_up(struct nvme *nvme)
{
    const char *problem = disable(nvme);
    if (!problem)
        problem = enable(nvme);
    if (!problem)
        problem = create_queues(nvme);
    return problem;
}
