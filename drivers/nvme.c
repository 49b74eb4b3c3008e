/* Finding NVMe controllers and their namespaces, see nvme.h. Boot time. */
#include "drivers/nvme.h"

#include "drivers/port.h"
#include "lib/fmt.h"
#include "lib/string.h"

/* Identify (NVMe 1.4, 5.15): what is asked for, and where the answers lie. */
#define CNS_NAMESPACE      0
#define CNS_CONTROLLER     1
#define CONTROLLER_MODEL   24
#define CONTROLLER_MDTS    77  /* longest transfer, log2 of pages; 0: any */
#define CONTROLLER_NN      516 /* identifiers are 1 to NN */
#define NAMESPACE_SIZE     0
#define NAMESPACE_FORMATS  25 /* number of formats - 1 */
#define NAMESPACE_FORMAT   26
#define NAMESPACE_FORMAT_N 128 /* four bytes each: metadata size, log2 of the block size */
#define BLOCK_LOG          9

static struct nvme controllers[NVME_CONTROLLERS];
static unsigned controller_count;

static uint64_t read_le(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static const char *identify(struct nvme *nvme, uint32_t what, uint32_t nsid)
{
    struct nvme_command command = {
        .opcode = NVME_ADMIN_IDENTIFY, .nsid = nsid, .prp1 = nvme->answer_address.v, .dw10 = what
    };
    memset(nvme->answer, 0, PAGE_SIZE);
    return nvme_admin(nvme, command, NULL);
}

static void copy_model(char model[41], const uint8_t *text)
{
    unsigned length = 40;
    while (length && (text[length - 1] == ' ' || text[length - 1] == 0))
        length--;
    for (unsigned i = 0; i < length; i++)
        model[i] = text[i] >= ' ' && text[i] <= '~' ? (char)text[i] : '?';
    model[length] = 0;
}

static uint32_t sectors_of_mdts(const struct nvme *nvme, uint8_t mdts)
{
    unsigned shift = mdts + 3 + NVME_CAP_MPSMIN(nvme->cap); /* pages of 4 KiB at least */
    return mdts == 0 || shift > 16 ? DISK_SECTORS_MAX : 1u << shift;
}

/* NULL, or why the namespace in the answer cannot be used. */
static const char *namespace_check(const uint8_t *answer)
{
    unsigned format = (answer[NAMESPACE_FORMAT] & 15u) | (answer[NAMESPACE_FORMAT] >> 1 & 0x30u);
    if (format > answer[NAMESPACE_FORMATS])
        return "its format makes no sense";
    const uint8_t *at = answer + NAMESPACE_FORMAT_N + 4 * format;
    if (at[2] != BLOCK_LOG)
        return "sectors are not 512 bytes";
    if (read_le(at, 2))
        return "its sectors carry metadata";
    return NULL;
}

static void namespaces_add(struct nvme *nvme, uint32_t count, uint32_t max_sectors,
                           const char model[41])
{
    unsigned used = 0;
    for (uint32_t nsid = 1; nsid <= count && nsid <= 2 * DISK_UNIT_MAX && used < DISK_UNIT_MAX;
         nsid++) {
        struct disk_unit *unit = &nvme->queue.units[used];
        const char *problem = identify(nvme, CNS_NAMESPACE, nsid);
        uint64_t sectors = read_le(nvme->answer + NAMESPACE_SIZE, 8);
        if (!problem && sectors == 0)
            continue; /* not active */
        fmt_print(unit->name, sizeof(unit->name), "%sn%u", nvme->queue.name, nsid);
        memcpy(unit->model, model, sizeof(unit->model));
        unit->transfer = nvme->interrupt.kind == PCI_INTERRUPT_MSIX ? "NVMe, MSI-X" : "NVMe";
        if (!problem)
            problem = namespace_check(nvme->answer);
        if (!problem)
            problem = disk_unit_set(&nvme->queue, used, sectors, max_sectors);
        if (problem)
            log_warn("disk %s: %s: not used", unit->name, problem);
        else
            nvme->namespaces[used++] = nsid;
    }
}

/* ---- bringing it up ------------------------------------------------------------------- */

static bool allocate(struct nvme *nvme, const struct disk_host *host)
{
    struct nvme_pair *pairs[] = { &nvme->admin, &nvme->io };
    for (unsigned i = 0; i < 2; i++) {
        pairs[i]->commands = host->dma_alloc(PAGE_SIZE, &pairs[i]->commands_address);
        pairs[i]->completions = host->dma_alloc(PAGE_SIZE, &pairs[i]->completions_address);
        if (!pairs[i]->commands || !pairs[i]->completions)
            return false;
    }
    nvme->lists = host->dma_alloc(DISK_DEPTH_MAX * NVME_PRP_BYTES, &nvme->lists_address);
    nvme->answer = host->dma_alloc(PAGE_SIZE, &nvme->answer_address);
    return nvme->lists && nvme->answer;
}

static const char *registers_map(struct nvme *nvme, const struct pci_device *device,
                                 const struct disk_host *host)
{
    uint64_t base, bytes, needed;
    if (!pci_memory_bar(device, 0, &base, &bytes) || bytes < 2 * PAGE_SIZE)
        return "no registers";
    nvme->registers = host->map(hpa(base), 2 * PAGE_SIZE);
    if (!nvme->registers)
        return "its registers cannot be reached";
    nvme->cap = mmio_read32(nvme->registers, NVME_CAP) |
                (uint64_t)mmio_read32(nvme->registers, NVME_CAP + 4) << 32;
    /* Four doorbells: two of the admin queue, two of ours. */
    needed = NVME_DOORBELLS + (16u << NVME_CAP_DSTRD(nvme->cap));
    if (needed > 2 * PAGE_SIZE && needed <= bytes)
        nvme->registers = host->map(hpa(base), needed);
    return needed <= bytes && nvme->registers ? NULL : "its registers lie outside of their range";
}

static const char *capabilities_check(const struct nvme *nvme)
{
    if (nvme->cap == UINT64_MAX)
        return "does not answer";
    if (!NVME_CAP_NVM(nvme->cap))
        return "no NVM command set";
    if (NVME_CAP_MPSMIN(nvme->cap) != 0)
        return "pages of 4 KiB are not supported";
    if (NVME_CAP_MQES(nvme->cap) == 0)
        return "its queues make no sense";
    return NULL;
}

static void pairs_size(struct nvme *nvme)
{
    unsigned most = NVME_CAP_MQES(nvme->cap) + 1;
    nvme->admin =
        (struct nvme_pair){ .number = 0,
                            .entries = most < NVME_ENTRIES_MAX ? most : NVME_ENTRIES_MAX };
    nvme->io = nvme->admin;
    nvme->io.number = 1;
}

static const char *controller_start(struct nvme *nvme, const struct pci_device *device,
                                    const struct disk_host *host)
{
    const char *problem = registers_map(nvme, device, host);
    if (!problem)
        problem = capabilities_check(nvme);
    if (problem)
        return problem;
    pairs_size(nvme);
    nvme->queue.depth =
        nvme->io.entries - 1 < DISK_DEPTH_MAX ? nvme->io.entries - 1 : DISK_DEPTH_MAX;
    nvme->queue.address_limit = UINT64_MAX;
    if (!allocate(nvme, host))
        return "no memory for its queues";
    nvme->interrupt = pci_interrupt_start(device, host->map);
    nvme->queue.vector = nvme->interrupt.vector;
    problem = nvme_bring_up(nvme);
    if (!problem)
        problem = identify(nvme, CNS_CONTROLLER, 0);
    return problem;
}

static void nvme_probe(const struct pci_device *device, const struct disk_host *host)
{
    if (controller_count == NVME_CONTROLLERS)
        return;
    struct nvme *nvme = &controllers[controller_count];
    char model[41];
    memset(nvme, 0, sizeof(*nvme));
    disk_queue_init(&nvme->queue, &nvme_queue_ops, DISK_DEPTH_MAX);
    nvme->queue.pci = *device;
    nvme->queue.owns_function = true;
    fmt_print(nvme->queue.name, sizeof(nvme->queue.name), "nvme%u", controller_count);
    pci_enable_memory_dma(device);
    const char *problem = controller_start(nvme, device, host);
    if (problem) {
        log_warn("disk %s: %s: not used", nvme->queue.name, problem);
        pci_interrupt_stop(device);
        pci_disable_dma(device);
        return;
    }
    copy_model(model, nvme->answer + CONTROLLER_MODEL);
    namespaces_add(nvme, (uint32_t)read_le(nvme->answer + CONTROLLER_NN, 4),
                   sectors_of_mdts(nvme, nvme->answer[CONTROLLER_MDTS]), model);
    controller_count += host->add(&nvme->queue);
}

const struct disk_driver nvme_driver = {
    .name = "NVMe",
    .class_code = 0x01,
    .subclass = 0x08,
    .interface = 0x02,
    .vendor = DISK_DRIVER_ANY,
    .probe = nvme_probe,
};
