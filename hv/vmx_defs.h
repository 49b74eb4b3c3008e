/*
 * VT-x as the Intel SDM, volume 3, defines it: chapter 24 (VMCS), 26 (entries),
 * 27 (exits), 30 (instructions), appendices A (capability MSRs), B (field
 * encodings), C (exit reasons).
 */
#ifndef HV_VMX_DEFS_H
#define HV_VMX_DEFS_H

#include "lib/types.h"

/* ---- Appendix A: capability MSRs ------------------------------------------- */

#define MSR_VMX_BASIC      0x480u /* A.1 */
#define MSR_VMX_PIN        0x481u /* A.3.1 */
#define MSR_VMX_PROC       0x482u /* A.3.2 */
#define MSR_VMX_EXIT       0x483u /* A.4 */
#define MSR_VMX_ENTRY      0x484u /* A.5 */
#define MSR_VMX_MISC       0x485u /* A.6 */
#define MSR_VMX_CR0_FIXED0 0x486u /* A.7 */
#define MSR_VMX_CR0_FIXED1 0x487u
#define MSR_VMX_CR4_FIXED0 0x488u /* A.8 */
#define MSR_VMX_CR4_FIXED1 0x489u
#define MSR_VMX_PROC2      0x48bu /* A.3.3 */
#define MSR_VMX_EPT_VPID   0x48cu /* A.10 */
#define MSR_VMX_TRUE_PIN   0x48du
#define MSR_VMX_TRUE_PROC  0x48eu
#define MSR_VMX_TRUE_EXIT  0x48fu
#define MSR_VMX_TRUE_ENTRY 0x490u

#define VMX_BASIC_REVISION(v)   ((uint32_t)(v)&0x7fffffffu)
#define VMX_BASIC_MEMORY(v)     (((v) >> 50) & 15u)
#define VMX_BASIC_TRUE_CONTROLS (1ull << 55)
#define VMX_MISC_TIMER_SHIFT(v) ((v)&31u)

/* IA32_FEATURE_CONTROL, volume 4, table 2-2. */
#define FEATURE_CONTROL_LOCKED (1ull << 0)
#define FEATURE_CONTROL_VMX    (1ull << 2)

#define EPT_CAP_EXECUTE_ONLY    (1ull << 0)
#define EPT_CAP_WALK_4          (1ull << 6)
#define EPT_CAP_UC              (1ull << 8)
#define EPT_CAP_WB              (1ull << 14)
#define EPT_CAP_2M              (1ull << 16)
#define EPT_CAP_1G              (1ull << 17)
#define EPT_CAP_INVEPT          (1ull << 20)
#define EPT_CAP_ACCESSED_DIRTY  (1ull << 21)
#define EPT_CAP_INVEPT_SINGLE   (1ull << 25)
#define EPT_CAP_INVEPT_ALL      (1ull << 26)
#define VPID_CAP_INVVPID        (1ull << 32)
#define VPID_CAP_INVVPID_SINGLE (1ull << 41)
#define VPID_CAP_INVVPID_ALL    (1ull << 42)

/* 24.6.11 EPTP */
#define EPTP_MEMORY_UC      0u
#define EPTP_MEMORY_WB      6u
#define EPTP_WALK_4         (3u << 3)
#define EPTP_ACCESSED_DIRTY (1u << 6)

/* 30.3 INVEPT, INVVPID types */
#define INVALIDATE_SINGLE 1u
#define INVALIDATE_ALL    2u

/* ---- 24.6 Controls ----------------------------------------------------------- */

#define PIN_EXTERNAL_INTERRUPT (1u << 0)
#define PIN_NMI                (1u << 3)
#define PIN_VIRTUAL_NMI        (1u << 5)
#define PIN_TIMER              (1u << 6)

