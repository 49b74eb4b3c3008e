#include "hv/pvh.h"
#include "abi/machine.h"
#include "abi/pvh.h"
#include "hv/loop.h"
#include "hv/vm.h"
#include "lib/elf.h"
#include "lib/string.h"

/* Turns of the core's background work that loading one page may wait for. */
#define LOAD_TRIES 200000u

struct info_page {
    struct pvh_start_info start;
    struct pvh_memmap_entry map[1];
    char cmdline[CONFIG_CMDLINE_MAX];
};
static_assert(sizeof(struct info_page) <= PAGE_SIZE, "the boot information is one page");

static bool pin_for_loading(struct vm *vm, gfn_t page, void **memory)
{
    for (unsigned i = 0; i < LOAD_TRIES && vm->state == VM_RUNNING; i++) {
        enum mm_answer answer = mm_pin(vm->mm, NULL, page, MM_WRITE, memory);
        if (answer != MM_WAIT)
            return answer == MM_DONE;
        loop_service();
    }
    return false;
}

static bool load_bytes(struct vm *vm, uint64_t address, const void *bytes, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        uint64_t at = address + done, room = PAGE_SIZE - (at & PAGE_MASK);
        uint64_t part = size - done < room ? size - done : room;
        gfn_t page = gfn((uint32_t)(at >> PAGE_SHIFT));
        void *memory;
        if (!pin_for_loading(vm, page, &memory))
            return false;
        memcpy((uint8_t *)memory + (at & PAGE_MASK), (const uint8_t *)bytes + done, part);
        mm_unpin(vm->mm, page);
        done += part;
    }
    return true;
}

static bool entry_is_code(const struct elf_image *image, uint64_t entry)
{
    struct elf_segment s;
    unsigned cursor = 0;
    while (elf_segment_next(image, &cursor, &s))
        if ((s.flags & ELF_EXECUTE) && entry >= s.physical_address &&
            entry - s.physical_address < s.file_size)
            return true;
    return false;
}

static bool find_entry(const struct elf_image *image, uint64_t *entry, const char **reason)
{
    const uint8_t *note;
    size_t size;
    *reason = "no PVH entry note";
    if (!elf_note_find(image, PVH_NOTE_NAME, PVH_NOTE_TYPE, &note, &size))
        return false;
    *reason = "the PVH entry note is neither 4 nor 8 bytes";
    if (size != 4 && size != 8)
        return false;
    *entry = 0;
    memcpy(entry, note, size);
    *reason = "the PVH entry lies outside of the image's code";
    return *entry <= UINT32_MAX && entry_is_code(image, *entry);
}

static bool place_segments(struct vm *vm, const struct elf_image *image, const char **reason)
{
    struct elf_segment s;
    uint64_t memory = (uint64_t)mm_vm_pages(vm->mm) << PAGE_SHIFT;
    for (unsigned cursor = 0; elf_segment_next(image, &cursor, &s);) {
        uint64_t end = s.physical_address + s.memory_size;
        *reason = "a segment lies outside of the VM's memory";
        if (end > memory)
            return false;
        *reason = "a segment covers the page of the boot information (0x7000)";
        if (s.physical_address < PVH_INFO_ADDRESS + PAGE_SIZE && end > PVH_INFO_ADDRESS)
            return false;
    }
    *reason = "no host memory to load it";
    for (unsigned cursor = 0; elf_segment_next(image, &cursor, &s);)
        if (!load_bytes(vm, s.physical_address, s.bytes, s.file_size))
            return false;
    return true;
}

static bool write_info(struct vm *vm)
{
    static struct info_page page;
    uint64_t memory = (uint64_t)mm_vm_pages(vm->mm) << PAGE_SHIFT;
    page = (struct info_page){
        .start = { .magic = PVH_MAGIC,
                   .version = PVH_VERSION,
                   .cmdline_paddr = PVH_INFO_ADDRESS + offsetof(struct info_page, cmdline),
                   .memmap_paddr = PVH_INFO_ADDRESS + offsetof(struct info_page, map),
                   .memmap_entries = 1 },
        .map = { { .addr = 0, .size = memory, .type = PVH_MEMMAP_RAM } },
    };
    memcpy(page.cmdline, vm->config->cmdline, sizeof(page.cmdline));
    page.cmdline[sizeof(page.cmdline) - 1] = 0;
    return load_bytes(vm, PVH_INFO_ADDRESS, &page, sizeof(page));
}

bool pvh_load(struct vm *vm, const void *file, size_t size, const char **reason)
{
    struct elf_image image;
    uint64_t entry;
    if (!elf_check(file, size, &image, reason) || !find_entry(&image, &entry, reason))
        return false;
    *reason = "the VM's memory is too small for the boot information";
    if (mm_vm_pages(vm->mm) <= PVH_INFO_ADDRESS >> PAGE_SHIFT)
        return false;
    if (!place_segments(vm, &image, reason))
        return false;
    *reason = "no host memory to load it";
    if (!write_info(vm))
        return false;
    struct vcpu *vcpu = &vm->vcpus[0];
    vcpu_ops->set(vcpu, STATE_RIP, entry);
    vcpu->regs[REG_RBX] = PVH_INFO_ADDRESS;
    return true;
}
