/*
 * A virtual CPU, without a vendor: its registers, what an exit was, and the
 * functions a vendor provides (struct vcpu_ops). Each vendor has files of its own
 * that fill them in; hv/vcpu.c chooses. hv/exit.c reads exits and knows no vendor.
 */
#ifndef HV_VCPU_H
#define HV_VCPU_H

#include "hv/peek.h"
#include "lib/types.h"
#include "mm/mm.h"

struct vm;

/* Order of the general registers as instructions encode them (RAX = 0 ...). */
enum vcpu_register {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    REG_COUNT
};

enum vcpu_segment { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/*
 * State that lives in the vendor's control block; get and set through ops.
 * CR0 and CR4 read as the guest sees them. EFER: LMA is kept as it follows from
 * LME and CR0.PG, whatever is set; reserved bits are the caller's to check.
 * CS_ATTR: bits 0-7 are bits 40-47 of the descriptor (type, S, DPL, P), bits
 * 12-15 are AVL, L, D, G.
 */
enum vcpu_state {
    STATE_RIP, STATE_RSP, STATE_RFLAGS, STATE_CR0, STATE_CR3, STATE_CR4, STATE_EFER,
    STATE_CS_BASE, STATE_CS_ATTR, STATE_SS_BASE, STATE_DS_BASE, STATE_ES_BASE,
    STATE_FS_BASE, STATE_GS_BASE, STATE_KERNEL_GS_BASE, STATE_STAR, STATE_LSTAR, STATE_CSTAR,
    STATE_SFMASK, STATE_SYSENTER_CS, STATE_SYSENTER_ESP, STATE_SYSENTER_EIP, STATE_PAT,
    STATE_GDTR_BASE, STATE_IDTR_BASE, STATE_CPL, STATE_TSC_OFFSET,
    STATE_COUNT
};

enum exit_kind {
    EXIT_INTERRUPT,      /* host interrupt: vector in `vector` (already acknowledged);
                          * 0: it has been recorded */
    EXIT_WINDOW,         /* the vCPU can take an interrupt, or an NMI, now */
    EXIT_NESTED_FAULT,   /* nested table violation: gpa, access */
    EXIT_NESTED_BAD,     /* nested table misconfiguration: gpa */
    EXIT_CPUID,
    EXIT_HLT,
    EXIT_IO,             /* port, size, write, string, rep */
    EXIT_MSR_READ,
    EXIT_MSR_WRITE,
    EXIT_CR_ACCESS,      /* cr 8: reg, write, not done yet; any other cr: done by the vendor,
                          * nothing to skip (or vcpu->mm.waiting says why not yet) */
    EXIT_XSETBV,
    EXIT_TRIPLE_FAULT,
    EXIT_EXCEPTION,      /* intercepted #DB or #AC (vector, error_code): the vendor has queued
                          * it for the guest already, there is nothing to do */
    EXIT_UNDEFINED,      /* instructions of virtualization and others not offered: #UD */
    EXIT_CACHE,          /* INVD, WBINVD */
    EXIT_PAUSE,
    EXIT_NMI,            /* host NMI while in the guest */
    EXIT_MACHINE_CHECK,
    EXIT_TASK_SWITCH,
    EXIT_TIMER,          /* the longest stay in a guest is over (where the CPU has the timer) */
    EXIT_AGAIN,          /* the instruction could not be looked at yet: nothing to do, it is
                          * executed again (vcpu->mm.waiting may say why) */
    EXIT_ENTRY_FAILED,   /* the entry was refused; the vendor has logged the rule */
    EXIT_UNKNOWN,
    EXIT_KIND_COUNT
};
const char *exit_kind_name(enum exit_kind kind);

struct vcpu_exit {
    enum exit_kind kind;
    uint64_t raw;        /* the vendor's reason, for the dump */
    uint8_t length;      /* of the instruction; 0: not known */
    gpa_t gpa;
    unsigned access;     /* MM_READ | MM_WRITE | MM_EXEC */
    bool during_walk;    /* the access was the guest's own page-table walk */
    uint8_t vector;
    uint32_t error_code;
    uint16_t port;
    uint8_t size;        /* I/O: 1, 2, 4 */
    bool write, string, rep;
    uint8_t cr, reg;
    uint8_t byte_count;  /* of `bytes`: the instruction, where the CPU leaves it there */
    uint8_t bytes[15];
};

/* The last walk through the guest's page tables (hv/walk.h): what it read, and where. */
struct walk_path {
    unsigned count;
    gpa_t at[4];
    uint64_t entries[4];
    gpa_t page;       /* the address it came to */
    bool is_complete; /* it came to one, through entries of 8 bytes or none */
};

#define VCPU_NO_EVENT 0xffffffffu
#define VCPU_ON_NONE  0xffffffffu

/* Why it does not execute, apart from waits for memory. */
enum vcpu_rest {
    VCPU_RUNS,
    VCPU_HALTED, /* until an interrupt */
    VCPU_DEAF,   /* halted with interrupts off: until an NMI or INIT */
    VCPU_PARKED  /* waits for a start-up message */
};

struct vcpu {
    struct mm_vcpu mm;      /* the core's part; first, so that mm_vcpu -> vcpu is a cast */
    struct vm *vm;
    uint64_t regs[REG_COUNT]; /* RSP lives in STATE_RSP; regs[REG_RSP] is unused */
    struct vcpu_exit exit;
    void *vendor;           /* its control block and what goes with it */
    struct peek peek;
    struct walk_path path;
    void *fpu;              /* XSAVE area */
    uint64_t xcr0;
    uint64_t tsc_adjust;    /* IA32_TSC_ADJUST: a part of STATE_TSC_OFFSET */
    uint64_t cr2;           /* the guest's; run() loads and stores it */

