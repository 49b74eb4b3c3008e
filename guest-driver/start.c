/*
 * From the PVH entry to guest_main(): takes what the start information says
 * before its memory is given away, and loads the IDT.
 */
#include "abi/machine.h"
#include "abi/pvh.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/guest.h"
#include "guest-driver/interrupts.h"
#include "lib/assert.h"
#include "lib/fmt.h"
#include "lib/types.h"

extern const char image_end[];
void guest_start(const struct pvh_start_info *info);

static struct guest_boot boot;

_Noreturn void guest_exit(uint8_t status)
{
    port_write8(GUEST_EXIT_PORT, status);
    for (;;)
        __asm__ volatile("cli; hlt");
}

_Noreturn void panic(const char *format, ...)
{
    char text[CONSOLE_LINE_MAX];
    va_list args;
    va_start(args, format);
    fmt_vprint(text, sizeof(text), format, args);
    va_end(args);
    console_line("guest: panic: %s", text);
    guest_exit(GUEST_STATUS_UNEXPECTED);
}

void guest_report(uint32_t checked, uint32_t mismatched)
{
    port_write32(GUEST_REPORT_CHECKED_PORT, checked);
    port_write32(GUEST_REPORT_MISMATCHED_PORT, mismatched);
}

static void take_cmdline(const char *text)
{
    unsigned n = 0;
    while (text && text[n] && n + 1 < GUEST_CMDLINE_MAX) {
        boot.cmdline[n] = text[n];
        n++;
    }
    boot.cmdline[n] = '\0';
}

static void take_memory(const struct pvh_memmap_entry *map, uint32_t count)
{
    boot.image_end = (uint64_t)image_end;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t end = map[i].addr + map[i].size;
        if (map[i].type == PVH_MEMMAP_RAM && map[i].addr < boot.image_end && end >= boot.image_end)
            boot.memory_bytes = end & ~(uint64_t)PAGE_MASK;
    }
    if (boot.memory_bytes > GUEST_HOLE_START)
        boot.memory_bytes = GUEST_HOLE_START;
}

void guest_start(const struct pvh_start_info *info)
{
    console_init();
    interrupts_init();
    if (info->magic != PVH_MAGIC)
        panic("no PVH start information (magic 0x%x)", info->magic);
    take_cmdline((const char *)info->cmdline_paddr);
    if (info->version >= 1)
        take_memory((const struct pvh_memmap_entry *)info->memmap_paddr, info->memmap_entries);
    if (!boot.memory_bytes)
        panic("no RAM range holds the image (ends at 0x%lx)", boot.image_end);
    guest_exit((uint8_t)guest_main(&boot));
}
