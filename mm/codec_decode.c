/*
 * The plain decoder: one LZ4 block to exactly one page, or nothing; byte by byte.
 *
 * It is the reference for mm/codec_decode_fast.c, which has to agree with it on
 * every input, and it is the one that is proved: `make proof` shows with Frama-C
 * that every access stays inside block and page and that every input ends (P9).
 * The comments that begin with @ are for that (ACSL).
 *
 * The rules of the format are required, not assumed: a match begins inside what
 * was written, ends at least 5 bytes before the end of the page and starts at
 * least 12 before it, and the block ends with the literals that complete the
 * page.
 */
#include "mm/codec.h"

#define MIN_MATCH     4u
#define LAST_LITERALS 5u
#define MATCH_LIMIT   12u
#define TOO_LONG      UINT32_MAX

/* Length whose first four bits are `length`: bytes that continue a 15 are added.
 * TOO_LONG when the block ends in them or the sum passes a page and more. */
/*@
  requires \valid_read(block + (0 .. size - 1));
  requires \valid(in) && *in <= size;
  requires \separated(in, block + (0 .. size - 1));
  requires length <= 15;
  terminates \true;
  exits \false;
  assigns *in;
  ensures \old(*in) <= *in <= size;
  ensures \result == TOO_LONG || \result <= PAGE_SIZE + 255;
*/
static uint32_t read_length(const uint8_t *block, uint32_t size, uint32_t *in, uint32_t length)
{
    if (length < 15)
        return length;
    /*@
      loop invariant \at(*in, Pre) <= *in <= size;
      loop invariant length <= PAGE_SIZE + 255;
      loop assigns *in, length;
      loop variant size - *in;
    */
    while (*in < size && length <= PAGE_SIZE) {
        uint8_t byte = block[*in];
        *in += 1;
        length += byte;
        if (byte != 255)
            return length;
    }
    return TOO_LONG;
}

/*@
  requires \valid_read(from + (0 .. count - 1));
  requires \valid(to + (0 .. count - 1));
  requires \separated(from + (0 .. count - 1), to + (0 .. count - 1));
  terminates \true;
  exits \false;
  assigns to[0 .. count - 1];
*/
static void copy_literals(uint8_t *to, const uint8_t *from, uint32_t count)
{
    /*@
      loop invariant 0 <= i <= count;
      loop assigns i, to[0 .. count - 1];
      loop variant count - i;
    */
    for (uint32_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* A distance below count repeats what this very copy writes. */
/*@
  requires \valid(page + (0 .. PAGE_SIZE - 1));
  requires 1 <= distance <= out <= PAGE_SIZE;
  requires count <= PAGE_SIZE - out;
  terminates \true;
  exits \false;
  assigns page[out .. out + count - 1];
*/
static void copy_match(uint8_t *page, uint32_t out, uint32_t distance, uint32_t count)
{
    /*@
      loop invariant 0 <= i <= count;
      loop assigns i, page[out .. out + count - 1];
      loop variant count - i;
    */
    for (uint32_t i = 0; i < count; i++)
        page[out + i] = page[out + i - distance];
}

/*@
  requires \valid_read(block + (0 .. size - 1));
  requires \valid(page + (0 .. PAGE_SIZE - 1));
  requires \separated(block + (0 .. size - 1), page + (0 .. PAGE_SIZE - 1));
  terminates \true;
  exits \false;
  assigns page[0 .. PAGE_SIZE - 1];
*/
bool codec_decompress_plain(const uint8_t *block, uint32_t size, uint8_t *page)
{
    uint32_t in = 0, out = 0;
    /*@
      loop invariant in <= size;
      loop invariant out <= PAGE_SIZE;
      loop assigns in, out, page[0 .. PAGE_SIZE - 1];
      loop variant size - in;
    */
    while (in < size) {
        uint32_t token = block[in];
        in += 1;
        uint32_t literals = read_length(block, size, &in, token / 16u);
        if (literals > size - in || literals > PAGE_SIZE - out)
            return false;
        copy_literals(page + out, block + in, literals);
        in += literals;
        out += literals;
        if (in == size)
            return out == PAGE_SIZE;

        if (size - in < 2 || out > PAGE_SIZE - MATCH_LIMIT)
            return false;
        uint32_t distance = block[in] + 256u * block[in + 1];
        in += 2;
        uint32_t length = read_length(block, size, &in, token % 16u);
        if (length > PAGE_SIZE || length + MIN_MATCH > PAGE_SIZE - LAST_LITERALS - out)
            return false;
        if (distance == 0 || distance > out)
            return false;
        copy_match(page, out, distance, length + MIN_MATCH);
        out += length + MIN_MATCH;
    }
    return false;
}
