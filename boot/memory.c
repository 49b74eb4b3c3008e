/*
 * What the firmware knows about the machine: its tables, its frame buffer and,
 * last of all, its memory map, with which the loader leaves it.
 */
#include "boot/efi.h"
#include "lib/string.h"

/* Room for the map; one that does not fit is refused. */
#define MAP_BYTES  (256 * KIB)
#define EXIT_TRIES 8
/* One page-directory-pointer table maps this much. */
#define DIRECT_MAP_LIMIT (512 * GIB)
/* The first page is never given away: address 0 stays nobody's. */
#define LOWEST_FREE PAGE_SIZE

static char *map; /* MAP_BYTES */
static UINTN map_bytes, map_key, map_entry_bytes;

static bool guid_is(const EFI_GUID *a, EFI_GUID b)
{
    return memcmp(a, &b, sizeof(b)) == 0;
}

static uint64_t find_rsdp(void)
{
    uint64_t old = 0;
    for (UINTN i = 0; i < efi_system->NumberOfTableEntries; i++) {
        EFI_CONFIGURATION_TABLE *table = &efi_system->ConfigurationTable[i];
        if (guid_is(&table->VendorGuid, (EFI_GUID)ACPI_20_TABLE_GUID))
            return (uint64_t)table->VendorTable;
        if (guid_is(&table->VendorGuid, (EFI_GUID)ACPI_TABLE_GUID))
            old = (uint64_t)table->VendorTable;
    }
    return old;
}

/* Value of a white pixel, 0 when pixels are not 32-bit words of colours (UEFI
 * 12.9.2.1). */
static uint32_t white_of(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode)
{
    switch (mode->PixelFormat) {
    case PixelRedGreenBlueReserved8BitPerColor:
    case PixelBlueGreenRedReserved8BitPerColor:
        return 0x00ffffff;
    case PixelBitMask:
        return mode->PixelInformation.RedMask | mode->PixelInformation.GreenMask |
               mode->PixelInformation.BlueMask;
    default:
        return 0;
    }
}

static void find_framebuffer(struct boot_info *info)
{
    EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_GRAPHICS_OUTPUT_PROTOCOL *graphics;
    if (efi_system->BootServices->LocateProtocol(&guid, NULL, (void **)&graphics) != EFI_SUCCESS ||
        !graphics->Mode || !graphics->Mode->Info)
        return;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode = graphics->Mode->Info;
    if (white_of(mode) == 0 || mode->PixelsPerScanLine > UINT32_MAX / 4)
        return;
    info->framebuffer = graphics->Mode->FrameBufferBase;
    info->framebuffer_bytes = graphics->Mode->FrameBufferSize;
    info->framebuffer_width = mode->HorizontalResolution;
    info->framebuffer_height = mode->VerticalResolution;
    info->framebuffer_pitch = mode->PixelsPerScanLine * 4;
    info->framebuffer_ink = white_of(mode);
}

void memory_describe_firmware(struct boot_info *info)
{
    info->rsdp = find_rsdp();
    info->startup_page = pages_allocate_startup();
    find_framebuffer(info);
}

static EFI_STATUS map_get(void)
{
    UINT32 version;
    map_bytes = MAP_BYTES;
    return efi_system->BootServices->GetMemoryMap(&map_bytes, (EFI_MEMORY_DESCRIPTOR *)map,
                                                  &map_key, &map_entry_bytes, &version);
}

static const EFI_MEMORY_DESCRIPTOR *map_entry(UINTN at)
{
    return (const EFI_MEMORY_DESCRIPTOR *)(map + at);
}

static uint64_t entry_end(const EFI_MEMORY_DESCRIPTOR *entry)
{
    return entry->PhysicalStart + (entry->NumberOfPages << PAGE_SHIFT);
}

static bool is_ram(UINT32 type)
{
    return type != EfiReservedMemoryType && type != EfiMemoryMappedIO &&
           type != EfiMemoryMappedIOPortSpace && type < EfiMaxMemoryType;
}

uint64_t memory_top(void)
{
    uint64_t top = 4 * GIB;
    map = (char *)pages_allocate(MAP_BYTES, true);
    if (!map || map_get() != EFI_SUCCESS)
        loader_fail("loader: cannot get the firmware's memory map");
    for (UINTN at = 0; at + map_entry_bytes <= map_bytes; at += map_entry_bytes)
        if (is_ram(map_entry(at)->Type) && entry_end(map_entry(at)) > top)
            top = entry_end(map_entry(at));
    return top < DIRECT_MAP_LIMIT ? top : DIRECT_MAP_LIMIT;
}

static enum boot_region_kind region_kind(UINT32 type)
{
    switch (type) {
    case EfiConventionalMemory:
    case EfiBootServicesCode:
    case EfiBootServicesData:
        return BOOT_REGION_FREE;
    case EfiLoaderCode:
    case EfiLoaderData:
        return BOOT_REGION_LOADER;
    default:
        return BOOT_REGION_RESERVED;
    }
}

/* Keeps the regions sorted by address; neighbours of one kind become one. */
static void region_add(struct boot_info *info, uint64_t start, uint64_t end, uint32_t kind)
{
    struct boot_region *regions = info->regions;
    unsigned at = info->region_count;
    while (at && regions[at - 1].start > start)
        at--;
    if (at && regions[at - 1].kind == kind &&
        regions[at - 1].start + regions[at - 1].bytes == start) {
        regions[at - 1].bytes += end - start;
        return;
    }
    if (at < info->region_count && regions[at].kind == kind && regions[at].start == end) {
        regions[at].bytes += end - start;
        regions[at].start = start;
        return;
    }
    /* A region nobody knows of is never used: dropping one is safe. */
    if (info->region_count == BOOT_REGION_MAX)
        return;
    memmove(&regions[at + 1], &regions[at], (info->region_count - at) * sizeof(*regions));
    regions[at] = (struct boot_region){ .start = start, .bytes = end - start, .kind = kind };
    info->region_count++;
}

static void regions_build(struct boot_info *info)
{
    info->region_count = 0;
    for (UINTN at = 0; at + map_entry_bytes <= map_bytes; at += map_entry_bytes) {
        const EFI_MEMORY_DESCRIPTOR *entry = map_entry(at);
        uint64_t start = entry->PhysicalStart, end = entry_end(entry);
        enum boot_region_kind kind = region_kind(entry->Type);
        if (kind == BOOT_REGION_FREE && start < LOWEST_FREE)
            start = LOWEST_FREE;
        if (kind != BOOT_REGION_RESERVED && end > DIRECT_MAP_LIMIT)
            end = DIRECT_MAP_LIMIT;
        if (start < end)
            region_add(info, start, end, kind);
    }
}

/* UEFI 7.4: a map that changed in between makes the key stale; get it again and
 * try once more, calling nothing else. */
void memory_leave_firmware(struct boot_info *info)
{
    console_leave_screens();
    for (unsigned i = 0; i < EXIT_TRIES; i++) {
        if (map_get() == EFI_SUCCESS &&
            efi_system->BootServices->ExitBootServices(efi_image, map_key) == EFI_SUCCESS) {
            regions_build(info);
            return;
        }
    }
    loader_fail("loader: the firmware does not let go (ExitBootServices)");
}
