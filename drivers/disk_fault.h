/*
 * Disk faults on purpose (disk_fault_set() in drivers/disk.h): counts requests
 * and says which of them are to fail.
 */
#ifndef DRIVERS_DISK_FAULT_H
#define DRIVERS_DISK_FAULT_H

#include "mm/block.h"

/* Counts one request; true when it must complete with BLOCK_ERROR, untouched. */
bool disk_fault_due(enum block_operation operation);

#endif
