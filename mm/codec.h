/*
 * LZ4 block format (lz4_Block_format.md of the LZ4 project, 1.9.4), specialised
 * to pages: one block holds exactly PAGE_SIZE bytes and stands alone. Blocks
 * are readable by liblz4 and the other way round.
 */
#ifndef MM_CODEC_H
#define MM_CODEC_H

#include "lib/types.h"

/* Working memory of one compression; no alignment beyond 8, content ignored. */
#define CODEC_WORK_BYTES 8192u

/* Compresses a page into at most limit bytes. Returns the block's length, or 0
 * when it would be longer than limit (never reads or writes outside). With a
 * limit below PAGE_SIZE, a page that has saved next to nothing in its first half
 * is refused early: some that would just have fitted are too. The block
 * is the same at every limit at which there is one. */
uint32_t codec_compress(const void *page, void *block, uint32_t limit, void *work);

/* Decompresses a block of size bytes into exactly one page. False for every
 * block that is damaged: nothing is written past the page, every input
 * terminates (P9). */
bool codec_decompress(const void *block, uint32_t size, void *page);

/* The same by the plain decoder, byte by byte: the reference that is proved. Both
 * agree on every block; after a false, what the page holds may differ. */
bool codec_decompress_plain(const uint8_t *block, uint32_t size, uint8_t *page);

#endif
