/*
 * What the decoders of hv/decode.h have in common: the bytes of an instruction one
 * after the other, prefixes, addresses of memory operands. Private to hv/decode*.c.
 */
#ifndef HV_DECODE_PARTS_H
#define HV_DECODE_PARTS_H

#include "hv/decode.h"

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

struct decode_state {
    const uint8_t *bytes;
    unsigned size, at;
    bool cut_off;
    enum decode_mode mode;
    bool operand_prefix, address_prefix;
    uint8_t rex;
    bool has_rex;
    uint8_t segment; /* override, DECODE_NONE: none */
    struct decoded *d;
};

/* 0, and cut_off, past the end. */
uint8_t decode_next_byte(struct decode_state *s);
/* The next size bytes, little endian, sign-extended. */
int64_t decode_next_signed(struct decode_state *s, unsigned size);

/* Takes legacy prefixes and REX; returns the byte after them. */
uint8_t decode_take_prefixes(struct decode_state *s);
uint8_t decode_address_size(const struct decode_state *s);

/* ModRM with a memory operand, into s->d, whose address_size is known. field: its reg
 * field, as encoded. False: the operand is a register, nothing is taken but ModRM. */
bool decode_take_modrm(struct decode_state *s, uint8_t *field);

#endif
