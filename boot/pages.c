/* Memory of the loader: whole pages, of a type that marks them as ours. */
#include "boot/efi.h"
#include "lib/string.h"

#define LOW_LIMIT     (4 * GIB - 1)
#define STARTUP_LIMIT (1 * MIB - 1) /* where a CPU can begin in real mode */

uint64_t pages_allocate(uint64_t bytes, bool low)
{
    EFI_PHYSICAL_ADDRESS address = LOW_LIMIT;
    UINTN pages = (bytes + PAGE_MASK) >> PAGE_SHIFT;
    EFI_STATUS status = efi_system->BootServices->AllocatePages(
        low ? AllocateMaxAddress : AllocateAnyPages, EfiLoaderData, pages, &address);
    if (status != EFI_SUCCESS)
        return 0;
    memset((void *)address, 0, pages << PAGE_SHIFT);
    return address;
}

uint64_t pages_allocate_startup(void)
{
    EFI_PHYSICAL_ADDRESS address = STARTUP_LIMIT;
    EFI_STATUS status =
        efi_system->BootServices->AllocatePages(AllocateMaxAddress, EfiLoaderData, 1, &address);
    return status == EFI_SUCCESS ? address : 0;
}
