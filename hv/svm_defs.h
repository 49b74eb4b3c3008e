/*
 * AMD-V as the manual has it: AMD64 Architecture Programmer's Manual, volume 2,
 * revision 3.40: chapter 15, appendix B (layout of the VMCB), appendix C (exit
 * codes); volume 3, appendix E.4.9 (CPUID leaf 8000000Ah).
 */
#ifndef HV_SVM_DEFS_H
#define HV_SVM_DEFS_H

#include "lib/assert.h"
#include "lib/types.h"

/* CPUID 80000001h ECX, 8000000Ah EDX. */
#define CPUID_SVM          (1u << 2)
#define SVM_FEATURE_NPT    (1u << 0)
#define SVM_FEATURE_NRIP   (1u << 3)
#define SVM_FEATURE_FLUSH  (1u << 6) /* flush by ASID */
#define SVM_FEATURE_DECODE (1u << 7)
#define SVM_FEATURE_LEAF   0x8000000au
#define SVM_REVISION(eax)  ((eax)&0xffu)

/* 15.30. */
#define MSR_VM_CR    0xc0010114u
#define MSR_VM_HSAVE 0xc0010117u
#define VM_CR_LOCK   (1ull << 3)
#define VM_CR_SVMDIS (1ull << 4)
#define EFER_SVME    (1ull << 12)

/* ---- intercepts: tables B-1 ------------------------------------------------------- */

#define INTERCEPT_CR_READ(n)  (1u << (n))
#define INTERCEPT_CR_WRITE(n) (1u << (16 + (n)))

/* Third word (00Ch). */
#define INTERCEPT_INTR     (1u << 0)
#define INTERCEPT_NMI      (1u << 1)
#define INTERCEPT_VINTR    (1u << 4)
#define INTERCEPT_CR0_SEL  (1u << 5) /* writes to CR0 that change more than TS and MP */
#define INTERCEPT_RDPMC    (1u << 15)
#define INTERCEPT_CPUID    (1u << 18)
#define INTERCEPT_IRET     (1u << 20)
#define INTERCEPT_INVD     (1u << 22)
#define INTERCEPT_HLT      (1u << 24)
#define INTERCEPT_INVLPGA  (1u << 26)
#define INTERCEPT_IOIO     (1u << 27)
#define INTERCEPT_MSR      (1u << 28)
#define INTERCEPT_TASK     (1u << 29)
#define INTERCEPT_FERR     (1u << 30)
#define INTERCEPT_SHUTDOWN (1u << 31)

/* Fourth word (010h). */
#define INTERCEPT_VMRUN      (1u << 0)
#define INTERCEPT_VMMCALL    (1u << 1)
#define INTERCEPT_VMLOAD     (1u << 2)
#define INTERCEPT_VMSAVE     (1u << 3)
#define INTERCEPT_STGI       (1u << 4)
#define INTERCEPT_CLGI       (1u << 5)
#define INTERCEPT_SKINIT     (1u << 6)
#define INTERCEPT_RDTSCP     (1u << 7)
#define INTERCEPT_WBINVD     (1u << 9)
#define INTERCEPT_MONITOR    (1u << 10)
#define INTERCEPT_MWAIT      (1u << 11)
#define INTERCEPT_MWAIT_COND (1u << 12)
#define INTERCEPT_XSETBV     (1u << 13)

/* ---- exit codes: appendix C -------------------------------------------------------- */