#define PROC_INTERRUPT_WINDOW (1u << 2)
#define PROC_TSC_OFFSET       (1u << 3)
#define PROC_HLT              (1u << 7)
#define PROC_INVLPG           (1u << 9)
#define PROC_MWAIT            (1u << 10)
#define PROC_RDPMC            (1u << 11)
#define PROC_RDTSC            (1u << 12)
#define PROC_CR3_LOAD         (1u << 15)
#define PROC_CR3_STORE        (1u << 16)
#define PROC_CR8_LOAD         (1u << 19)
#define PROC_CR8_STORE        (1u << 20)
#define PROC_TPR_SHADOW       (1u << 21)
#define PROC_NMI_WINDOW       (1u << 22)
#define PROC_MOV_DR           (1u << 23)
#define PROC_IO               (1u << 24)
#define PROC_IO_BITMAPS       (1u << 25)
#define PROC_MONITOR_TRAP     (1u << 27)
#define PROC_MSR_BITMAPS      (1u << 28)
#define PROC_MONITOR          (1u << 29)
#define PROC_PAUSE            (1u << 30)
#define PROC_SECONDARY        (1u << 31)

#define PROC2_EPT              (1u << 1)
#define PROC2_DESCRIPTOR_TABLE (1u << 2)
#define PROC2_RDTSCP           (1u << 3)
#define PROC2_VPID             (1u << 5)
#define PROC2_WBINVD           (1u << 6)
#define PROC2_UNRESTRICTED     (1u << 7)
#define PROC2_INVPCID          (1u << 12)
#define PROC2_XSAVES           (1u << 20)

#define EXIT_CTL_SAVE_DEBUG (1u << 2)
#define EXIT_CTL_HOST_64    (1u << 9)
#define EXIT_CTL_ACK_IRQ    (1u << 15)
#define EXIT_CTL_SAVE_PAT   (1u << 18)
#define EXIT_CTL_LOAD_PAT   (1u << 19)
#define EXIT_CTL_SAVE_EFER  (1u << 20)
#define EXIT_CTL_LOAD_EFER  (1u << 21)

#define ENTRY_CTL_LOAD_DEBUG (1u << 2)
#define ENTRY_CTL_IA32E      (1u << 9)
#define ENTRY_CTL_LOAD_PAT   (1u << 14)
#define ENTRY_CTL_LOAD_EFER  (1u << 15)

/* 24.4.2 Interruptibility, activity, pending debug exceptions */
#define BLOCKING_STI     (1u << 0)
#define BLOCKING_MOV_SS  (1u << 1)
#define BLOCKING_SMI     (1u << 2)
#define BLOCKING_NMI     (1u << 3)
#define ACTIVITY_ACTIVE  0u
#define ACTIVITY_HLT     1u
#define PENDING_DEBUG_BS (1u << 14)

/* 24.8.3 Event injection; 24.9.2, 24.9.3: the same layout */
#define EVENT_VALID          (1u << 31)
#define EVENT_ERROR_CODE     (1u << 11)
#define EVENT_VECTOR(e)      ((uint8_t)(e))
#define EVENT_TYPE(e)        (((e) >> 8) & 7u)
#define EVENT_NMI_UNBLOCKED  (1u << 12) /* exits only: IRET had unblocked NMIs */
#define EVENT_TYPE_INTERRUPT 0u
#define EVENT_TYPE_NMI       2u
#define EVENT_TYPE_EXCEPTION 3u
#define EVENT_TYPE_SOFT_INT  4u
#define EVENT_TYPE_PRIV_TRAP 5u
#define EVENT_TYPE_SOFT_TRAP 6u
#define EVENT_TYPE_OTHER     7u

/* 24.4.1 Access rights */
#define RIGHTS_UNUSABLE (1u << 16)
#define RIGHTS_LONG     (1u << 13)
#define RIGHTS_CODE_32  0xc09bu /* G, D, present, execute/read, accessed */
#define RIGHTS_DATA_32  0xc093u /* G, B, present, read/write, accessed */
#define RIGHTS_CODE_REAL 0x009bu
#define RIGHTS_DATA_REAL 0x0093u
#define RIGHTS_TSS_BUSY 0x008bu
#define RIGHTS_LDT      0x0082u

/* 30.4 VM-instruction error numbers; all of them in words: vmx_error_name() */
#define VMX_ERROR_CONTROLS   7u
#define VMX_ERROR_HOST_STATE 8u

/* ---- Appendix C: exit reasons -------------------------------------------------- */

#define EXIT_REASON_ENTRY_FAILED (1u << 31)

