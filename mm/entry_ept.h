/*
 * The bits of nested-table entries as EPT has them (Intel SDM volume 3C, 29.3.2,
 * "EPT Translation Mechanism"; tables 29-1 to 29-7).
 *
 *   leaf         63 .... 53 52  51 ............ 12  11 10  9 8 7  6    5..3 2 1 0
 *                    0 LOGGED,   frame number        0  0  D A 0 IPAT  WB  X W R
 *                       SHARED
 *   large, of 2 MiB              frame number, of 512  0  D A 1 IPAT  WB  X W R
 *   upper level                  frame number        0  0  0 A 0  0    0   X W R
 */
#ifndef MM_ENTRY_EPT_H
#define MM_ENTRY_EPT_H

#include "mm/entry.h"

#define EPT_WRITE_BACK (6ull << 3) /* memory type, leaf only */
#define EPT_IGNORE_PAT (1ull << 6) /* guests have no device of the host: WB always */
#define EPT_ACCESSED   (1ull << 8)
#define EPT_DIRTY      (1ull << 9)

static const struct entry_format entry_ept = {
    .leaf = EPT_WRITE_BACK | EPT_IGNORE_PAT,
    .accessed = EPT_ACCESSED,
    .dirty = EPT_DIRTY,
    .data_clear = ENTRY_EXEC,
};

#endif
