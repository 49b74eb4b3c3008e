#include "hv/decode.h"
#include "hv/vcpu.h"
#include "lib/string.h"

#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

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

struct state {
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

static uint8_t next_byte(struct state *s)
{
    if (s->at >= s->size) {
        s->cut_off = true;
        return 0;
    }
    return s->bytes[s->at++];
}

/* The next size bytes, little endian, sign-extended. */
static int64_t next_signed(struct state *s, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)next_byte(s) << (8 * i);
    unsigned unused = 64 - 8 * size;
    return (int64_t)(value << unused) >> unused;
}

/* True while the byte is a legacy prefix. */
static bool take_prefix(struct state *s, uint8_t byte)
{
    switch (byte) {
    case 0x66:
        s->operand_prefix = true;
        return true;
    case 0x67:
        s->address_prefix = true;
        return true;
    case 0xf0: /* LOCK: one CPU, every emulated access is atomic */
        return true;
    case 0xf2:
    case 0xf3:
        s->d->rep = true;
        return true;
    case 0x26:
        s->segment = SEG_ES;
        return true;
    case 0x2e:
        s->segment = SEG_CS;
        return true;
    case 0x36:
        s->segment = SEG_SS;
        return true;
    case 0x3e:
        s->segment = SEG_DS;
        return true;
    case 0x64:
        s->segment = SEG_FS;
        return true;
    case 0x65:
        s->segment = SEG_GS;
        return true;
    }
    return false;
}

static uint8_t take_prefixes(struct state *s)
{
    uint8_t byte = next_byte(s);
    while (!s->cut_off && take_prefix(s, byte))
        byte = next_byte(s);
    if (s->mode == DECODE_64 && (byte & 0xf0) == 0x40) {
        s->rex = byte & 0xf;
        s->has_rex = true;
        byte = next_byte(s);
    }
    return byte;
}

static uint8_t operand_size(const struct state *s)
{
    if (s->rex & REX_W)
        return 8;
    bool narrow = (s->mode == DECODE_16) != s->operand_prefix;
    return narrow ? 2 : 4;
}

static uint8_t address_size(const struct state *s)
{
    switch (s->mode) {
    case DECODE_64:
        return s->address_prefix ? 4 : 8;
    case DECODE_32:
        return s->address_prefix ? 2 : 4;
    case DECODE_16:
        break;
    }
    return s->address_prefix ? 4 : 2;
}

/* 16-bit addressing: table 2-1. */
static void take_address_16(struct state *s, uint8_t mod, uint8_t rm)
{
    static const uint8_t base[8] = { REG_RBX, REG_RBX, REG_RBP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_RBP, REG_RBX };
    static const uint8_t index[8] = { REG_RSI,     REG_RDI,     REG_RSI,     REG_RDI,
                                      DECODE_NONE, DECODE_NONE, DECODE_NONE, DECODE_NONE };
    struct decoded *d = s->d;
    d->base = base[rm];
    d->index = index[rm];
    if (mod == 0 && rm == 6) {
        d->base = DECODE_NONE;
        d->displacement = next_signed(s, 2);
    } else if (mod) {
        d->displacement = next_signed(s, mod);
    }
}

static void take_sib(struct state *s, uint8_t mod)
{
    struct decoded *d = s->d;
    uint8_t sib = next_byte(s);
    d->scale = sib >> 6;
    d->index = (uint8_t)((sib >> 3 & 7) | (s->rex & REX_X ? 8 : 0));
    if (d->index == REG_RSP)
        d->index = DECODE_NONE;
    d->base = (uint8_t)((sib & 7) | (s->rex & REX_B ? 8 : 0));
    if ((sib & 7) == 5 && mod == 0) {
        d->base = DECODE_NONE;
        d->displacement = next_signed(s, 4);
    }
}

static void take_address(struct state *s, uint8_t mod, uint8_t rm)
{
    struct decoded *d = s->d;
    if (d->address_size == 2) {
        take_address_16(s, mod, rm);
        return;
    }
    if (rm == 4) {
        take_sib(s, mod);
    } else if (rm == 5 && mod == 0) {
        d->displacement = next_signed(s, 4);
        d->rip_relative = s->mode == DECODE_64;
    } else {
        d->base = (uint8_t)(rm | (s->rex & REX_B ? 8 : 0));
    }
    if (mod == 1)
        d->displacement = next_signed(s, 1);
    else if (mod == 2)
        d->displacement = next_signed(s, 4);
}

