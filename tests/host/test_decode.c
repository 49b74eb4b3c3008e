/*
 * The decoder of device accesses (hv/decode.c): known encodings, every cut-off,
 * and that whatever bytes it is given it reads none past the end and answers
 * within its ranges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/decode.h"
#include "hv/vcpu.h"
#include "lib/rng.h"

/* The code under test, as it is. */
#include "hv/decode.c"
#include "hv/decode_parts.c"
#include "hv/decode_system.c"

struct example {
    const char *text;
    uint8_t bytes[12];
    uint8_t length;
    enum decode_mode mode;
    struct decoded expected; /* compared: op, to_memory, immediate, sizes, reg, high, imm */
};

#define NONE DECODE_NONE
static const struct example examples[] = {
    { "mov [rbx], eax",
      { 0x89, 0x03 },
      2,
      DECODE_64,
      { .op = DECODE_MOV,
        .to_memory = true,
        .size = 4,
        .register_size = 4,
        .reg = REG_RAX,
        .base = REG_RBX,
        .index = NONE } },
    { "mov eax, [rdi+0x10]",
      { 0x8b, 0x47, 0x10 },
      3,
      DECODE_64,
      { .op = DECODE_MOV,
        .size = 4,
        .register_size = 4,
        .reg = REG_RAX,
        .base = REG_RDI,
        .index = NONE,
        .displacement = 0x10 } },
    { "mov r9, [r12+r13*8-4]",
      { 0x4f, 0x8b, 0x4c, 0xec, 0xfc },
      5,
      DECODE_64,
      { .op = DECODE_MOV,
        .size = 8,
        .register_size = 8,
        .reg = REG_R9,
        .base = REG_R12,
        .index = REG_R13,
        .scale = 3,
        .displacement = -4 } },
    { "mov dword [rip+0x1000], 0x12345678",
      { 0xc7, 0x05, 0x00, 0x10, 0x00, 0x00, 0x78, 0x56, 0x34, 0x12 },
      10,
      DECODE_64,
      { .op = DECODE_MOV,
        .to_memory = true,
        .immediate = true,
        .size = 4,
        .register_size = 4,
        .imm = 0x12345678,
        .base = NONE,
        .index = NONE,
        .rip_relative = true,
        .displacement = 0x1000 } },
    { "mov byte [eax], ah",
      { 0x88, 0x20 },
      2,
      DECODE_32,
      { .op = DECODE_MOV,
        .to_memory = true,
        .size = 1,
        .register_size = 1,
        .reg = REG_RAX,
        .high = true,
        .base = REG_RAX,
        .index = NONE } },
    { "mov byte [rax], spl",
      { 0x40, 0x88, 0x20 },
      3,
      DECODE_64,
      { .op = DECODE_MOV,
        .to_memory = true,
        .size = 1,
        .register_size = 1,
        .reg = REG_RSP,
        .base = REG_RAX,
        .index = NONE } },
    { "movzx eax, byte [rcx]",
      { 0x0f, 0xb6, 0x01 },
      3,
      DECODE_64,
      { .op = DECODE_MOVZX,
        .size = 1,
        .register_size = 4,
        .reg = REG_RAX,
        .base = REG_RCX,
        .index = NONE } },
    { "movsx rdx, word [rsi]",
      { 0x48, 0x0f, 0xbf, 0x16 },
      4,
      DECODE_64,
      { .op = DECODE_MOVSX,
        .size = 2,
        .register_size = 8,
        .reg = REG_RDX,
        .base = REG_RSI,
        .index = NONE } },
    { "movsxd rax, dword [rdi]",
      { 0x48, 0x63, 0x07 },
      3,
      DECODE_64,
      { .op = DECODE_MOVSX,
        .size = 4,
        .register_size = 8,
        .reg = REG_RAX,
        .base = REG_RDI,
        .index = NONE } },
    { "or dword [rdx], -1",
      { 0x83, 0x0a, 0xff },
      3,
      DECODE_64,
      { .op = DECODE_OR,
        .to_memory = true,
        .immediate = true,
        .size = 4,
        .register_size = 4,
        .imm = UINT64_MAX,
        .base = REG_RDX,
        .index = NONE } },
    { "test dword [rax], 0x100",
      { 0xf7, 0x00, 0x00, 0x01, 0x00, 0x00 },
      6,
      DECODE_64,
      { .op = DECODE_TEST,
        .to_memory = true,
        .immediate = true,
        .size = 4,
        .register_size = 4,
        .imm = 0x100,
        .base = REG_RAX,
        .index = NONE } },
    { "cmp eax, [rbx]",
      { 0x3b, 0x03 },
      2,
      DECODE_64,
      { .op = DECODE_CMP,
        .size = 4,
        .register_size = 4,
        .reg = REG_RAX,
        .base = REG_RBX,
        .index = NONE } },
    { "xchg [rsp+8], ecx",
      { 0x87, 0x4c, 0x24, 0x08 },
      4,
      DECODE_64,
      { .op = DECODE_XCHG,
        .to_memory = true,
        .size = 4,
        .register_size = 4,
        .reg = REG_RCX,
        .base = REG_RSP,
        .index = NONE,
        .displacement = 8 } },
    { "rep stosd",
      { 0xf3, 0xab },
      2,
      DECODE_64,
      { .op = DECODE_STOS,
        .to_memory = true,
        .rep = true,
        .size = 4,
        .register_size = 4,
        .base = NONE,
        .index = NONE } },
    { "rep outsb",
      { 0xf3, 0x6e },
      2,
      DECODE_64,
      { .op = DECODE_STRING_IO,
        .to_memory = true,
        .rep = true,
        .size = 1,
        .register_size = 1,
        .base = NONE,
        .index = NONE } },
    { "mov al, [moffs64]",
      { 0xa0, 8, 7, 6, 5, 4, 3, 2, 1 },
      9,
      DECODE_64,
      { .op = DECODE_MOV,
        .size = 1,
        .register_size = 1,
        .reg = REG_RAX,
        .base = NONE,
        .index = NONE,
        .displacement = 0x0102030405060708 } },
    { "mov [bx+si+2], ax (16-bit)",
      { 0x89, 0x40, 0x02 },
      3,
      DECODE_16,
      { .op = DECODE_MOV,
        .to_memory = true,
        .size = 2,
        .register_size = 2,
        .reg = REG_RAX,
        .base = REG_RBX,
        .index = REG_RSI,
        .displacement = 2 } },
    { "mov [disp32], eax (32-bit)",
      { 0x89, 0x05, 0x60, 0x00, 0x00, 0xd0 },
      6,
      DECODE_32,
      { .op = DECODE_MOV,
        .to_memory = true,
        .size = 4,
        .register_size = 4,
        .reg = REG_RAX,
        .base = NONE,
        .index = NONE,
        .displacement = (int32_t)0xd0000060 } },
    { "inc dword [rax]",
      { 0xff, 0x00 },
      2,
      DECODE_64,
      { .op = DECODE_INC,
        .to_memory = true,
        .size = 4,
        .register_size = 4,
        .base = REG_RAX,
        .index = NONE } },
};
#define EXAMPLE_COUNT (sizeof(examples) / sizeof(examples[0]))

