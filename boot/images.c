/* The three kinds of file: configuration, hypervisor, guests' images. */
#include "boot/efi.h"
#include "lib/elf.h"
#include "lib/fmt.h"
#include "lib/string.h"

#define CONFIG_FILE          "ballast.conf"
#define HYPERVISOR_FILE      "ballast.elf"
#define CONFIG_BYTES_MAX     (1 * MIB) /* the parser has a limit of its own, with a message */
#define HYPERVISOR_BYTES_MAX (64 * MIB)
#define IMAGE_BYTES_MAX      (1 * GIB)

void images_load_config(struct boot_info *info)
{
    struct boot_file file;
    char message[256];
    const char *problem = files_read(CONFIG_FILE, CONFIG_BYTES_MAX, &file);
    if (problem)
        loader_fail(CONFIG_FILE ":1: %s", problem);
    if (!config_parse(&info->config, CONFIG_FILE, (const char *)file.address, file.bytes, message,
                      sizeof(message)))
        loader_fail("%s", message);
}

/* What the hand-over can do: everything within the mapped window. */
static const char *check_placement(const struct elf_image *image)
{
    if (image->virtual_start & PAGE_MASK || image->virtual_start < HV_VIRTUAL_BASE)
        return "is not linked at the hypervisor's address";
    if (image->virtual_end - image->virtual_start > HYPERVISOR_BYTES_MAX)
        return "is too large in memory";
    if (image->entry < image->virtual_start || image->entry >= image->virtual_end)
        return "has its entry outside its segments";
    return image->virtual_start == HV_VIRTUAL_BASE ? NULL : "does not start at its base";
}

static void copy_segments(const struct elf_image *image, uint64_t start)
{
    struct elf_segment segment;
    for (unsigned cursor = 0; elf_segment_next(image, &cursor, &segment);)
        memcpy((void *)(start + (segment.virtual_address - image->virtual_start)), segment.bytes,
               segment.file_size);
}

uint64_t images_load_hypervisor(struct boot_info *info)
{
    struct elf_image image;
    const char *problem = files_read(HYPERVISOR_FILE, HYPERVISOR_BYTES_MAX, &info->hypervisor);
    if (!problem &&
        elf_check((const void *)info->hypervisor.address, info->hypervisor.bytes, &image, &problem))
        problem = check_placement(&image);
    if (problem)
        loader_fail(HYPERVISOR_FILE ": %s", problem);
    info->hypervisor_bytes =
        (image.virtual_end - image.virtual_start + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
    info->hypervisor_start = pages_allocate(info->hypervisor_bytes, true);
    if (!info->hypervisor_start)
        loader_fail(HYPERVISOR_FILE ": does not fit in memory below 4 GiB");
    copy_segments(&image, info->hypervisor_start);
    return image.entry;
}

/* The same file for several VMs is read once: an earlier VM with the same path,
 * or vm itself. */
static unsigned first_user(const struct config *config, unsigned vm)
{
    unsigned first = 0;
    while (strcmp(config->vms[first].image, config->vms[vm].image) != 0)
        first++;
    return first;
}

static const char *load_image(const char *path, struct boot_file *file)
{
    struct elf_image image;
    const char *problem = files_read(path, IMAGE_BYTES_MAX, file);
    if (problem)
        return problem;
    if (elf_check((const void *)file->address, file->bytes, &image, &problem))
        return NULL;
    efi_system->BootServices->FreePages(file->address, (file->bytes + PAGE_MASK) >> PAGE_SHIFT);
    *file = (struct boot_file){ 0 };
    return problem;
}

void images_load_guests(struct boot_info *info)
{
    const char *problems[CONFIG_VM_MAX];
    for (unsigned i = 0; i < info->config.vm_count; i++) {
        const struct config_vm *vm = &info->config.vms[i];
        unsigned first = first_user(&info->config, i);
        if (first == i)
            problems[i] = load_image(vm->image, &info->images[i]);
        else
            problems[i] = problems[first];
        info->images[i] = info->images[first];
        if (!problems[i])
            continue;
        fmt_print(info->image_problem[i], sizeof(info->image_problem[i]),
                  CONFIG_FILE ":%u: image %.80s: %s", vm->image_line, vm->image, problems[i]);
        console_line("%s", info->image_problem[i]);
    }
}