/* ModRM with a memory operand; returns the reg field, as encoded. */
static bool take_modrm(struct state *s, uint8_t *field)
{
    uint8_t modrm = next_byte(s), mod = modrm >> 6;
    *field = modrm >> 3 & 7;
    if (mod == 3)
        return false;
    take_address(s, mod, modrm & 7);
    struct decoded *d = s->d;
    bool on_stack = d->base == REG_RSP || d->base == REG_RBP;
    d->segment = s->segment != DECODE_NONE ? s->segment : on_stack ? SEG_SS : SEG_DS;
    return true;
}

static void set_register(struct state *s, uint8_t field)
{
    struct decoded *d = s->d;
    d->reg = (uint8_t)(field | (s->rex & REX_R ? 8 : 0));
    if (d->register_size == 1 && !s->has_rex && field >= 4) {
        d->reg = field - 4;
        d->high = true;
    }
}

static void take_immediate(struct state *s, uint8_t form)
{
    unsigned size = form == FORM_BYTE ? 1 : s->d->size > 4 ? 4 : s->d->size;
    s->d->immediate = true;
    s->d->imm = (uint64_t)next_signed(s, size);
}

static bool take_operands(struct state *s, const struct opcode *opcode)
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
        d->displacement = next_signed(s, d->address_size);
        d->segment = s->segment != DECODE_NONE ? s->segment : SEG_DS;
        return true;
    }
    if (!take_modrm(s, &field))
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
static bool take_two_byte(struct state *s)
{
    struct decoded *d = s->d;
    uint8_t code = next_byte(s), field;
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
    if (!take_modrm(s, &field))
        return false;
    d->reg = (uint8_t)(field | (s->rex & REX_R ? 8 : 0));
    return true;
}

/* 63 in 64-bit mode. */
static bool take_movsxd(struct state *s)
{
    struct decoded *d = s->d;
    uint8_t field;
    d->op = DECODE_MOVSX;
    d->register_size = operand_size(s);
    d->size = d->register_size < 4 ? d->register_size : 4;
    if (!take_modrm(s, &field))
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
    struct state s = {
        .bytes = bytes, .size = size, .mode = mode, .segment = DECODE_NONE, .d = result
    };
    uint8_t code = take_prefixes(&s);
    result->address_size = address_size(&s);
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

/* ---- system instructions --------------------------------------------------------- */

/* 0F 20, 0F 22: the register form, whatever mod says. */
static void take_control_register(struct state *s, struct decoded_system *r)
{
    uint8_t modrm = next_byte(s);
    r->reg = (uint8_t)((modrm & 7) | (s->rex & REX_B ? 8 : 0));
    r->cr = (uint8_t)((modrm >> 3 & 7) | (s->rex & REX_R ? 8 : 0));
}

static bool take_system(struct state *s, uint8_t code, struct decoded_system *r)
{
    r->opcode = code;
    if (code == 0x0f)
        r->opcode = (uint32_t)code << 8 | next_byte(s);
    if (r->opcode == DECODE_XSETBV >> 8) {
        uint8_t modrm = next_byte(s);
        r->opcode = r->opcode << 8 | modrm;
        if ((modrm & 0xf8) == (DECODE_LMSW & 0xff)) { /* mod 3, /6 */
            r->opcode = DECODE_LMSW;
            r->reg = (uint8_t)((modrm & 7) | (s->rex & REX_B ? 8 : 0));
            return true;
        }
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
    struct decoded unused = { 0 };
    struct state s = { .bytes = bytes,
                       .size = size > DECODE_BYTES_MAX ? DECODE_BYTES_MAX : size,
                       .mode = mode,
                       .d = &unused };
    *result = (struct decoded_system){ 0 };
    uint8_t code = take_prefixes(&s);
    bool known = take_system(&s, code, result);
    result->length = (uint8_t)s.at;
    return known && !s.cut_off;
}