#define SVM_EXITS(X)                                                                               \
    X(0x004, CR4_READ)                                                                             \
    X(0x008, CR8_READ)                                                                             \
    X(0x014, CR4_WRITE)                                                                            \
    X(0x018, CR8_WRITE)                                                                            \
    X(0x041, EXCEPTION_DB)                                                                         \
    X(0x051, EXCEPTION_AC)                                                                         \
    X(0x052, EXCEPTION_MC)                                                                         \
    X(0x060, INTR)                                                                                 \
    X(0x061, NMI)                                                                                  \
    X(0x064, VINTR)                                                                                \
    X(0x065, CR0_SEL_WRITE)                                                                        \
    X(0x06f, RDPMC)                                                                                \
    X(0x072, CPUID)                                                                                \
    X(0x074, IRET)                                                                                 \
    X(0x076, INVD)                                                                                 \
    X(0x078, HLT)                                                                                  \
    X(0x07a, INVLPGA)                                                                              \
    X(0x07b, IOIO)                                                                                 \
    X(0x07c, MSR)                                                                                  \
    X(0x07d, TASK_SWITCH)                                                                          \
    X(0x07e, FERR_FREEZE)                                                                          \
    X(0x07f, SHUTDOWN)                                                                             \
    X(0x080, VMRUN)                                                                                \
    X(0x081, VMMCALL)                                                                              \
    X(0x082, VMLOAD)                                                                               \
    X(0x083, VMSAVE)                                                                               \
    X(0x084, STGI)                                                                                 \
    X(0x085, CLGI)                                                                                 \
    X(0x086, SKINIT)                                                                               \
    X(0x087, RDTSCP)                                                                               \
    X(0x089, WBINVD)                                                                               \
    X(0x08a, MONITOR)                                                                              \
    X(0x08b, MWAIT)                                                                                \
    X(0x08c, MWAIT_CONDITIONAL)                                                                    \
    X(0x08d, XSETBV)                                                                               \
    X(0x400, NPF)

#define SVM_EXIT_ENUM(number, name) SVM_EXIT_##name = number,
enum svm_exit { SVM_EXITS(SVM_EXIT_ENUM) SVM_EXIT_LISTED = 0x90 };
#undef SVM_EXIT_ENUM
#define SVM_EXIT_INVALID UINT32_MAX /* -1; some processors write 64 bits, some 32 */

/* EXITINFO1 of IOIO (15.10.2); EXITINFO2 is the next RIP. */
#define IOIO_IN      (1u << 0)
#define IOIO_STRING  (1u << 2)
#define IOIO_REP     (1u << 3)
#define IOIO_SIZE(q) ((q) >> 4 & 7) /* bits for 1, 2, 4 bytes: the size itself */
#define IOIO_PORT(q) ((uint16_t)((q) >> 16))
/* EXITINFO1 of NPF (15.25.6); EXITINFO2 is the guest-physical address. */
#define NPF_WRITE    (1ull << 1)
#define NPF_RESERVED (1ull << 3)
#define NPF_FETCH    (1ull << 4)
#define NPF_WALK     (1ull << 33) /* of the guest's page tables */
/* EXITINFO1 of MSR. */
#define MSR_IS_WRITE 1u

/* ---- events: EVENTINJ (15.20), EXITINTINFO (15.7.2) --------------------------------- */

#define EVENT_VECTOR(e)      ((uint8_t)(e))
#define EVENT_TYPE(e)        ((unsigned)((e) >> 8 & 7))
#define EVENT_TYPE_INTERRUPT 0u
#define EVENT_TYPE_NMI       2u
#define EVENT_TYPE_EXCEPTION 3u
#define EVENT_TYPE_SOFT_INT  4u
#define EVENT_ERROR_CODE     (1ull << 11)
#define EVENT_VALID          (1ull << 31)
#define EVENT_ERROR_SHIFT    32

/* ---- single fields ------------------------------------------------------------------- */

#define TLB_KEEP       0u
#define TLB_FLUSH_ALL  1u /* of every ASID */
#define TLB_FLUSH_ASID 3u /* needs SVM_FEATURE_FLUSH */

/* Virtual interrupt word (060h). */
#define VIRQ_PENDING       (1ull << 8)
#define VIRQ_PRIORITY_HIGH (0xfull << 16)
#define VIRQ_IGNORE_TPR    (1ull << 20)
#define VIRQ_MASKING       (1ull << 24)

#define SHADOW_ACTIVE 1ull /* interrupt shadow (068h) */
#define NP_ENABLE     1ull

/* Segment attributes: bits 0-7 are bits 40-47 of the descriptor, 8-11 bits 52-55. */
#define SEGMENT_CODE_32  0x0c9bu
#define SEGMENT_DATA_32  0x0c93u
#define SEGMENT_LDT      0x0082u
#define SEGMENT_CODE_REAL 0x009bu
#define SEGMENT_DATA_REAL 0x0093u
#define SEGMENT_TSS_BUSY 0x008bu
#define SEGMENT_LONG     (1u << 9)
#define SEGMENT_BIG      (1u << 10)
#define SEGMENT_PRESENT  (1u << 7)

struct vmcb_segment {
    uint16_t selector, attributes;
    uint32_t limit;
    uint64_t base;
};