#define VMX_EXIT_REASONS(X)                                                                        \
    X(0, EXCEPTION_NMI)                                                                            \
    X(1, EXTERNAL_INTERRUPT)                                                                       \
    X(2, TRIPLE_FAULT)                                                                             \
    X(3, INIT)                                                                                     \
    X(4, SIPI)                                                                                     \
    X(7, INTERRUPT_WINDOW)                                                                         \
    X(8, NMI_WINDOW)                                                                               \
    X(9, TASK_SWITCH)                                                                              \
    X(10, CPUID)                                                                                   \
    X(11, GETSEC)                                                                                  \
    X(12, HLT)                                                                                     \
    X(13, INVD)                                                                                    \
    X(14, INVLPG)                                                                                  \
    X(15, RDPMC)                                                                                   \
    X(16, RDTSC)                                                                                   \
    X(17, RSM)                                                                                     \
    X(18, VMCALL)                                                                                  \
    X(19, VMCLEAR)                                                                                 \
    X(20, VMLAUNCH)                                                                                \
    X(21, VMPTRLD)                                                                                 \
    X(22, VMPTRST)                                                                                 \
    X(23, VMREAD)                                                                                  \
    X(24, VMRESUME)                                                                                \
    X(25, VMWRITE)                                                                                 \
    X(26, VMXOFF)                                                                                  \
    X(27, VMXON)                                                                                   \
    X(28, CR_ACCESS)                                                                               \
    X(29, MOV_DR)                                                                                  \
    X(30, IO)                                                                                      \
    X(31, RDMSR)                                                                                   \
    X(32, WRMSR)                                                                                   \
    X(33, INVALID_GUEST_STATE)                                                                     \
    X(34, MSR_LOADING)                                                                             \
    X(36, MWAIT)                                                                                   \
    X(37, MONITOR_TRAP)                                                                            \
    X(39, MONITOR)                                                                                 \
    X(40, PAUSE)                                                                                   \
    X(41, ENTRY_MACHINE_CHECK)                                                                     \
    X(43, TPR_BELOW_THRESHOLD)                                                                     \
    X(44, APIC_ACCESS)                                                                             \
    X(45, VIRTUAL_EOI)                                                                             \
    X(46, GDTR_IDTR)                                                                               \
    X(47, LDTR_TR)                                                                                 \
    X(48, EPT_VIOLATION)                                                                           \
    X(49, EPT_MISCONFIGURATION)                                                                    \
    X(50, INVEPT)                                                                                  \
    X(51, RDTSCP)                                                                                  \
    X(52, PREEMPTION_TIMER)                                                                        \
    X(53, INVVPID)                                                                                 \
    X(54, WBINVD)                                                                                  \
    X(55, XSETBV)                                                                                  \
    X(56, APIC_WRITE)                                                                              \
    X(57, RDRAND)                                                                                  \
    X(58, INVPCID)                                                                                 \
    X(59, VMFUNC)                                                                                  \
    X(60, ENCLS)                                                                                   \
    X(61, RDSEED)                                                                                  \
    X(62, PML_FULL)                                                                                \
    X(63, XSAVES)                                                                                  \
    X(64, XRSTORS)

#define VMX_EXIT_REASON_ENUM(number, name) REASON_##name = number,
enum vmx_exit_reason { VMX_EXIT_REASONS(VMX_EXIT_REASON_ENUM) REASON_COUNT };

/* ---- 27.2.1 Exit qualifications ---------------------------------------------------- */

/* Table 27-3, control-register accesses */
#define CR_QUALIFICATION_CR(q)       ((unsigned)(q)&15u)
#define CR_QUALIFICATION_TYPE(q)     ((unsigned)((q) >> 4) & 3u)
#define CR_QUALIFICATION_REGISTER(q) ((unsigned)((q) >> 8) & 15u)
#define CR_QUALIFICATION_LMSW(q)     ((uint64_t)((q) >> 16) & 0xffffu)
#define CR_TYPE_TO                   0u
#define CR_TYPE_FROM                 1u
#define CR_TYPE_CLTS                 2u
#define CR_TYPE_LMSW                 3u

