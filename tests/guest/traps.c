/*
 * traps: what a processor promises must hold inside a VM too: control registers
 * and MSRs read back as written or fault, single steps and breakpoints come one
 * by one across instructions that exit, and events are delivered to stacks that
 * have no memory yet. Ends with status 1 when something differs.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/interrupts.h"
#include "guest-driver/lapic.h"
#include "lib/string.h"
#include "lib/types.h"
#include "tests/guest/hostile.h"

#define VECTOR_DB  1u
#define VECTOR_UD  6u
#define VECTOR_GP  13u
#define VECTOR_INT 0x21u
#define NOTHING    0xffu

#define MSR_PAT            0x277u
#define MSR_EFER           0xc0000080u
#define MSR_LSTAR          0xc0000082u
#define MSR_FS_BASE        0xc0000100u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define NOT_CANONICAL      0x8000000000000000ull

#define DR6_B0 1ull
#define DR6_BS (1ull << 14)

static volatile uint64_t recover; /* where to go on after a fault; 0: none is expected */
static volatile unsigned caught, steps, ints;
static volatile uint64_t caught_error, dr6;
static uint32_t checks, bad;
/* emulated=1: QEMU without KVM takes what a processor refuses in some places, and
 * those are left out: reserved bits of CR0, MSRs of addresses that are not
 * canonical (target/i386/tcg/sysemu/misc_helper.c), and the error code of an
 * INT past the IDT (seg_helper.c has index * 16 in 64-bit mode). */
static bool emulated;

static bool hook(struct interrupt_frame *frame)
{
    if (frame->vector == VECTOR_DB) {
        uint64_t value;
        __asm__ volatile("mov %%dr6, %0" : "=r"(value));
        dr6 |= value;
        __asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ull));
        steps++;
        return true;
    }
    if (frame->vector >= 32) {
        ints++;
        return true;
    }
    if (!recover)
        return false;
    caught = (unsigned)frame->vector;
    caught_error = frame->error;
    frame->rip = recover;
    recover = 0;
    return true;
}

/* Executes code; `caught` is then the exception it raised, or NOTHING. */
#define TRY(code, ...)                                                                             \
    do {                                                                                           \
        caught = NOTHING;                                                                          \
        __asm__ volatile("leaq 1f(%%rip), %%r11\n\t"                                               \
                         "movq %%r11, %0\n\t" code "\n"                                            \
                         "1: movq $0, %0"                                                          \
                         : "+m"(recover)                                                           \
                         : __VA_ARGS__                                                             \
                         : "r11", "memory", "cc");                                                 \
    } while (0)

static void expect(const char *what, uint64_t value, uint64_t wanted)
{
    checks++;
    if (value == wanted)
        return;
    bad++;
    console_line("traps: %s: 0x%lx, should be 0x%lx", what, value, wanted);
}

#define READ(reg)                                                                                  \
    ({                                                                                             \
        uint64_t value_;                                                                           \
        __asm__ volatile("mov %%" #reg ", %0" : "=r"(value_) : : "memory");                        \
        value_;                                                                                    \
    })
#define WRITE(reg, value) TRY("mov %1, %%" #reg, "r"((uint64_t)(value)))

static void try_cr0(void)
{
    uint64_t cr0 = READ(cr0);
    static const uint32_t bits[] = { 1u << 5, 1u << 30, 3u << 29, 1u << 16, 1u << 18 };
    for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        WRITE(cr0, cr0 ^ bits[i]);
        expect("CR0 bit faults", caught, NOTHING);
        expect("CR0 reads back", READ(cr0), cr0 ^ bits[i]);
        WRITE(cr0, cr0);
        expect("CR0 as it was", READ(cr0), cr0);
    }
    WRITE(cr0, cr0 | 1u << 29);
    expect("CR0.NW without CD", caught, VECTOR_GP);
    if (!emulated) {
        WRITE(cr0, cr0 | 1ull << 40);
        expect("CR0 upper half", caught, VECTOR_GP);
    }
    WRITE(cr0, (cr0 & ~(1ull << 5)) & ~(1ull << 31));
    expect("CR0.PG off in 64-bit mode", caught, VECTOR_GP);
    expect("CR0 after faults", READ(cr0), cr0);
}

/* LMSW of a register and of memory, also of a page that nothing is in yet: the four low
 * bits change, but PE is never cleared. Bit 2 (EM) is one that a hypervisor looks at. */
