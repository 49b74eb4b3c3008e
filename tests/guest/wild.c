/*
 * wild: from a seed, one senseless thing after another: random ports, MSRs,
 * control registers, device addresses, privileged and VMX and SVM instructions,
 * random bytes executed, jumps to anywhere. What faults is skipped; what does not
 * return is cut off by a timer. It may well end itself in any way a guest can;
 * else it stops after rounds= things with status 0. kinds= is a bit mask of
 * enum kind, to leave some out.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/interrupts.h"
#include "guest-driver/lapic.h"
#include "lib/rng.h"
#include "lib/string.h"
#include "lib/types.h"
#include "tests/guest/hostile.h"

enum kind {
    WILD_PORT,
    WILD_MSR_READ,
    WILD_MSR_WRITE,
    WILD_MMIO,
    WILD_INSTRUCTION,
    WILD_CPUID,
    WILD_CONTROL,
    WILD_CODE,
    WILD_JUMP,
    WILD_KIND_COUNT
};
/* Jumps into nowhere end the VM soon; they are rare. */
static const uint32_t weights[WILD_KIND_COUNT] = { 30, 20, 20, 30, 30, 10, 10, 20, 1 };

#define CODE_BYTES      64
#define CODE_TICKS      2 /* after that many, what runs is cut off */
#define DEFAULT_ROUNDS  5000
#define FAULTS_MAX      8 /* of one thing; more, and its way back is broken */
#define MSR_APIC_BASE   0x1bu
#define APIC_BASE_USUAL (GUEST_LAPIC_BASE | 0x900u) /* enabled, first processor */

static struct rng rng;
static _Alignas(4096) uint8_t code[PAGE_SIZE];
static uint64_t fault_count, cut_count, ticks_left;

/* Where to go on after a fault: in the middle of wild_try(), on its stack. */
static uint64_t resume_rsp;
static bool is_trying;
static unsigned fault_now_count; /* of the thing being done */
extern const char wild_resume[];

/* Calls function(a, b) so that a fault anywhere in it ends the call. */
static __attribute__((noinline, noclone)) void wild_try(void (*function)(uint64_t, uint64_t),
                                                        uint64_t a, uint64_t b)
{
    is_trying = true;
    __asm__ volatile("push %%rbp\n\t"
                     "push %%rbx\n\t"
                     "mov %%rsp, %0\n\t"
                     "call *%%rcx\n"
                     "wild_resume:\n\t"
                     "mov %0, %%rsp\n\t"
                     "pop %%rbx\n\t"
                     "pop %%rbp\n\t"
                     "cld"
                     : "=m"(resume_rsp), "+c"(function), "+D"(a), "+S"(b)
                     :
                     : "rax", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc",
                       "memory");
}

static void resume(struct interrupt_frame *frame)
{
    frame->rip = (uint64_t)wild_resume;
    frame->rsp = resume_rsp;
    frame->cs = 0x08;
    frame->ss = 0x10;
    frame->rflags = 0x202; /* interrupts on */
}

static bool on_vector(struct interrupt_frame *frame)
{
    bool is_timer = frame->vector == VECTOR_TIMER;
    if (!is_trying || (frame->vector >= 32 && !is_timer))
        return false;
    if (is_timer && --ticks_left)
        return false;
    if (++fault_now_count > FAULTS_MAX) {
        console_line("wild: lost its way at rip 0x%lx", frame->rip);
        guest_exit(GUEST_STATUS_UNEXPECTED);
    }
    cut_count += is_timer;
    fault_count += !is_timer;
    ticks_left = CODE_TICKS;
    resume(frame);
    return true;
}

/* ---- a stack nobody can lose --------------------------------------------------------- */

/* Every vector is delivered on a stack of its own, through IST 1 of a TSS (Intel SDM
 * volume 3A, 6.14.5 and 7.7), whatever RSP and the privilege level were. */
