#include "hv/decode_parts.h"
#include "hv/vcpu.h"
#include "lib/string.h"

/* Where the operands of an opcode are. */
enum form {
    FORM_STORE = 1, /* r/m, reg */
    FORM_LOAD,      /* reg, r/m */
    FORM_IMMEDIATE, /* r/m, imm of the operand size (at most 4 bytes) */
    FORM_BYTE,      /* r/m, imm8 sign-extended */
    FORM_UNARY,     /* r/m */
    FORM_MOFFS_IN,  /* accumulator, [offset] */
    FORM_MOFFS_OUT, /* [offset], accumulator */
    FORM_STRING     /* implied */
};

struct opcode {
    uint8_t op, form;
    bool byte;     /* operand of one byte */
    uint8_t group; /* 1: 80-83, 2: C6/C7, 3: F6/F7, 4: FE/FF; reg field selects */
};

#define PAIR(code, operation, how)                                                                 \
    [code] = { .op = operation, .form = how, .byte = true },                                       \
    [(code) + 1] = { .op = operation, .form = how }
#define ARITHMETIC(code, operation)                                                                \
    PAIR(code, operation, FORM_STORE), PAIR((code) + 2, operation, FORM_LOAD)

static const struct opcode one_byte[256] = {
    ARITHMETIC(0x00, DECODE_ADD),
    ARITHMETIC(0x08, DECODE_OR),
    ARITHMETIC(0x20, DECODE_AND),
    ARITHMETIC(0x28, DECODE_SUB),
    ARITHMETIC(0x30, DECODE_XOR),
    ARITHMETIC(0x38, DECODE_CMP),
    PAIR(0x6c, DECODE_STRING_IO, FORM_STRING),
    PAIR(0x6e, DECODE_STRING_IO, FORM_STRING),
    [0x80] = { .form = FORM_BYTE, .byte = true, .group = 1 },
    [0x81] = { .form = FORM_IMMEDIATE, .group = 1 },
    [0x83] = { .form = FORM_BYTE, .group = 1 },
    PAIR(0x84, DECODE_TEST, FORM_STORE),
    PAIR(0x86, DECODE_XCHG, FORM_STORE),
    PAIR(0x88, DECODE_MOV, FORM_STORE),
    PAIR(0x8a, DECODE_MOV, FORM_LOAD),
    PAIR(0xa0, DECODE_MOV, FORM_MOFFS_IN),
    PAIR(0xa2, DECODE_MOV, FORM_MOFFS_OUT),
    PAIR(0xaa, DECODE_STOS, FORM_STRING),
    [0xc6] = { .form = FORM_IMMEDIATE, .byte = true, .group = 2 },
    [0xc7] = { .form = FORM_IMMEDIATE, .group = 2 },
    [0xf6] = { .form = FORM_IMMEDIATE, .byte = true, .group = 3 },
    [0xf7] = { .form = FORM_IMMEDIATE, .group = 3 },
    [0xfe] = { .form = FORM_UNARY, .byte = true, .group = 4 },
    [0xff] = { .form = FORM_UNARY, .group = 4 },
};

/* What the reg field of ModRM selects in each group. */
static const uint8_t groups[5][8] = {
    [1] = { [0] = DECODE_ADD,
            [1] = DECODE_OR,
            [4] = DECODE_AND,
            [5] = DECODE_SUB,
            [6] = DECODE_XOR,
            [7] = DECODE_CMP },
    [2] = { [0] = DECODE_MOV },
    [3] = { [0] = DECODE_TEST, [1] = DECODE_TEST },
    [4] = { [0] = DECODE_INC, [1] = DECODE_DEC },
};

static uint8_t operand_size(const struct decode_state *s)
{
    if (s->rex & REX_W)
        return 8;
    bool narrow = (s->mode == DECODE_16) != s->operand_prefix;
    return narrow ? 2 : 4;
}