static void try_lmsw(uint16_t *fresh)
{
    uint64_t cr0 = READ(cr0);
    uint16_t with = (uint16_t)(cr0 | 1u << 2), without = (uint16_t)(cr0 & ~(1u << 2 | 1u));
    TRY("lmsw %w1", "r"((uint32_t)with));
    expect("LMSW of a register", READ(cr0), cr0 | 1u << 2);
    TRY("lmsw %1", "m"(without));
    expect("LMSW of memory", READ(cr0), cr0);
    TRY("lmsw %1", "m"(with));
    expect("LMSW faults", caught, NOTHING);
    expect("LMSW of memory sets", READ(cr0), cr0 | 1u << 2);
    TRY("lmsw %1", "m"(*fresh));
    expect("LMSW of a fresh page", READ(cr0), (cr0 & ~0xeull) | 1);
    WRITE(cr0, cr0);
}

static void try_cr4(void)
{
    uint64_t cr4 = READ(cr4);
    static const unsigned refused[] = { 12, 13, 14, 23, 40 }; /* LA57, VMXE, SMXE, CET, reserved */
    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        WRITE(cr4, cr4 | 1ull << refused[i]);
        expect("CR4 refused bit", caught, VECTOR_GP);
    }
    WRITE(cr4, (cr4 & ~(1ull << 5)) ^ 1u << 6);
    expect("CR4.PAE off in 64-bit mode", caught, VECTOR_GP);
    WRITE(cr4, cr4 ^ 1u << 6);
    expect("CR4.MCE reads back", READ(cr4), cr4 ^ 1u << 6);
    WRITE(cr4, cr4);
    expect("CR4 as it was", READ(cr4), cr4);
    WRITE(cr8, 9);
    expect("CR8 reads back", READ(cr8), 9);
    WRITE(cr8, 16);
    expect("CR8 too large", caught, VECTOR_GP);
    WRITE(cr8, 0);
}

#define WRMSR(msr, value)                                                                          \
    TRY("wrmsr", "c"(msr), "a"((uint32_t)(value)), "d"((uint32_t)((uint64_t)(value) >> 32)))

static void try_msrs(void)
{
    static const uint32_t addresses[] = { MSR_LSTAR, MSR_FS_BASE, MSR_KERNEL_GS_BASE };
    for (unsigned i = 0; i < 3; i++) {
        WRMSR(addresses[i], 0xffff812345678000ull + i);
        expect("address MSR reads back", cpu_read_msr(addresses[i]), 0xffff812345678000ull + i);
        if (emulated)
            continue;
        WRMSR(addresses[i], NOT_CANONICAL);
        expect("address MSR not canonical", caught, VECTOR_GP);
    }
    uint64_t pat = cpu_read_msr(MSR_PAT), efer = cpu_read_msr(MSR_EFER);
    WRMSR(MSR_PAT, 0x0606060606060606ull);
    expect("PAT reads back", cpu_read_msr(MSR_PAT), 0x0606060606060606ull);
    WRMSR(MSR_PAT, 2);
    expect("PAT reserved type", caught, VECTOR_GP);
    WRMSR(MSR_PAT, pat);
    WRMSR(MSR_EFER, efer ^ 1u << 8);
    expect("EFER.LME while paging", caught, VECTOR_GP);
    WRMSR(MSR_EFER, efer | 1ull << 40);
    expect("EFER reserved bit", caught, VECTOR_GP);
    expect("EFER", cpu_read_msr(MSR_EFER), efer);
    TRY("rdmsr", "c"(0xc0010000u), "a"(0), "d"(0));
    expect("unknown MSR", caught, VECTOR_GP);
}

static void try_instructions(void)
{
    TRY("ud2", "i"(0));
    expect("UD2", caught, VECTOR_UD);
    TRY("vmcall", "i"(0));
    expect("VMCALL", caught, VECTOR_UD);
    TRY(".byte 0x0f, 0x01, 0xc4", "i"(0));
    expect("VMXOFF", caught, VECTOR_UD);
    TRY("rdpmc", "c"(0), "a"(0), "d"(0));
    expect("RDPMC", caught, VECTOR_GP);
    TRY("wbinvd", "i"(0));
    expect("WBINVD", caught, NOTHING);
    TRY("int $0x80", "i"(0));
    expect("INT past the IDT", caught, VECTOR_GP);
    if (!emulated)
        expect("its error code", caught_error, 0x80 * 8 + 2);
    if (cpu_cpuid(1, 0).ecx & 1u << 27) {
        TRY("xsetbv", "c"(0), "a"(0), "d"(0));
        expect("XCR0 without x87", caught, VECTOR_GP);
        TRY("xsetbv", "c"(1), "a"(1), "d"(0));
        expect("XCR1", caught, VECTOR_GP);
    }
}