static void examples_decode(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLE_COUNT; i++) {
        const struct example *e = &examples[i];
        struct decoded d;
        if (!decode_instruction(e->bytes, sizeof(e->bytes), e->mode, &d))
            fail_msg("%s is refused", e->text);
        if (d.length != e->length)
            fail_msg("%s: length %u", e->text, d.length);
        const struct decoded *x = &e->expected;
        if (d.op != x->op || d.to_memory != x->to_memory || d.immediate != x->immediate ||
            d.rep != x->rep || d.size != x->size || d.register_size != x->register_size ||
            d.reg != x->reg || d.high != x->high || d.imm != x->imm || d.base != x->base ||
            d.index != x->index || d.scale != x->scale || d.rip_relative != x->rip_relative ||
            d.displacement != x->displacement)
            fail_msg("%s is misread", e->text);
    }
}

static void cut_off_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLE_COUNT; i++)
        for (unsigned size = 0; size < examples[i].length; size++) {
            struct decoded d;
            uint8_t *exact = malloc(size + 1); /* the sanitizer sees a read past it */
            memcpy(exact + 1, examples[i].bytes, size);
            assert_false(decode_instruction(exact + 1, size, examples[i].mode, &d));
            free(exact);
        }
}

/* Registers only: no memory operand, nothing to emulate. */
static void register_operands_are_refused(void **state)
{
    (void)state;
    for (unsigned modrm = 0xc0; modrm < 0x100; modrm++) {
        const uint8_t mov[] = { 0x89, (uint8_t)modrm };
        const uint8_t movzx[] = { 0x0f, 0xb6, (uint8_t)modrm };
        struct decoded d;
        assert_false(decode_instruction(mov, sizeof(mov), DECODE_64, &d));
        assert_false(decode_instruction(movzx, sizeof(movzx), DECODE_64, &d));
    }
}