static void set_register(struct decode_state *s, uint8_t field)
{
    struct decoded *d = s->d;
    d->reg = (uint8_t)(field | (s->rex & REX_R ? 8 : 0));
    if (d->register_size == 1 && !s->has_rex && field >= 4) {
        d->reg = field - 4;
        d->high = true;
    }
}

static void take_immediate(struct decode_state *s, uint8_t form)
{
    unsigned size = form == FORM_BYTE ? 1 : s->d->size > 4 ? 4 : s->d->size;
    s->d->immediate = true;
    s->d->imm = (uint64_t)decode_next_signed(s, size);
}

static bool take_operands(struct decode_state *s, const struct opcode *opcode)
{
    struct decoded *d = s->d;
    uint8_t field;
    d->op = opcode->op;
    d->size = d->register_size = opcode->byte ? 1 : operand_size(s);
    switch (opcode->form) {
    case FORM_STRING:
        d->to_memory = true;
        d->segment = s->segment != DECODE_NONE ? s->segment : SEG_DS;
        return true;
    case FORM_MOFFS_IN:
    case FORM_MOFFS_OUT:
        d->to_memory = opcode->form == FORM_MOFFS_OUT;
        d->reg = REG_RAX;
        d->displacement = decode_next_signed(s, d->address_size);
        d->segment = s->segment != DECODE_NONE ? s->segment : SEG_DS;
        return true;
    }
    if (!decode_take_modrm(s, &field))
        return false;
    if (opcode->group)
        d->op = groups[opcode->group][field];
    else
        set_register(s, field);
    d->to_memory = opcode->form != FORM_LOAD;
    if (opcode->form == FORM_IMMEDIATE || opcode->form == FORM_BYTE)
        take_immediate(s, opcode->form);
    return true;
}

/* 0F B6/B7 MOVZX, 0F BE/BF MOVSX, 0F C3 MOVNTI. */
static bool take_two_byte(struct decode_state *s)
{
    struct decoded *d = s->d;
    uint8_t code = decode_next_byte(s), field;
    d->register_size = operand_size(s);
    switch (code) {
    case 0xb6:
    case 0xb7:
        d->op = DECODE_MOVZX;
        break;
    case 0xbe:
    case 0xbf:
        d->op = DECODE_MOVSX;
        break;
    case 0xc3:
        d->op = DECODE_MOV;
        d->to_memory = true;
        break;
    default:
        return false;
    }
    d->size = code == 0xc3 ? d->register_size : code & 1 ? 2 : 1;
    if (!decode_take_modrm(s, &field))
        return false;
    d->reg = (uint8_t)(field | (s->rex & REX_R ? 8 : 0));
    return true;
}

/* 63 in 64-bit mode. */
static bool take_movsxd(struct decode_state *s)
{
    struct decoded *d = s->d;
    uint8_t field;
    d->op = DECODE_MOVSX;
    d->register_size = operand_size(s);
    d->size = d->register_size < 4 ? d->register_size : 4;
    if (!decode_take_modrm(s, &field))
        return false;
    set_register(s, field);
    return true;
}

bool decode_instruction(const uint8_t *bytes, unsigned size, enum decode_mode mode,
                        struct decoded *result)
{
    if (size > DECODE_BYTES_MAX)
        size = DECODE_BYTES_MAX;
    memset(result, 0, sizeof(*result));
    result->base = result->index = DECODE_NONE;
    struct decode_state s = {
        .bytes = bytes, .size = size, .mode = mode, .segment = DECODE_NONE, .d = result
    };
    uint8_t code = decode_take_prefixes(&s);
    result->address_size = decode_address_size(&s);
    bool known;
    if (code == 0x0f)
        known = take_two_byte(&s);
    else if (code == 0x63 && mode == DECODE_64)
        known = take_movsxd(&s);
    else
        known = one_byte[code].form && take_operands(&s, &one_byte[code]);
    result->length = (uint8_t)s.at;
    return known && !s.cut_off && result->op != DECODE_REFUSED;
}
