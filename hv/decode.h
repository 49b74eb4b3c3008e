/*
 * Decoder for the instructions that guests use on device memory: moves, moves
 * with extension, string stores, and the common arithmetic with a memory operand;
 * the string I/O instructions; and the length of system instructions. Source: Intel SDM volume 2,
 * chapter 2 and appendix A.
 *
 * A pure function of at most 15 bytes: no guest state is read, so that it can be
 * tested exhaustively. Whatever it does not know it refuses.
 */
#ifndef HV_DECODE_H
#define HV_DECODE_H

#include "lib/types.h"

#define DECODE_BYTES_MAX 15u
#define DECODE_NONE      0xffu

enum decode_mode { DECODE_16, DECODE_32, DECODE_64 };

enum decode_op {
    DECODE_REFUSED,
    DECODE_MOV,
    DECODE_MOVZX,
    DECODE_MOVSX,
    DECODE_ADD,
    DECODE_OR,
    DECODE_AND,
    DECODE_SUB,
    DECODE_XOR,
    DECODE_CMP,
    DECODE_TEST,
    DECODE_INC,
    DECODE_DEC,
    DECODE_XCHG,
    DECODE_STOS,
    DECODE_STRING_IO
};

struct decoded {
    uint8_t op;     /* enum decode_op */
    uint8_t length; /* of the instruction */
    bool to_memory; /* the destination is the memory operand, else the register */
    bool immediate; /* the other operand is imm, else the register */
    bool rep;
    uint8_t size;          /* of the memory operand: 1, 2, 4, 8 */
    uint8_t register_size; /* of the register operand; differs when extending */
    uint8_t reg;           /* enum vcpu_register */
    bool high;             /* AH, CH, DH, BH: bits 15-8 of registers 0-3 */
    uint64_t imm;          /* sign-extended */

    uint8_t segment;      /* enum vcpu_segment */
    uint8_t address_size; /* 2, 4, 8 */
    uint8_t base, index;  /* registers, DECODE_NONE: none */
    uint8_t scale;        /* shift: 0-3 */
    bool rip_relative;
    int64_t displacement;
};

/*
 * The instructions that a processor hands to the hypervisor without saying how long
 * they are. opcode: their bytes after the prefixes as one number (f4, 0f30, 0f01d1),
 * without ModRM where that names an operand.
 */
struct decoded_system {
    uint32_t opcode;
    uint8_t length;
    uint8_t reg; /* enum vcpu_register: 0F 20, 0F 22 and LMSW, the general register */
    uint8_t cr;  /* 0F 20, 0F 22: the control register as encoded */
    bool memory; /* LMSW: `operand` says where its 16 bits are, not reg */
    struct decoded operand;
};
#define DECODE_HLT      0xf4u
#define DECODE_INVD     0x0f08u
#define DECODE_WBINVD   0x0f09u
#define DECODE_CR_READ  0x0f20u
#define DECODE_CR_WRITE 0x0f22u
#define DECODE_WRMSR    0x0f30u
#define DECODE_RDMSR    0x0f32u
#define DECODE_CPUID    0x0fa2u
#define DECODE_XSETBV   0x0f01d1u
#define DECODE_LMSW     0x0f01f0u /* of a register or of memory */

/* False: not one of these, or cut off after size bytes. */
bool decode_system(const uint8_t *bytes, unsigned size, enum decode_mode mode,
                   struct decoded_system *result);

/* False: not an instruction of the list, or cut off after size bytes. */
bool decode_instruction(const uint8_t *bytes, unsigned size, enum decode_mode mode,
                        struct decoded *result);

#endif
