/*
 * Content-based page sharing.
 *
 * The index is an array of buckets, chained through the frames' descriptors:
 * merged frames, and private frames whose content was the same at two looks
 * (a hint only: a merge compares whole pages after write-protect and flush).
 * Chains are at most SHARE_WALK long; a page that finds its bucket full stays
 * private. A salt keeps domains apart: pages merge with pages of VMs of the same
 * salt only.
 *
 * Lock: one for chains, links and sharer counts; inside range locks, outside that
 * of the counted objects. A private frame's key changes only while it is on no
 * chain, by the holder of its leaf.
 */
#ifndef MM_SHARE_H
#define MM_SHARE_H

#include "mm/home.h"

#define SHARE_WALK      16u
#define SHARE_COUNT_MAX 0x7fffffffu

/* Takes the index's memory (less than a byte a frame). */
void share_init(void);
uint64_t share_metadata_bytes(void);

/* ---- merged frames (share_index.c) ------------------------------------------- */

/* One sharer more, for a pin: also beyond SHARE_COUNT_MAX. */
void share_frame_hold(pfn_t number);
/* One sharer more of the merged frame of a counted object; PFN_NONE when it has
 * none any more. */
pfn_t share_frame_of_object(uint32_t object);
/* One sharer less, after the flush; true when it was the last and the frame is
 * free now. */
bool share_frame_drop(pfn_t number);
/* True when the caller was the only sharer: the frame is PRIVATE now. */
bool share_frame_take_back(pfn_t number);

/* A private frame's content or owner changes: off the index, hash forgotten, its
 * clean slot given back. */
void share_forget(pfn_t number);

/* The index's key of a content: its hash in a domain. */
uint32_t share_key(uint64_t hash, uint16_t salt);

/* Puts a frame into the index under its key; false: the bucket is full. */
bool share_index_insert(pfn_t number);
/* Makes a merged frame out of `merged` (SHARED, empty descriptor): two sharers. */
void share_index_merged(pfn_t merged, uint32_t key, uint16_t salt, uint32_t sharers);
/* What the index found. A merged frame comes with one more sharer held; of a
 * private one, vm and page are only where it was. */
struct share_found {
    pfn_t frame; /* PFN_NONE: nothing */
    bool merged;
    uint16_t vm;
    gfn_t page;
};
/* A frame with this key and salt other than `not_this`, merged ones preferred. */
struct share_found share_index_find(uint32_t key, uint16_t salt, pfn_t not_this);

/* The merged frame is being paged out into this counted object: off the index. */
void share_frame_set_object(pfn_t number, uint32_t object);

/* Checks the chains; NULL, or what is wrong. */
const char *share_audit(void);

/* ---- the scan (share.c) ---------------------------------------------------------- */

/* Looks at the next `budget` pages; returns the frames freed. */
uint32_t share_step(uint32_t budget);
/* Pages looked at since a frame was last freed by the scan. */
uint64_t share_dry_pages(void);
/* There is something new to look at. */
void share_not_dry(void);
void share_scan_init(void);

/* PRIVATE => ZERO or FILL when the page is one word repeated; frame freed after
 * the flush. The leaf is locked and PRIVATE, not pinned. True when it was so. */
bool share_found_uniform(struct leaf *leaf);

#endif
