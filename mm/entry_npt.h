/*
 * The bits of nested-table entries as AMD's nested paging has them: those of the
 * host's own page tables (AMD APM volume 2, 5.3.3, figures 5-20 to 5-23; 15.25).
 *
 *   leaf         63 .... 53 52  51 ............ 12  11 .. 9 8  7   6 5  4   3  2 1 0
 *                NX LOGGED,      frame number          0    G PAT  D A PCD PWT U W P
 *                    SHARED
 *   large, of 2 MiB              frame number, of 512  0    G 1   D A PCD PWT U W P
 *   upper level                  frame number          0    0  0   0 A  0   0  U W P
 *
 * User stays set: a guest's accesses are user accesses here (15.25.5). There is no
 * bit for reading or for executing alone. PAT, PCD and PWT 0 choose entry 0 of the
 * host's PAT, which is write-back; of a large entry, bit 12 is PAT and stays 0 as
 * well. Bits 52 to 58 are free for software.
 */
#ifndef MM_ENTRY_NPT_H
#define MM_ENTRY_NPT_H

#include "mm/entry.h"

#define NPT_ACCESSED   (1ull << 5)
#define NPT_DIRTY      (1ull << 6)
#define NPT_NO_EXECUTE (1ull << 63)

static const struct entry_format entry_npt = {
    .leaf = 0,
    .accessed = NPT_ACCESSED,
    .dirty = NPT_DIRTY,
    .data_set = NPT_NO_EXECUTE,
};

#endif