/* Table 27-5, I/O instructions */
#define IO_QUALIFICATION_SIZE(q) ((unsigned)((q)&7u) + 1u)
#define IO_QUALIFICATION_IN      (1u << 3)
#define IO_QUALIFICATION_STRING  (1u << 4)
#define IO_QUALIFICATION_REP     (1u << 5)
#define IO_QUALIFICATION_PORT(q) ((uint16_t)((q) >> 16))

/* Table 27-7, EPT violations */
#define EPT_QUALIFICATION_READ          (1u << 0)
#define EPT_QUALIFICATION_WRITE         (1u << 1)
#define EPT_QUALIFICATION_FETCH         (1u << 2)
#define EPT_QUALIFICATION_LINEAR_VALID  (1u << 7)
#define EPT_QUALIFICATION_TRANSLATED    (1u << 8) /* clear: access to a paging structure */
#define EPT_QUALIFICATION_NMI_UNBLOCKED (1u << 12)

/* Table 27-1, debug exceptions: B0-B3, BD, BS */
#define DEBUG_QUALIFICATION_DR6 0x600fu

/* ---- Appendix B: VMCS fields ----------------------------------------------------------- */

enum vmcs_field {
    /* B.1 16-bit */
    VMCS_VPID = 0x0000,
    VMCS_GUEST_ES_SELECTOR = 0x0800, /* CS 0802, SS 0804, DS 0806, FS 0808, GS 080a, */
    VMCS_GUEST_LDTR_SELECTOR = 0x080c,
    VMCS_GUEST_TR_SELECTOR = 0x080e,
    VMCS_HOST_ES_SELECTOR = 0x0c00,
    VMCS_HOST_CS_SELECTOR = 0x0c02,
    VMCS_HOST_SS_SELECTOR = 0x0c04,
    VMCS_HOST_DS_SELECTOR = 0x0c06,
    VMCS_HOST_FS_SELECTOR = 0x0c08,
    VMCS_HOST_GS_SELECTOR = 0x0c0a,
    VMCS_HOST_TR_SELECTOR = 0x0c0c,

    /* B.2 64-bit */
    VMCS_IO_BITMAP_A = 0x2000,
    VMCS_IO_BITMAP_B = 0x2002,
    VMCS_MSR_BITMAP = 0x2004,
    VMCS_EXIT_MSR_STORE = 0x2006,
    VMCS_EXIT_MSR_LOAD = 0x2008,
    VMCS_ENTRY_MSR_LOAD = 0x200a,
    VMCS_TSC_OFFSET = 0x2010,
    VMCS_EPTP = 0x201a,
    VMCS_XSS_EXITING = 0x202c,
    VMCS_GUEST_PHYSICAL = 0x2400,
    VMCS_LINK_POINTER = 0x2800,
    VMCS_GUEST_DEBUGCTL = 0x2802,
    VMCS_GUEST_PAT = 0x2804,
    VMCS_GUEST_EFER = 0x2806,
    VMCS_GUEST_PDPTE0 = 0x280a,
    VMCS_HOST_PAT = 0x2c00,
    VMCS_HOST_EFER = 0x2c02,

    /* B.3 32-bit */
    VMCS_PIN_CONTROLS = 0x4000,
    VMCS_PROC_CONTROLS = 0x4002,
    VMCS_EXCEPTION_BITMAP = 0x4004,
    VMCS_PF_MASK = 0x4006,
    VMCS_PF_MATCH = 0x4008,
    VMCS_CR3_TARGET_COUNT = 0x400a,
    VMCS_EXIT_CONTROLS = 0x400c,
    VMCS_EXIT_MSR_STORE_COUNT = 0x400e,
    VMCS_EXIT_MSR_LOAD_COUNT = 0x4010,
    VMCS_ENTRY_CONTROLS = 0x4012,
    VMCS_ENTRY_MSR_LOAD_COUNT = 0x4014,
    VMCS_ENTRY_EVENT = 0x4016,
    VMCS_ENTRY_ERROR_CODE = 0x4018,
    VMCS_ENTRY_LENGTH = 0x401a,
    VMCS_PROC2_CONTROLS = 0x401e,
    VMCS_INSTRUCTION_ERROR = 0x4400,
    VMCS_EXIT_REASON = 0x4402,
    VMCS_EXIT_EVENT = 0x4404,
    VMCS_EXIT_ERROR_CODE = 0x4406,
    VMCS_VECTORING_EVENT = 0x4408,
    VMCS_VECTORING_ERROR_CODE = 0x440a,
    VMCS_EXIT_LENGTH = 0x440c,
    VMCS_EXIT_INSTRUCTION = 0x440e,
    VMCS_GUEST_ES_LIMIT = 0x4800,
    VMCS_GUEST_GDTR_LIMIT = 0x4810,
    VMCS_GUEST_IDTR_LIMIT = 0x4812,
    VMCS_GUEST_ES_RIGHTS = 0x4814,
    VMCS_GUEST_CS_RIGHTS = 0x4816,
    VMCS_GUEST_SS_RIGHTS = 0x4818,
    VMCS_GUEST_LDTR_RIGHTS = 0x4820,
    VMCS_GUEST_TR_RIGHTS = 0x4822,
    VMCS_GUEST_BLOCKING = 0x4824,
    VMCS_GUEST_ACTIVITY = 0x4826,
    VMCS_GUEST_SYSENTER_CS = 0x482a,
    VMCS_GUEST_TIMER = 0x482e,
    VMCS_HOST_SYSENTER_CS = 0x4c00,