static void check_ranges(const uint8_t *bytes, unsigned size, enum decode_mode mode)
{
    struct decoded d;
    if (!decode_instruction(bytes, size, mode, &d))
        return;
    assert_in_range(d.length, 1, size);
    assert_true(d.size == 1 || d.size == 2 || d.size == 4 || d.size == 8);
    assert_true(d.register_size == 1 || d.register_size == 2 || d.register_size == 4 ||
                d.register_size == 8);
    assert_true(d.address_size == 2 || d.address_size == 4 || d.address_size == 8);
    assert_in_range(d.reg, 0, REG_COUNT - 1);
    assert_true(d.base == DECODE_NONE || d.base < REG_COUNT);
    assert_true(d.index == DECODE_NONE || d.index < REG_COUNT);
    assert_in_range(d.segment, 0, SEG_GS);
    assert_in_range(d.scale, 0, 3);
}

/* All starts of three bytes, then random tails and lengths. */
static void any_bytes_stay_in_range(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    for (unsigned start = 0; start < 1u << 24; start += 7) {
        uint64_t tail[2] = { rng_next(&rng), rng_next(&rng) };
        uint8_t bytes[DECODE_BYTES_MAX];
        memcpy(bytes, tail, sizeof(bytes));
        memcpy(bytes, &start, 3);
        unsigned size = (unsigned)rng_below(&rng, DECODE_BYTES_MAX + 1);
        check_ranges(bytes, size, (enum decode_mode)rng_below(&rng, 3));
    }
}

/* ---- system instructions ----------------------------------------------------------- */

struct system_example {
    const char *text;
    uint8_t bytes[DECODE_BYTES_MAX];
    uint8_t length;
    enum decode_mode mode;
    uint32_t opcode;
    uint8_t reg, cr;
};

static const struct system_example system_examples[] = {
    { "hlt", { 0xf4 }, 1, DECODE_64, DECODE_HLT, 0, 0 },
    { "hlt after prefixes", { 0x66, 0xf3, 0x2e, 0xf4 }, 4, DECODE_32, DECODE_HLT, 0, 0 },
    { "cpuid", { 0x0f, 0xa2 }, 2, DECODE_64, DECODE_CPUID, 0, 0 },
    { "rex cpuid", { 0x48, 0x0f, 0xa2 }, 3, DECODE_64, DECODE_CPUID, 0, 0 },
    { "rdmsr", { 0x0f, 0x32 }, 2, DECODE_32, DECODE_RDMSR, 0, 0 },
    { "wrmsr", { 0x0f, 0x30 }, 2, DECODE_16, DECODE_WRMSR, 0, 0 },
    { "invd", { 0x0f, 0x08 }, 2, DECODE_64, DECODE_INVD, 0, 0 },
    { "wbinvd", { 0x0f, 0x09 }, 2, DECODE_64, DECODE_WBINVD, 0, 0 },
    { "wbnoinvd", { 0xf3, 0x0f, 0x09 }, 3, DECODE_64, DECODE_WBINVD, 0, 0 },
    { "xsetbv", { 0x0f, 0x01, 0xd1 }, 3, DECODE_64, DECODE_XSETBV, 0, 0 },
    { "mov cr4, rax", { 0x0f, 0x22, 0xe0 }, 3, DECODE_64, DECODE_CR_WRITE, REG_RAX, 4 },
    { "mov rbx, cr4", { 0x0f, 0x20, 0xe3 }, 3, DECODE_64, DECODE_CR_READ, REG_RBX, 4 },
    { "mov cr8, r9", { 0x45, 0x0f, 0x22, 0xc1 }, 4, DECODE_64, DECODE_CR_WRITE, REG_R9, 8 },
    { "mov cr0, rdi, mod 0", { 0x0f, 0x22, 0x07 }, 3, DECODE_64, DECODE_CR_WRITE, REG_RDI, 0 },
    { "lock mov cr0, eax (CR8)", { 0xf0, 0x0f, 0x22, 0xc0 }, 4, DECODE_32, DECODE_CR_WRITE, 0, 0 },
    { "lmsw dx", { 0x0f, 0x01, 0xf2 }, 3, DECODE_32, DECODE_LMSW, REG_RDX, 0 },
    { "lmsw [rax]", { 0x0f, 0x01, 0x30 }, 3, DECODE_64, DECODE_LMSW, 0, 0 },
    { "lmsw [rip + 4]", { 0x0f, 0x01, 0x35, 4, 0, 0, 0 }, 7, DECODE_64, DECODE_LMSW, 0, 0 },
    { "lmsw fs:[r9 + 8 * rcx + 1]",
      { 0x64, 0x41, 0x0f, 0x01, 0x74, 0xc9, 1 },
      7,
      DECODE_64,
      DECODE_LMSW,
      0,
      0 },
    { "lmsw [bp + si]", { 0x0f, 0x01, 0x32 }, 3, DECODE_16, DECODE_LMSW, 0, 0 },
};