static struct {
    uint32_t reserved;
    uint32_t rsp[6], reserved2[2];
    uint32_t ist[14];
    uint32_t reserved3[2];
    uint16_t reserved4, io_map;
} __attribute__((packed)) tss;
static _Alignas(16) uint8_t vector_stack[8192];
/* The same selectors as start.asm has, user segments, and the TSS at 0x28. */
static uint64_t gdt[7] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff,
                           0x00affb000000ffff };

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static void take_vectors(void)
{
    uint64_t top = (uint64_t)vector_stack + sizeof(vector_stack), at = (uint64_t)&tss;
    tss.rsp[0] = tss.ist[0] = (uint32_t)top;
    tss.io_map = sizeof(tss);
    gdt[5] =
        0x0000890000000000 | (at & 0xffffff) << 16 | (at >> 24 & 0xff) << 56 | (sizeof(tss) - 1);
    gdt[6] = at >> 32;
    struct table_pointer pointer = { sizeof(gdt) - 1, (uint64_t)gdt };
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(pointer), "r"(0x28) : "memory");
    __asm__ volatile("sidt %0" : "=m"(pointer));
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        ((uint8_t *)pointer.base)[i * 16 + 4] = 1; /* gate's IST field */
}

/* ---- the things ------------------------------------------------------------------ */

static void do_port(uint64_t port, uint64_t value)
{
    uint16_t p = (uint16_t)port;
    if (p >= GUEST_EXIT_PORT - 3 && p <= GUEST_REPORT_MISMATCHED_PORT + 3)
        return; /* would end the run, or spoil what is reported */
    switch (value % 6) {
    case 0:
        port_read8(p);
        break;
    case 1:
        port_write8(p, (uint8_t)(value >> 8));
        break;
    case 2:
        port_write32(p, (uint32_t)(value >> 8));
        break;
    case 3:
        __asm__ volatile("inw %%dx, %%ax" : : "d"(p) : "rax");
        break;
    case 4:
        __asm__ volatile("outw %%ax, %%dx" : : "d"(p), "a"((uint32_t)(value >> 8)));
        break;
    default: {
        void *to = code;
        uint64_t count = 8;
        __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(p) : "memory");
    }
    }
}

static uint32_t some_msr(void)
{
    static const uint32_t known[] = { 0x10,  0x1b,  0x3a,  0x8b,  0xfe,  0x174, 0x175, 0x176,
                                      0x179, 0x1a0, 0x1d9, 0x200, 0x277, 0x2ff, 0x38d, 0x480,
                                      0x6e0, 0x802, 0x80b, 0x830, 0x832, 0xda0 };
    uint32_t base[] = { 0, 0x400, 0x800, 0xc0000000u, 0xc0010000u, (uint32_t)rng_next(&rng) };
    if (rng_below(&rng, 2))
        return known[rng_below(&rng, sizeof(known) / sizeof(known[0]))];
    return base[rng_below(&rng, 6)] + (uint32_t)rng_below(&rng, 0x200);
}

static void do_msr_read(uint64_t msr, uint64_t value)
{
    (void)value;
    cpu_read_msr((uint32_t)msr);
}

static void do_msr_write(uint64_t msr, uint64_t value)
{
    cpu_write_msr((uint32_t)msr, value);
}

static uint64_t some_device_address(void)
{
    static const uint64_t base[] = { GUEST_VIRTIO_BASE, GUEST_VIRTIO_BASE, GUEST_IOAPIC_BASE,
                                     GUEST_LAPIC_BASE, GUEST_HOLE_START };
    uint64_t span = rng_below(&rng, 8) ? 0x1000 : 0x30000000;
    uint64_t address = base[rng_below(&rng, 5)] + rng_below(&rng, span);
    return address > UINT32_MAX - 16 ? GUEST_VIRTIO_BASE : address;
}

