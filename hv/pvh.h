/*
 * PVH direct boot (abi/pvh.h): an ELF64 image with a note that names its 32-bit
 * entry. The image is hostile until checked; guest memory is written through
 * mm_pin() only.
 */
#ifndef HV_PVH_H
#define HV_PVH_H

#include "lib/types.h"

struct vm;

/* start_info, the memory map and the command line share this guest page. */
#define PVH_INFO_ADDRESS 0x7000u

/* Loads the image and sets the first vCPU up to enter it. False: *reason names,
 * in a few words, why that is impossible; the guest's memory may be written in
 * part then. */
bool pvh_load(struct vm *vm, const void *file, size_t size, const char **reason);

#endif
