/*
 * The loader: a UEFI application that reads the configuration, the hypervisor
 * and the guests' images, leaves the firmware and enters the hypervisor. What
 * goes wrong before that ends in one line that names it and in the machine off.
 */
#include "boot/efi.h"

#define STACK_BYTES (64 * KIB)

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image;

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static struct boot_info *info_create(void)
{
    struct boot_info *info = (void *)pages_allocate(sizeof(*info), true);
    if (!info)
        loader_fail("loader: no memory for the boot information");
    info->magic = BOOT_INFO_MAGIC;
    return info;
}

static uint64_t stack_create(void)
{
    uint64_t stack = pages_allocate(STACK_BYTES, true);
    if (!stack)
        loader_fail("loader: no memory for a stack");
    return HV_DIRECT_MAP_BASE + stack + STACK_BYTES;
}

/* Interrupts off, our tables, our stack, and into the hypervisor. The entry sees
 * the stack as a called function does, with a return address of 0. */
static _Noreturn void hand_over(uint64_t root, uint64_t stack, uint64_t entry, uint64_t info)
{
    __asm__ volatile("cli\n\t"
                     "cld\n\t"
                     "mov %0, %%cr3\n\t"
                     "mov %1, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "push $0\n\t"
                     "jmp *%2"
                     :
                     : "r"(root), "r"(stack), "r"(entry), "D"(info)
                     : "memory");
    __builtin_unreachable();
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    efi_image = image;
    efi_system = system;
    console_open();                                   /* COM1 and the screens */
    struct boot_info *info = info_create();           /* what the hypervisor will be told */
    files_open();                                     /* the partition we came from */
    images_load_config(info);                         /* ballast.conf */
    uint64_t entry = images_load_hypervisor(info);    /* ballast.elf, into place */
    images_load_guests(info);                         /* the files ballast.conf names */
    memory_describe_firmware(info);                   /* ACPI, frame buffer */
    uint64_t stack = stack_create();                  /* for the first steps of the hypervisor */
    uint64_t root = paging_build(info, memory_top()); /* its first address space */
    memory_leave_firmware(info);                      /* memory map, ExitBootServices */
    hand_over(root, stack, entry, HV_DIRECT_MAP_BASE + (uint64_t)info);
}
