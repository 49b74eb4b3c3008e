/*
 * On-disk format of the swap area. Little-endian. Described for people in
 * docs/swap-format.md; tools/mkswap.py writes the same.
 *
 *   sector 0       header, rest of the sector zero
 *   sector 1 ..7   reserved
 *   sector 8 ..    extents: struct swap_extent_header, payload, zero padding
 */
#ifndef MM_SWAP_FORMAT_H
#define MM_SWAP_FORMAT_H

#include <stdint.h>

#define SWAP_MAGIC       "BALLASTSWAP\0\0\0\0\0" /* 16 bytes */
#define SWAP_VERSION     1u
#define SWAP_DATA_SECTOR 8u
/* GPT partition type, as tools/mkimage.py writes it:
 * 3b1f6a52-8e0c-4d27-9b57-62616c6c6173 */

struct swap_header {
    char magic[16];
    uint32_t version;
    uint32_t sector_size;  /* 512 */
    uint64_t sector_count; /* of the whole area, this sector included */
    uint8_t uuid[16];
    uint32_t reserved;
    uint32_t check; /* CRC-32 (IEEE 802.3, as zlib) of the bytes before */
};
_Static_assert(sizeof(struct swap_header) == 56, "swap header is 56 bytes");

struct swap_extent_header {
    uint8_t tag[16];
    uint64_t nonce;      /* slot << 32 | generation; informative, never trusted */
    uint16_t size;       /* payload bytes; authenticated */
    uint16_t compressed; /* 0 or 1; authenticated */
    uint32_t reserved;   /* 0 */
};
_Static_assert(sizeof(struct swap_extent_header) == 32, "extent header is 32 bytes");

#endif
