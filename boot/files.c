/*
 * Files of the partition the loader was started from. Sizes are the file
 * system's word and so bounded here; a file that ends early is an error.
 */
#include "boot/efi.h"
#include "lib/string.h"

#define FOLDER   "\\ballast\\"
#define PATH_MAX (CONFIG_PATH_MAX + sizeof(FOLDER))
/* One read of the firmware: some refuse or corrupt very long ones. */
#define READ_AT_ONCE (1 * MIB)

static EFI_FILE_HANDLE root;

void files_open(void)
{
    EFI_GUID loaded = EFI_LOADED_IMAGE_PROTOCOL_GUID,
             file_system = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_BOOT_SERVICES *services = efi_system->BootServices;
    EFI_LOADED_IMAGE *image;
    EFI_FILE_IO_INTERFACE *volume;
    if (services->HandleProtocol(efi_image, &loaded, (void **)&image) != EFI_SUCCESS ||
        services->HandleProtocol(image->DeviceHandle, &file_system, (void **)&volume) !=
            EFI_SUCCESS ||
        volume->OpenVolume(volume, &root) != EFI_SUCCESS)
        loader_fail("loader: cannot open the partition it was started from");
}

static void path_convert(const char *path, CHAR16 wide[PATH_MAX])
{
    UINTN length = 0;
    bool absolute = *path == '/' || *path == '\\';
    for (const char *at = absolute ? "" : FOLDER; *at; at++)
        wide[length++] = (CHAR16)*at;
    for (; *path && length + 1 < PATH_MAX; path++)
        wide[length++] = *path == '/' ? '\\' : (CHAR16)(unsigned char)*path;
    wide[length] = 0;
}

/* EFI_FILE_INFO ends in the name, which is of no interest here. */
static bool file_size(EFI_FILE_HANDLE handle, uint64_t *size, bool *folder)
{
    EFI_GUID guid = EFI_FILE_INFO_ID;
    union {
        EFI_FILE_INFO info;
        char bytes[sizeof(EFI_FILE_INFO) + 2 * 260];
    } buffer;
    UINTN bytes = sizeof(buffer);
    if (handle->GetInfo(handle, &guid, &bytes, &buffer) != EFI_SUCCESS)
        return false;
    *size = buffer.info.FileSize;
    *folder = (buffer.info.Attribute & EFI_FILE_DIRECTORY) != 0;
    return true;
}

static const char *read_all(EFI_FILE_HANDLE handle, uint64_t address, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        UINTN bytes = size - at < READ_AT_ONCE ? size - at : READ_AT_ONCE;
        if (handle->Read(handle, &bytes, (void *)(address + at)) != EFI_SUCCESS)
            return "read error";
        if (bytes == 0)
            return "ends before its size";
        at += bytes;
    }
    return NULL;
}

static const char *read_open_file(EFI_FILE_HANDLE handle, uint64_t size_max, struct boot_file *file)
{
    uint64_t size;
    bool folder;
    if (!file_size(handle, &size, &folder))
        return "cannot find out its size";
    if (folder)
        return "is a folder";
    if (size == 0)
        return "is empty";
    if (size > size_max)
        return "is too large";
    uint64_t address = pages_allocate(size, false);
    if (!address)
        return "does not fit in memory";
    const char *problem = read_all(handle, address, size);
    if (problem)
        efi_system->BootServices->FreePages(address, (size + PAGE_MASK) >> PAGE_SHIFT);
    else
        *file = (struct boot_file){ .address = address, .bytes = size };
    return problem;
}

const char *files_read(const char *path, uint64_t size_max, struct boot_file *file)
{
    CHAR16 wide[PATH_MAX];
    EFI_FILE_HANDLE handle;
    path_convert(path, wide);
    EFI_STATUS status = root->Open(root, &handle, wide, EFI_FILE_MODE_READ, 0);
    if (status == EFI_NOT_FOUND)
        return "no such file";
    if (status != EFI_SUCCESS)
        return "cannot be opened";
    const char *problem = read_open_file(handle, size_max, file);
    handle->Close(handle);
    return problem;
}