static void do_mmio(uint64_t address, uint64_t value)
{
    switch (value % 6) {
    case 0:
        (void)*(volatile uint8_t *)address;
        break;
    case 1:
        (void)*(volatile uint32_t *)address;
        break;
    case 2:
        (void)*(volatile uint64_t *)address;
        break;
    case 3:
        *(volatile uint16_t *)address = (uint16_t)(value >> 8);
        break;
    default:
        *(volatile uint32_t *)address = (uint32_t)(value >> 8);
    }
}

/* X(text): instructions that a guest may try; operands are a register or DI's memory. */
#define INSTRUCTIONS(X)                                                                            \
    X("vmxoff")                                                                                    \
    X("vmlaunch")                                                                                  \
    X("vmresume")                                                                                  \
    X("vmcall")                                                                                    \
    X("vmclear (%%rdi)")                                                                           \
    X("vmptrld (%%rdi)")                                                                           \
    X("vmptrst (%%rdi)")                                                                           \
    X("vmxon (%%rdi)") X("vmread %%rax, %%rbx") X("vmwrite %%rax, %%rbx")                          \
        X("invept (%%rdi), %%rax") X("invvpid (%%rdi), %%rax") X("vmfunc") X("vmrun") X("vmmcall") \
            X("vmload") X("vmsave") X("stgi") X("clgi") X("skinit") X("invlpga") X("invd")         \
                X("wbinvd") X("xsetbv") X("xgetbv") X("monitor") X("mwait") X("rdpmc") X("rdtscp") \
                    X("rdtsc") X("clts") X("ud2") X("rsm") X("getsec") X("swapgs") X("sysretl")    \
                        X("sysexitl") X("syscall") X("sysenter") X("int3") X("int $0x80")          \
                            X("pause") X("rdrand %%rax") X("rdseed %%rax") X("sldt (%%rdi)")       \
                                X("str %%ax") X("sgdt (%%rdi)") X("lldt %%ax") X("ltr %%ax")       \
                                    X("smsw %%ax") X("invlpg (%%rdi)") X("mov %%dr7, %%rax")       \
                                        X("mov %%rax, %%dr0") X("mov %%cr8, %%rax")                \
                                            X("mov %%rax, %%cr8") X("mov %%rax, %%cr2")            \
                                                X("mov %%cr3, %%rax; mov %%rax, %%cr3") X("encls") \
                                                    X("enclu") X("invpcid (%%rdi), %%rax")         \
                                                        X("xsaves (%%rdi)") X("xrstors (%%rdi)")   \
                                                            X("fxsave (%%rdi)")

static void do_instruction(uint64_t which, uint64_t value)
{
    unsigned at = 0;
#define TRY(text)                                                                                  \
    if (which == at++)                                                                             \
        __asm__ volatile(text                                                                      \
                         :                                                                         \
                         : "D"(code), "a"(value), "c"((uint32_t)(value >> 32) % 3),                \
                           "d"((uint32_t)value)                                                    \
                         : "rbx", "r11", "memory");
    INSTRUCTIONS(TRY)
}
#define COUNT_ONE(text)   +1u
#define INSTRUCTION_COUNT (0u INSTRUCTIONS(COUNT_ONE))

static void do_cpuid(uint64_t leaf, uint64_t subleaf)
{
    cpu_cpuid((uint32_t)leaf, (uint32_t)subleaf);
}

/* Flips one bit of CR0 or CR4, and back. */
static void do_control(uint64_t bit, uint64_t which)
{
    uint64_t flip = 1ull << (bit % 64), old;
    if (which % 2) {
        __asm__ volatile("mov %%cr0, %0" : "=r"(old));
        __asm__ volatile("mov %0, %%cr0; mov %1, %%cr0" : : "r"(old ^ flip), "r"(old));
    } else {
        __asm__ volatile("mov %%cr4, %0" : "=r"(old));
        __asm__ volatile("mov %0, %%cr4; mov %1, %%cr4" : : "r"(old ^ flip), "r"(old));
    }
}

static void do_code(uint64_t a, uint64_t b)
{
    (void)a;
    (void)b;
    ((void (*)(void))(uint64_t)code)();
}

