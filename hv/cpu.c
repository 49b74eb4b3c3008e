/*
 * Setting up processors. The boot CPU's struct cpu is static, others have theirs
 * allocated.
 */
#include "hv/cpu.h"
#include "hv/bootmem.h"
#include "hv/paging.h"
#include "hv/panic.h"
#include "hv/x86.h"
#include "lib/assert.h"

#define GATE_INTERRUPT    0x8e00u /* present, DPL 0, 64-bit interrupt gate */
#define CPUID_1_ECX_XSAVE (1u << 26)

/* SDM volume 3, figure 6-8. */
struct idt_gate {
    uint16_t offset_low, selector, type, offset_middle;
    uint32_t offset_high, reserved;
};
static_assert(sizeof(struct idt_gate) == 16, "a 64-bit gate is 16 bytes");
static_assert(sizeof(struct cpu_tss) == 104, "a 64-bit TSS is 104 bytes");

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

/* Each exception stack with an unmapped page below. */
struct ist_stack {
    uint8_t guard[PAGE_SIZE];
    uint8_t stack[CPU_IST_STACK_SIZE];
};

extern uint8_t hv_stack_guard[];
extern const uint64_t trap_stubs[256];

static struct cpu boot_cpu;
static struct cpu *table[CPU_MAX] = { &boot_cpu };
unsigned cpu_online_count = 1;
static struct ist_stack ist_stacks[CPU_IST_COUNT] __attribute__((aligned(PAGE_SIZE)));
static struct idt_gate idt[256];
static void (*interrupt_handler)(uint8_t vector);

static void gdt_load(struct cpu *cpu)
{
    uint64_t base = (uint64_t)&cpu->tss, limit = sizeof(cpu->tss) - 1;
    cpu->gdt[0] = 0;
    cpu->gdt[1] = 0x00af9b000000ffffull; /* 64-bit code, DPL 0 */
    cpu->gdt[2] = 0x00cf93000000ffffull; /* data, DPL 0 */
    cpu->gdt[3] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    cpu->gdt[4] = base >> 32;
    cpu->tss.io_map_base = sizeof(cpu->tss);
    for (unsigned i = 0; i < CPU_IST_COUNT; i++)
        cpu->tss.ist[i] = cpu->ist_tops[i];

    struct table_pointer pointer = { sizeof(cpu->gdt) - 1, (uint64_t)cpu->gdt };
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1: movl %k2, %%ds\n\t"
                     "movl %k2, %%es\n\t"
                     "movl %k2, %%ss\n\t"
                     "movl %k3, %%fs\n\t"
                     "movl %k3, %%gs\n\t"
                     "ltr %w4"
                     :
                     : "m"(pointer), "i"(CPU_CODE_SELECTOR), "r"((uint64_t)CPU_DATA_SELECTOR),
                       "r"(0ull), "r"(CPU_TSS_SELECTOR)
                     : "rax", "memory");
}

static void idt_load(void)
{
    struct table_pointer pointer = { sizeof(idt) - 1, (uint64_t)idt };
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void idt_fill(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t stub = trap_stubs[i];
        idt[i] = (struct idt_gate){ (uint16_t)stub,         CPU_CODE_SELECTOR,      GATE_INTERRUPT,
                                    (uint16_t)(stub >> 16), (uint32_t)(stub >> 32), 0 };
    }
    idt[VECTOR_NMI].type |= CPU_IST_NMI;
    idt[VECTOR_DF].type |= CPU_IST_DOUBLE_FAULT;
    idt[VECTOR_MC].type |= CPU_IST_MACHINE_CHECK;
}

static void control_registers_load(void)
{
    uint64_t cr4 = CR4_PAE | CR4_PGE | CR4_MCE | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (x86_cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE)
        cr4 |= CR4_OSXSAVE;
    x86_write_cr4(cr4);
    x86_write_cr0(CR0_PG | CR0_PE | CR0_WP | CR0_NE | CR0_ET | CR0_MP);
    x86_wrmsr(MSR_EFER, x86_rdmsr(MSR_EFER) | EFER_NXE | EFER_SCE);
    x86_wrmsr(MSR_PAT, CPU_PAT_DEFAULT);
    x86_write_dr7(0x400);
}

void cpu_init(void)
{
    struct cpu *cpu = &boot_cpu;
    for (unsigned i = 0; i < CPU_IST_COUNT; i++)
        cpu->ist_tops[i] = (uint64_t)(ist_stacks[i].stack + CPU_IST_STACK_SIZE);
    cpu->state = CPU_ONLINE;
    idt_fill();
    cpu_join(cpu);
}

void cpu_join(struct cpu *cpu)
{
    cpu->self = cpu;
    gdt_load(cpu);
    x86_wrmsr(MSR_GS_BASE, (uint64_t)cpu);
    idt_load();
    control_registers_load();
}

struct cpu *cpu_create(void)
{
    struct cpu *cpu = cpu_online_count < CPU_MAX ? bootmem_alloc(sizeof(*cpu), NULL) : NULL;
    for (unsigned i = 0; cpu && i < CPU_IST_COUNT; i++) {
        uint8_t *stack = paging_create_stack(CPU_IST_STACK_SIZE);
        if (!stack)
            return NULL;
        cpu->ist_tops[i] = (uint64_t)(stack + CPU_IST_STACK_SIZE);
    }
    if (cpu)
        cpu->index = cpu_online_count;
    return cpu;
}

void cpu_add(struct cpu *cpu)
{
    cpu->state = CPU_ONLINE;
    table[cpu_online_count++] = cpu;
}

struct cpu *cpu_get(unsigned index)
{
    return table[index];
}

void cpu_interrupt_handler(void (*handler)(uint8_t vector))
{
    interrupt_handler = handler;
}

void cpu_idle(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

uint64_t cpu_idt_base(void)
{
    return (uint64_t)idt;
}

uint8_t *cpu_stack_guard(unsigned index)
{
    if (index == 0)
        return hv_stack_guard;
    return index <= CPU_IST_COUNT ? ist_stacks[index - 1].guard : NULL;
}

void trap_handle(struct trap_frame *frame)
{
    if (frame->vector >= 32) {
        ensure(interrupt_handler);
        interrupt_handler((uint8_t)frame->vector);
        return;
    }
    if (frame->vector == VECTOR_NMI) {
        cpu_this()->nmi_count++;
        panic_check();
        return;
    }
    panic_trap(frame);
}