/* CPUID in other lengths at the same address, executed often enough for a hypervisor
 * to believe that it knows the instruction. */
static void execute_as(uint8_t *at, const char *code, unsigned size)
{
    memcpy(at, code, size);
    at[size] = 0xc3; /* RET */
    for (unsigned i = 0; i < 3; i++) {
        uint32_t leaf = 0;
        __asm__ volatile("call *%1" : "+a"(leaf) : "r"(at), "c"(0) : "rbx", "rdx", "memory", "cc");
        expect("CPUID in a length of its own", leaf, cpu_cpuid(0, 0).eax);
    }
}

static void try_lengths(uint8_t *page)
{
    uint8_t *const places[] = { page, page + PAGE_SIZE - 1, page + PAGE_SIZE - 8 };
    for (unsigned i = 0; i < 3; i++) {
        execute_as(places[i], "\x0f\xa2", 2);
        execute_as(places[i], "\x48\x0f\xa2", 3);
        execute_as(places[i], "\x0f\xa2", 2);
        execute_as(places[i], "\x66\xf3\x2e\x0f\xa2", 5);
    }
}

/* A trap after each of the six instructions, two of which exit. */
static void try_steps(void)
{
    steps = 0;
    dr6 = 0;
    __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
                     "cpuid\n\tinb %%dx, %%al\n\tnop\n\t"
                     "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq"
                     :
                     : "d"(GUEST_CONSOLE_PORT + 7), "a"(0), "c"(0)
                     : "rbx", "memory", "cc");
    expect("single steps", steps, 6);
    expect("DR6.BS", dr6 & DR6_BS, DR6_BS);
}

static void try_breakpoint(void)
{
    static volatile uint32_t watched;
    steps = 0;
    dr6 = 0;
    __asm__ volatile("mov %0, %%dr0" : : "r"((uint64_t)&watched));
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull | 2 | 1ull << 16 | 3ull << 18));
    watched = 1;
    watched = 2;
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull));
    expect("data breakpoints", steps, 2);
    expect("DR6.B0", dr6 & DR6_B0, DR6_B0);
}

/* Delivery itself touches a page that has no frame yet: the event is cut short
 * by an exit and must come once, not twice and not never. */
static void try_interrupts_on_fresh_stacks(uint64_t fresh)
{
    for (unsigned i = 0; i < 8; i++, fresh += 2 * PAGE_SIZE) {
        uint64_t stack = fresh + PAGE_SIZE;
        ints = 0;
        __asm__ volatile("movq %%rsp, %%r12\n\tmovq %0, %%rsp\n\tint %1\n\tmovq %%r12, %%rsp"
                         :
                         : "r"(stack), "i"(VECTOR_INT)
                         : "r12", "memory", "cc");
        expect("INT n on a fresh stack", ints, 1);
    }
}

static void try_faults_on_fresh_stacks(uint64_t fresh)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t stack = fresh + (2 * i + 2) * PAGE_SIZE;
        caught = NOTHING;
        __asm__ volatile("leaq 1f(%%rip), %%r11\n\tmovq %%r11, %0\n\t"
                         "movq %%rsp, %%r12\n\tmovq %1, %%rsp\n\tud2\n"
                         "1: movq %%r12, %%rsp"
                         : "=m"(recover)
                         : "r"(stack)
                         : "r11", "r12", "memory", "cc");
        expect("#UD on a fresh stack", caught, VECTOR_UD);
    }
}

int guest_main(const struct guest_boot *boot)
{
    emulated = hostile_number(boot, "emulated", 0);
    lapic_init();
    interrupts_set_hook(hook);
    try_cr0();
    try_lmsw((uint16_t *)(boot->image_end + 160 * PAGE_SIZE));
    try_cr4();
    try_msrs();
    try_instructions();
    try_lengths((uint8_t *)(boot->image_end + 128 * PAGE_SIZE));
    try_steps();
    try_breakpoint();
    try_interrupts_on_fresh_stacks(boot->image_end);
    try_faults_on_fresh_stacks(boot->image_end + 64 * PAGE_SIZE);
    guest_report(checks, bad);
    console_line("traps: %u checks, %u wrong", checks, bad);
    return bad ? GUEST_STATUS_MISMATCH : GUEST_STATUS_OK;
}