static void do_jump(uint64_t address, uint64_t b)
{
    (void)b;
    ((void (*)(void))address)();
}

/* Undoes what would keep the timer from cutting the next thing off. */
static void repair(enum kind kind)
{
    static const uint32_t harms_timer = 1u << WILD_MSR_WRITE | 1u << WILD_MMIO | 1u << WILD_CODE |
                                        1u << WILD_JUMP | 1u << WILD_INSTRUCTION;
    is_trying = false;
    fault_now_count = 0;
    if (!(harms_timer >> kind & 1))
        return;
    __asm__ volatile("mov %0, %%cr8" : : "r"(0ul));
    cpu_write_msr(MSR_APIC_BASE, APIC_BASE_USUAL);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0x10));
    lapic_init();
    cpu_interrupts_on();
}

/* ---- choosing ----------------------------------------------------------------------- */

/* No CLI, HLT: with interrupts off nothing would cut them off. */
static void fill_code(void)
{
    for (unsigned i = 0; i < CODE_BYTES; i++) {
        uint8_t byte = (uint8_t)rng_next(&rng);
        code[i] = byte == 0xfa || byte == 0xf4 ? 0x90 : byte;
    }
    memset(code + CODE_BYTES, 0xcc, sizeof(code) - CODE_BYTES);
}

static enum kind choose_kind(uint64_t kinds)
{
    for (;;) {
        uint64_t roll = rng_below(&rng, 171);
        unsigned kind = 0;
        while (kind + 1 < WILD_KIND_COUNT && roll >= weights[kind])
            roll -= weights[kind++];
        if (kinds >> kind & 1)
            return kind;
    }
}

static void act(enum kind kind)
{
    uint64_t a = rng_next(&rng), b = rng_next(&rng);
    ticks_left = CODE_TICKS;
    switch (kind) {
    case WILD_PORT:
        wild_try(do_port, a % 4 ? a >> 32 & 0x3ff : a >> 16 & 0xffff, b);
        break;
    case WILD_MSR_READ:
        wild_try(do_msr_read, some_msr(), b);
        break;
    case WILD_MSR_WRITE:
        wild_try(do_msr_write, some_msr(), a % 2 ? b : b % 16);
        break;
    case WILD_MMIO:
        wild_try(do_mmio, some_device_address(), b);
        break;
    case WILD_INSTRUCTION:
        wild_try(do_instruction, a % INSTRUCTION_COUNT, b);
        break;
    case WILD_CPUID:
        wild_try(do_cpuid, (a & 0xc000001f) | (a >> 40 & 7) << 28, b % 4);
        break;
    case WILD_CONTROL:
        wild_try(do_control, a, b);
        break;
    case WILD_CODE:
        fill_code();
        wild_try(do_code, 0, 0);
        break;
    default:
        wild_try(do_jump, a >> rng_below(&rng, 64), 0);
    }
    repair(kind);
}

int guest_main(const struct guest_boot *boot)
{
    uint64_t seed = hostile_number(boot, "seed", 1);
    uint64_t rounds = hostile_number(boot, "rounds", DEFAULT_ROUNDS);
    uint64_t kinds = hostile_number(boot, "kinds", (1u << WILD_KIND_COUNT) - 1);
    rng_seed(&rng, seed);
    lapic_init();
    interrupts_set_hook(on_vector);
    take_vectors();
    cpu_interrupts_on();
    if (!(kinds & ((1u << WILD_KIND_COUNT) - 1)))
        return GUEST_STATUS_USAGE;
    console_line("wild: seed %lu, %lu rounds", seed, rounds);
    for (uint64_t i = 0; i < rounds; i++)
        act(choose_kind(kinds));
    interrupts_set_hook(NULL);
    console_init();
    console_line("wild: survived %lu rounds, %lu faults, %lu cut off", rounds, fault_count,
                 cut_count);
    return GUEST_STATUS_OK;
}
