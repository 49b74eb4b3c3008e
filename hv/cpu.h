/*
 * The processors the hypervisor runs on: GDT, TSS, control registers and data of
 * each (reached through the GS base), and the one IDT.
 *
 * Interrupts stay off except in cpu_idle(); their handler only records the vector
 * (cpu_interrupt_handler). NMI, #DF and #MC have stacks of their own. Every other
 * exception is a bug of ours: trap_handle() prints it and stops.
 *
 * A struct cpu is written by its own CPU; what others read or write of it says so.
 */
#ifndef HV_CPU_H
#define HV_CPU_H

#include "hv/config.h"
#include "lib/types.h"

struct vcpu;

#define CPU_CODE_SELECTOR 0x08u
#define CPU_DATA_SELECTOR 0x10u
#define CPU_TSS_SELECTOR  0x18u

enum cpu_ist { CPU_IST_NMI = 1, CPU_IST_DOUBLE_FAULT, CPU_IST_MACHINE_CHECK, CPU_IST_COUNT = 3 };
#define CPU_IST_STACK_SIZE 8192u
#define CPU_MAX            CONFIG_CPU_MAX

enum cpu_state { CPU_STARTING, CPU_MEETING, CPU_READY, CPU_ONLINE, CPU_FAILED };

/* What trap_common (hv/traps.asm) leaves on the stack. */
struct trap_frame {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* 64-bit TSS: SDM volume 3, figure 8-11. */
struct cpu_tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));

struct cpu {
    struct cpu *self;     /* gs:0 */
    unsigned index;       /* machine_cpu() */
    struct vcpu *holds;   /* whose vcpu->on is this CPU, hv/loop.c */
    struct vcpu *loaded;  /* whose MSRs, debug registers and vector state are in the CPU */
    struct vcpu *current; /* whose control block the processor holds, where it holds one */
    bool l1_tainted;      /* hv/mitigations.h */
    uint64_t l1d_flush_count;
    uint32_t apic_id;
    enum cpu_state state; /* hv/cpus.c */
    bool idle;            /* sleeps, or is about to; who clears it sends the wake-up */
    bool outside;         /* hv/park.h */
    uint64_t idle_ns;
    uint64_t nmi_count;
    /* hv/guest.c; guest and entry_count are read by CPUs that revoke. */
    struct vcpu *guest; /* what it executes; NULL: root mode */
    uint64_t entry_count;
    uint64_t kick_count;                /* how often others made it leave; written by those */
    uint64_t flush_seen[CONFIG_VM_MAX]; /* by VM: the generation it last flushed at */
    uint64_t ist_tops[CPU_IST_COUNT];
    uint64_t gdt[5];
    struct cpu_tss tss;
};

/* This CPU's own structure. */
static inline struct cpu *cpu_this(void)
{
    struct cpu *cpu;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

/* GDT, TSS, IDT, CR0, CR4, EFER, PAT of the boot CPU; the first call of main(). */
void cpu_init(void);

/* Another CPU's struct cpu, with stacks for exceptions; NULL: out of memory. It
 * counts as a CPU only after cpu_add(). */
struct cpu *cpu_create(void);
void cpu_add(struct cpu *cpu);
/* On the new CPU: the same as cpu_init(). */
void cpu_join(struct cpu *cpu);

/* CPUs online, and each of them, by index. */
extern unsigned cpu_online_count;
static inline unsigned cpu_count(void)
{
    return cpu_online_count;
}
struct cpu *cpu_get(unsigned index);

/* What is called, with interrupts off, for every interrupt taken in cpu_idle(). */
void cpu_interrupt_handler(void (*handler)(uint8_t vector));

/* Waits with interrupts on for the next interrupt (sti; hlt; cli). */
void cpu_idle(void);

/* Where the IDT lies, for a control block that has the state of the host. */
uint64_t cpu_idt_base(void);

/* The value PAT has in the hypervisor (and at power-up): WB WT UC- UC twice. */
#define CPU_PAT_DEFAULT 0x0007040600070406ull

/* First byte of the unmapped page below each stack; NULL after the last. */
uint8_t *cpu_stack_guard(unsigned index);

void trap_handle(struct trap_frame *frame);

#endif
