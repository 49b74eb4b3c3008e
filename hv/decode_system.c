/*
 * Decoder for system instructions, hv/decode.h: their length, and the operand of
 * those that have one.
 */
#include "hv/decode_parts.h"
#include "hv/vcpu.h"

#define LMSW_FIELD 6u

/* 0F 20, 0F 22: the register form, whatever mod says. */
static void take_control_register(struct decode_state *s, struct decoded_system *r)
{
    uint8_t modrm = decode_next_byte(s);
    r->reg = (uint8_t)((modrm & 7) | (s->rex & REX_B ? 8 : 0));
    r->cr = (uint8_t)((modrm >> 3 & 7) | (s->rex & REX_R ? 8 : 0));
}

/* 0F 01 /6: of a register, or of 16 bits in memory. ModRM is looked at again. */
static bool take_lmsw(struct decode_state *s, uint8_t modrm, struct decoded_system *r)
{
    uint8_t field;
    r->opcode = DECODE_LMSW;
    s->at--;
    r->memory = decode_take_modrm(s, &field);
    if (!r->memory)
        r->reg = (uint8_t)((modrm & 7) | (s->rex & REX_B ? 8 : 0));
    return true;
}

static bool take_system(struct decode_state *s, uint8_t code, struct decoded_system *r)
{
    r->opcode = code;
    if (code == 0x0f)
        r->opcode = (uint32_t)code << 8 | decode_next_byte(s);
    if (r->opcode == DECODE_XSETBV >> 8) {
        uint8_t modrm = decode_next_byte(s);
        r->opcode = r->opcode << 8 | modrm;
        if ((modrm >> 3 & 7) == LMSW_FIELD)
            return take_lmsw(s, modrm, r);
    }
    switch (r->opcode) {
    case DECODE_CR_READ:
    case DECODE_CR_WRITE:
        take_control_register(s, r);
        return true;
    case DECODE_HLT:
    case DECODE_INVD:
    case DECODE_WBINVD:
    case DECODE_WRMSR:
    case DECODE_RDMSR:
    case DECODE_CPUID:
    case DECODE_XSETBV:
        return true;
    }
    return false;
}

bool decode_system(const uint8_t *bytes, unsigned size, enum decode_mode mode,
                   struct decoded_system *result)
{
    struct decode_state s = { .bytes = bytes,
                              .size = size > DECODE_BYTES_MAX ? DECODE_BYTES_MAX : size,
                              .mode = mode,
                              .segment = DECODE_NONE,
                              .d = &result->operand };
    *result = (struct decoded_system){ 0 };
    result->operand.base = result->operand.index = DECODE_NONE;
    uint8_t code = decode_take_prefixes(&s);
    result->operand.address_size = decode_address_size(&s);
    bool known = take_system(&s, code, result);
    result->length = result->operand.length = (uint8_t)s.at;
    return known && !s.cut_off;
}