static void lmsw_of_memory(void **state)
{
    (void)state;
    struct decoded_system d;
    static const uint8_t with_sib[] = { 0x64, 0x41, 0x0f, 0x01, 0x74, 0xc9, 0xff };
    assert_true(decode_system(with_sib, sizeof with_sib, DECODE_64, &d));
    assert_true(d.memory && d.operand.base == REG_R9 && d.operand.index == REG_RCX);
    assert_true(d.operand.scale == 3 && d.operand.displacement == -1);
    assert_true(d.operand.segment == SEG_FS && d.operand.address_size == 8);
    static const uint8_t relative[] = { 0x67, 0x0f, 0x01, 0x35, 4, 0, 0, 0 };
    assert_true(decode_system(relative, sizeof relative, DECODE_64, &d));
    assert_true(d.memory && d.operand.rip_relative && d.operand.displacement == 4);
    assert_true(d.operand.length == 8 && d.operand.address_size == 4);
    assert_true(d.operand.segment == SEG_DS && d.operand.base == DECODE_NONE);
    static const uint8_t short_form[] = { 0x0f, 0x01, 0x32 };
    assert_true(decode_system(short_form, sizeof short_form, DECODE_16, &d));
    assert_true(d.operand.segment == SEG_SS && d.operand.index == REG_RSI);
    static const uint8_t of_register[] = { 0x0f, 0x01, 0xf2 };
    assert_true(decode_system(of_register, sizeof of_register, DECODE_64, &d) && !d.memory);
}

static void system_instructions(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof system_examples / sizeof system_examples[0]; i++) {
        const struct system_example *e = &system_examples[i];
        struct decoded_system d;
        if (!decode_system(e->bytes, DECODE_BYTES_MAX, e->mode, &d) || d.length != e->length ||
            d.opcode != e->opcode || d.reg != e->reg || d.cr != e->cr)
            fail_msg("%s: opcode %x, length %u, reg %u, cr %u", e->text, d.opcode, d.length, d.reg,
                     d.cr);
        for (unsigned size = 0; size < e->length; size++)
            assert_false(decode_system(e->bytes, size, e->mode, &d));
    }
}

static void other_instructions_are_no_system_ones(void **state)
{
    (void)state;
    static const uint8_t others[][4] = { { 0x90 },
                                         { 0x0f, 0x01, 0xd0 }, /* XGETBV */
                                         { 0x0f, 0x01, 0x38 }, /* INVLPG */
                                         { 0x0f, 0x21, 0xe0 }, /* MOV from DR */
                                         { 0x40, 0x0f, 0xa3 } };
    struct decoded_system d;
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(decode_system(others[i], 4, DECODE_64, &d));
    /* Prefixes without end. */
    uint8_t prefixes[DECODE_BYTES_MAX];
    memset(prefixes, 0x66, sizeof prefixes);
    assert_false(decode_system(prefixes, sizeof prefixes, DECODE_64, &d));
    /* Whatever the bytes, the answer stays within them. */
    struct rng rng;
    rng_seed(&rng, 3);
    for (unsigned n = 0; n < 200000; n++) {
        uint8_t bytes[DECODE_BYTES_MAX];
        unsigned size = (unsigned)rng_below(&rng, DECODE_BYTES_MAX + 1);
        for (unsigned i = 0; i < size; i++)
            bytes[i] = rng_below(&rng, 3) ? (uint8_t)rng_below(&rng, 256) : 0x0f;
        uint8_t *exact = malloc(size ? size : 1);
        memcpy(exact, bytes, size);
        if (decode_system(exact, size, (enum decode_mode)rng_below(&rng, 3), &d))
            assert_true(d.length <= size && d.reg < REG_COUNT && d.cr < 16);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_decode),
        cmocka_unit_test(cut_off_is_refused),
        cmocka_unit_test(register_operands_are_refused),
        cmocka_unit_test(any_bytes_stay_in_range),
        cmocka_unit_test(system_instructions),
        cmocka_unit_test(lmsw_of_memory),
        cmocka_unit_test(other_instructions_are_no_system_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