/* Tables B-1 and B-2. */
struct vmcb {
    uint32_t intercept_cr, intercept_dr, intercept_exceptions;
    uint32_t intercept3, intercept4, intercept5;
    uint8_t reserved018[0x040 - 0x018];
    uint64_t iopm, msrpm, tsc_offset;
    uint32_t asid;
    uint8_t tlb_control, reserved05d[3];
    uint64_t virtual_interrupt;
    uint64_t shadow;
    uint64_t exit_code, exit_info1, exit_info2, exit_event;
    uint64_t np_enable;
    uint8_t reserved098[0x0a8 - 0x098];
    uint64_t event, nested_cr3, lbr;
    uint32_t clean, reserved0c4;
    uint64_t next_rip;
    uint8_t byte_count, bytes[15];
    uint8_t reserved0e0[0x400 - 0x0e0];

    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved4a0[0x4cb - 0x4a0];
    uint8_t cpl, reserved4cc[4];
    uint64_t efer;
    uint8_t reserved4d8[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved580[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t reserved5e0[0x5f8 - 0x5e0];
    uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
    uint8_t reserved648[0x668 - 0x648];
    uint64_t pat, debugctl;
    uint8_t reserved678[0x1000 - 0x678];
};

#define VMCB_AT(field, offset)                                                                     \
    static_assert(offsetof(struct vmcb, field) == (offset), "APM volume 2, appendix B: " #field)
VMCB_AT(intercept_cr, 0x000);
VMCB_AT(intercept_dr, 0x004);
VMCB_AT(intercept_exceptions, 0x008);
VMCB_AT(intercept3, 0x00c);
VMCB_AT(intercept4, 0x010);
VMCB_AT(intercept5, 0x014);
VMCB_AT(iopm, 0x040);
VMCB_AT(msrpm, 0x048);
VMCB_AT(tsc_offset, 0x050);
VMCB_AT(asid, 0x058);
VMCB_AT(tlb_control, 0x05c);
VMCB_AT(virtual_interrupt, 0x060);
VMCB_AT(shadow, 0x068);
VMCB_AT(exit_code, 0x070);
VMCB_AT(exit_info1, 0x078);
VMCB_AT(exit_info2, 0x080);
VMCB_AT(exit_event, 0x088);
VMCB_AT(np_enable, 0x090);
VMCB_AT(event, 0x0a8);
VMCB_AT(nested_cr3, 0x0b0);
VMCB_AT(lbr, 0x0b8);
VMCB_AT(clean, 0x0c0);
VMCB_AT(next_rip, 0x0c8);
VMCB_AT(byte_count, 0x0d0);
VMCB_AT(bytes, 0x0d1);
VMCB_AT(es, 0x400);
VMCB_AT(cs, 0x410);
VMCB_AT(ss, 0x420);
VMCB_AT(ds, 0x430);
VMCB_AT(fs, 0x440);
VMCB_AT(gs, 0x450);
VMCB_AT(gdtr, 0x460);
VMCB_AT(ldtr, 0x470);
VMCB_AT(idtr, 0x480);
VMCB_AT(tr, 0x490);
VMCB_AT(cpl, 0x4cb);
VMCB_AT(efer, 0x4d0);
VMCB_AT(cr4, 0x548);
VMCB_AT(cr3, 0x550);
VMCB_AT(cr0, 0x558);
VMCB_AT(dr7, 0x560);
VMCB_AT(dr6, 0x568);
VMCB_AT(rflags, 0x570);
VMCB_AT(rip, 0x578);
VMCB_AT(rsp, 0x5d8);
VMCB_AT(rax, 0x5f8);
VMCB_AT(star, 0x600);
VMCB_AT(lstar, 0x608);
VMCB_AT(cstar, 0x610);
VMCB_AT(sfmask, 0x618);
VMCB_AT(kernel_gs_base, 0x620);
VMCB_AT(sysenter_cs, 0x628);
VMCB_AT(sysenter_esp, 0x630);
VMCB_AT(sysenter_eip, 0x638);
VMCB_AT(cr2, 0x640);
VMCB_AT(pat, 0x668);
VMCB_AT(debugctl, 0x670);
static_assert(sizeof(struct vmcb) == 0x1000, "APM volume 2, 15.5: a VMCB is one page");
#undef VMCB_AT

#endif