    /* Written by the CPU that has the vCPU, read by others. */
    uint8_t rest;           /* enum vcpu_rest */
    bool nmi_pending;       /* requested, and not delivered yet */
    bool quiet;             /* the last exit has changed nothing but its registers: it can go on
                             * at once, with no interrupt to deliver (hv/loop.c) */
    /* Written by anybody. */
    bool news;              /* set after something that may concern it: hv/sched.h */
    uint32_t messages;      /* of other vCPUs: hv/dev_lapic_message.c */
    unsigned cpu;           /* whose run queue it is in */
    unsigned on;            /* the CPU that has it, or VCPU_ON_NONE: hv/sched.h */
    uint64_t pass, stride;  /* stride scheduling, hv/sched.c */
    uint64_t run_ns;
    uint64_t exits[EXIT_KIND_COUNT];
    struct list_node run_link;
} __attribute__((aligned(64))); /* two that fault at once share no cache line */

static inline enum vcpu_rest vcpu_rest(const struct vcpu *vcpu)
{
    return (enum vcpu_rest)__atomic_load_n(&vcpu->rest, __ATOMIC_SEQ_CST);
}

static inline void vcpu_set_rest(struct vcpu *vcpu, enum vcpu_rest rest)
{
    __atomic_store_n(&vcpu->rest, (uint8_t)rest, __ATOMIC_SEQ_CST);
}

static inline bool vcpu_has_news(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->news, __ATOMIC_ACQUIRE);
}

/*
 * Chosen once at boot. None blocks; all run with interrupts off.
 */
struct vcpu_ops {
    const char *name; /* as its vendor calls it */
    /* Turns virtualization on on this CPU. False: a line naming the missing
     * feature was logged. */
    bool (*cpu_enable)(void);
    /* The same on a further CPU, which has to offer what the first one does. */
    bool (*cpu_join)(void);
    /* Control block for a vCPU of vm in the state of a PVH entry (32-bit
     * protected mode, paging off, flat segments). */
    bool (*create)(struct vcpu *vcpu);
    void (*destroy)(struct vcpu *vcpu);
    /* State after INIT and a start-up message: real mode at page << 12. */
    void (*reset_real)(struct vcpu *vcpu, uint8_t page);
    /* All state out of this CPU and into memory: another CPU may use the vCPU
     * then. */
    void (*unload)(struct vcpu *vcpu);
    /* Runs the guest until the next exit and decodes that into vcpu->exit. The
     * guest executes between guest_enter() and guest_leave(), hv/guest.h. */
    void (*run)(struct vcpu *vcpu);
    uint64_t (*get)(struct vcpu *vcpu, enum vcpu_state what);
    void (*set)(struct vcpu *vcpu, enum vcpu_state what, uint64_t value);
    /* Skips the instruction that exited (length from the exit), clearing the
     * interrupt shadow. */
    void (*skip)(struct vcpu *vcpu);
    /* Queues an event for the next entry. Exceptions always; external interrupts
     * only when can_interrupt(). Events whose delivery was cut short by the exit
     * are queued again by run() itself. */
    void (*inject)(struct vcpu *vcpu, uint8_t vector, bool exception, bool has_error,
                   uint32_t error);
    /* Interruptible now? When not, asks for an EXIT_WINDOW. */
    bool (*can_interrupt)(struct vcpu *vcpu);
    /* Can an NMI be delivered now (no other one is being handled)? When not, asks for
     * an exit soon after it can. */
    bool (*can_nmi)(struct vcpu *vcpu);
    /* The control block in readable lines, for a dump. */
    void (*dump)(struct vcpu *vcpu);
};

extern const struct vcpu_ops *vcpu_ops;

/* Chooses the vendor of this CPU and enables it. False: a line naming the missing
 * feature was logged; the same text is in vcpu_problem(). */
bool vcpu_select(void);
const char *vcpu_problem(void);

/* For vendors: notes and logs why virtualization cannot be used; returns false. */
bool vcpu_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What the chosen vendor offers on this CPU; valid after vcpu_select(). */
#define VCPU_FEATURE_MAX 32
struct vcpu_features {
    bool accessed_dirty; /* for mm_config */
    bool large_pages;    /* 2 MiB mappings in nested tables */
    bool large_execute;  /* guests may execute from them: no machine check comes of it */
    const struct entry_format *format; /* of nested tables, for mm_config */
    bool rdtscp, invpcid; /* the instructions work in guests; else hide them */
    bool forwards_faults, trains_returns; /* hv/mitigations.h */
    unsigned count;
    const char *names[VCPU_FEATURE_MAX]; /* for the start record */
};
extern struct vcpu_features vcpu_features;

#endif