    /* B.4 natural width */
    VMCS_CR0_MASK = 0x6000,
    VMCS_CR4_MASK = 0x6002,
    VMCS_CR0_SHADOW = 0x6004,
    VMCS_CR4_SHADOW = 0x6006,
    VMCS_EXIT_QUALIFICATION = 0x6400,
    VMCS_GUEST_LINEAR = 0x640a,
    VMCS_GUEST_CR0 = 0x6800,
    VMCS_GUEST_CR3 = 0x6802,
    VMCS_GUEST_CR4 = 0x6804,
    VMCS_GUEST_ES_BASE = 0x6806,
    VMCS_GUEST_CS_BASE = 0x6808,
    VMCS_GUEST_SS_BASE = 0x680a,
    VMCS_GUEST_DS_BASE = 0x680c,
    VMCS_GUEST_FS_BASE = 0x680e,
    VMCS_GUEST_GS_BASE = 0x6810,
    VMCS_GUEST_LDTR_BASE = 0x6812,
    VMCS_GUEST_TR_BASE = 0x6814,
    VMCS_GUEST_GDTR_BASE = 0x6816,
    VMCS_GUEST_IDTR_BASE = 0x6818,
    VMCS_GUEST_DR7 = 0x681a,
    VMCS_GUEST_RSP = 0x681c,
    VMCS_GUEST_RIP = 0x681e,
    VMCS_GUEST_RFLAGS = 0x6820,
    VMCS_GUEST_PENDING_DEBUG = 0x6822,
    VMCS_GUEST_SYSENTER_ESP = 0x6824,
    VMCS_GUEST_SYSENTER_EIP = 0x6826,
    VMCS_HOST_CR0 = 0x6c00,
    VMCS_HOST_CR3 = 0x6c02,
    VMCS_HOST_CR4 = 0x6c04,
    VMCS_HOST_FS_BASE = 0x6c06,
    VMCS_HOST_GS_BASE = 0x6c08,
    VMCS_HOST_TR_BASE = 0x6c0a,
    VMCS_HOST_GDTR_BASE = 0x6c0c,
    VMCS_HOST_IDTR_BASE = 0x6c0e,
    VMCS_HOST_SYSENTER_ESP = 0x6c10,
    VMCS_HOST_SYSENTER_EIP = 0x6c12,
    VMCS_HOST_RSP = 0x6c14,
    VMCS_HOST_RIP = 0x6c16,
};

/* Segment fields come in the order of enum vcpu_segment, two apart. */
#define VMCS_SELECTOR(segment) ((enum vmcs_field)(VMCS_GUEST_ES_SELECTOR + 2 * (segment)))
#define VMCS_LIMIT(segment)    ((enum vmcs_field)(VMCS_GUEST_ES_LIMIT + 2 * (segment)))
#define VMCS_RIGHTS(segment)   ((enum vmcs_field)(VMCS_GUEST_ES_RIGHTS + 2 * (segment)))
#define VMCS_BASE(segment)     ((enum vmcs_field)(VMCS_GUEST_ES_BASE + 2 * (segment)))

#endif
