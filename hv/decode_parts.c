#include "hv/decode_parts.h"
#include "hv/vcpu.h"

uint8_t decode_next_byte(struct decode_state *s)
{
    if (s->at >= s->size) {
        s->cut_off = true;
        return 0;
    }
    return s->bytes[s->at++];
}

int64_t decode_next_signed(struct decode_state *s, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)decode_next_byte(s) << (8 * i);
    unsigned unused = 64 - 8 * size;
    return (int64_t)(value << unused) >> unused;
}

/* True while the byte is a legacy prefix. */
static bool take_prefix(struct decode_state *s, uint8_t byte)
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

uint8_t decode_take_prefixes(struct decode_state *s)
{
    uint8_t byte = decode_next_byte(s);
    while (!s->cut_off && take_prefix(s, byte))
        byte = decode_next_byte(s);
    if (s->mode == DECODE_64 && (byte & 0xf0) == 0x40) {
        s->rex = byte & 0xf;
        s->has_rex = true;
        byte = decode_next_byte(s);
    }
    return byte;
}

uint8_t decode_address_size(const struct decode_state *s)
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
static void take_address_16(struct decode_state *s, uint8_t mod, uint8_t rm)
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
        d->displacement = decode_next_signed(s, 2);
    } else if (mod) {
        d->displacement = decode_next_signed(s, mod);
    }
}

static void take_sib(struct decode_state *s, uint8_t mod)
{
    struct decoded *d = s->d;
    uint8_t sib = decode_next_byte(s);
    d->scale = sib >> 6;
    d->index = (uint8_t)((sib >> 3 & 7) | (s->rex & REX_X ? 8 : 0));
    if (d->index == REG_RSP)
        d->index = DECODE_NONE;
    d->base = (uint8_t)((sib & 7) | (s->rex & REX_B ? 8 : 0));
    if ((sib & 7) == 5 && mod == 0) {
        d->base = DECODE_NONE;
        d->displacement = decode_next_signed(s, 4);
    }
}

static void take_address(struct decode_state *s, uint8_t mod, uint8_t rm)
{
    struct decoded *d = s->d;
    if (d->address_size == 2) {
        take_address_16(s, mod, rm);
        return;
    }
    if (rm == 4) {
        take_sib(s, mod);
    } else if (rm == 5 && mod == 0) {
        d->displacement = decode_next_signed(s, 4);
        d->rip_relative = s->mode == DECODE_64;
    } else {
        d->base = (uint8_t)(rm | (s->rex & REX_B ? 8 : 0));
    }
    if (mod == 1)
        d->displacement = decode_next_signed(s, 1);
    else if (mod == 2)
        d->displacement = decode_next_signed(s, 4);
}

bool decode_take_modrm(struct decode_state *s, uint8_t *field)
{
    uint8_t modrm = decode_next_byte(s), mod = modrm >> 6;
    *field = modrm >> 3 & 7;
    if (mod == 3)
        return false;
    take_address(s, mod, modrm & 7);
    struct decoded *d = s->d;
    bool on_stack = d->base == REG_RSP || d->base == REG_RBP;
    d->segment = s->segment != DECODE_NONE ? s->segment : on_stack ? SEG_SS : SEG_DS;
    return true;
}
