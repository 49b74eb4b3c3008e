/*
 * The firmware's interface, for the files of the loader that talk to it, and
 * what these files offer each other. One CPU, no interrupts of our own, no
 * locks. Source: UEFI Specification 2.10.
 */
#ifndef BOOT_EFI_H
#define BOOT_EFI_H

#include <efi.h>

#include "hv/boot_info.h"

extern EFI_SYSTEM_TABLE *efi_system;
extern EFI_HANDLE efi_image;

/* ---- console.c -------------------------------------------------------------- */

void console_open(void);
/* From now on only COM1: the firmware's services are going away. */
void console_leave_screens(void);
/* One line, without its newline, to COM1 and to every screen. */
void console_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line saying what is wrong, the result line, and the machine off. */
_Noreturn void loader_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- pages.c ---------------------------------------------------------------- */

/* Physically contiguous memory (below 4 GiB when low), zeroed, that stays after
 * the firmware is left. Returns its address, 0 when there is none. */
uint64_t pages_allocate(uint64_t bytes, bool low);
/* One page below 1 MiB; 0: there is none. */
uint64_t pages_allocate_startup(void);

/* ---- files.c ---------------------------------------------------------------- */

void files_open(void);
/* Reads a file into pages of its own. path: relative to \ballast\, or from the
 * root when it starts with a slash; both slashes separate. NULL, or what went
 * wrong in a few words. */
const char *files_read(const char *path, uint64_t size_max, struct boot_file *file);

/* ---- images.c --------------------------------------------------------------- */

void images_load_config(struct boot_info *info);
/* Copies the hypervisor's segments into place; returns its entry, virtual. */
uint64_t images_load_hypervisor(struct boot_info *info);
/* Reads the guests' images; problems are recorded for each VM. */
void images_load_guests(struct boot_info *info);

/* ---- memory.c --------------------------------------------------------------- */

/* Root pointer of ACPI and frame buffer. */
void memory_describe_firmware(struct boot_info *info);
/* End of the highest memory the firmware knows, at least 4 GiB. */
uint64_t memory_top(void);
/* Takes the final memory map and leaves boot services. */
void memory_leave_firmware(struct boot_info *info);

/* ---- paging.c --------------------------------------------------------------- */

/* Tables for the hand-over: physical memory below top one to one and at
 * HV_DIRECT_MAP_BASE, the hypervisor at HV_VIRTUAL_BASE. Returns the root. */
uint64_t paging_build(const struct boot_info *info, uint64_t top);

#endif
