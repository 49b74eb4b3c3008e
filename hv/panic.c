/*
 * Dying in order. Nothing here allocates or waits for a lock; a fault inside the
 * dump itself ends at once. The first CPU that dies stops the others; one that
 * dies besides stops itself.
 */
#include "hv/panic.h"
#include "drivers/serial.h"
#include "hv/cpu.h"
#include "hv/display.h"
#include "hv/cpus.h"
#include "hv/log.h"
#include "hv/paging.h"
#include "hv/power.h"
#include "hv/symbols.h"
#include "hv/x86.h"
#include "lib/fmt.h"
#include "mm/home.h"

#define BACKTRACE_MAX 32u
#define MOVES_MAX     8u
#define REASON_MAX    256u
#define STOP_TRIES    5000000u /* a second or less */

extern uint8_t hv_image_start[], hv_image_end[];

#define NOBODY (~0u)
static unsigned dying = NOBODY; /* index of the CPU */
static unsigned stopped;        /* other CPUs that have */

static const char *const exception_names[32] = {
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "no device",
    "double fault",
    "coprocessor",
    "bad TSS",
    "segment not present",
    "stack fault",
    "general protection",
    "page fault",
    NULL,
    "x87 error",
    "alignment check",
    "machine check",
    "SIMD error",
    "virtualization",
    "control protection",
};

static void print_address(const char *what, uint64_t address)
{
    uint64_t offset = 0;
    const char *name = symbols_find(address, &offset);
    if (name)
        log_error("  %s %016llx %s+0x%llx", what, (unsigned long long)address, name,
                  (unsigned long long)offset);
    else
        log_error("  %s %016llx", what, (unsigned long long)address);
}

/* Two words at address are in our own image, where the boot CPU's stacks lie, or
 * in the stacks of the others. */
static bool is_ours(uint64_t address)
{
    if (address % 8 != 0)
        return false;
    if (paging_is_stack(address))
        return true;
    return address >= (uint64_t)hv_image_start && address <= (uint64_t)hv_image_end - 16;
}

/* A frame pointer is followed only while it points into a stack, and upwards. */
static void backtrace(uint64_t rbp)
{
    for (unsigned i = 0; i < BACKTRACE_MAX; i++) {
        if (!is_ours(rbp))
            return;
        const uint64_t *frame = (const uint64_t *)rbp;
        if (frame[1] == 0)
            return;
        print_address("at", frame[1]);
        if (frame[0] <= rbp)
            return;
        rbp = frame[0];
    }
}

/* Where pages went last: a panic is most often about one of them. */
static void print_moves(void)
{
    static struct home_trace trace[HOME_TRACE_COUNT];
    unsigned count = home_trace_get(trace), first = count > MOVES_MAX ? count - MOVES_MAX : 0;
    for (unsigned i = first; i < count; i++)
        log_error("  moved: vm %u page 0x%x, %s => %s", trace[i].vm, trace[i].gfn,
                  home_name(trace[i].from), home_name(trace[i].to));
}

static _Noreturn void finish(const char *reason)
{
    print_moves();
    log_line(LOG_INFO, "ballast: result failed: panic: %s", reason);
    serial_flush();
    display_linger();
    power_off(1);
}

static _Noreturn void stop_here(void)
{
    __atomic_fetch_add(&stopped, 1, __ATOMIC_RELEASE);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void panic_check(void)
{
    unsigned who = __atomic_load_n(&dying, __ATOMIC_RELAXED);
    if (who != NOBODY && who != cpu_this()->index)
        stop_here();
}

/* Bounded: a CPU that does not even take an NMI is left to itself. */
static void stop_others(void)
{
    cpus_stop_others();
    for (unsigned i = 0; i < STOP_TRIES; i++) {
        if (__atomic_load_n(&stopped, __ATOMIC_ACQUIRE) + 1 >= cpu_count())
            break;
        __builtin_ia32_pause();
    }
    log_seize();
    if (cpu_count() > 1)
        log_error("  %u of %u other CPUs have stopped", __atomic_load_n(&stopped, __ATOMIC_RELAXED),
                  cpu_count() - 1);
}

static void begin(void)
{
    __asm__ volatile("cli");
    unsigned who = NOBODY;
    if (__atomic_compare_exchange_n(&dying, &who, cpu_this()->index, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
        stop_others();
    } else if (who != cpu_this()->index) {
        stop_here();
    } else {
        log_line(LOG_INFO, "ballast: result failed: panic: fault inside a panic");
        serial_flush();
        power_off(1);
    }
}

_Noreturn void panic(const char *format, ...)
{
    begin();
    char reason[REASON_MAX];
    va_list args;
    va_start(args, format);
    fmt_vprint(reason, sizeof(reason), format, args);
    va_end(args);
    log_error("panic: %s", reason);
    backtrace((uint64_t)__builtin_frame_address(0));
    finish(reason);
}

static void print_registers(const struct trap_frame *f)
{
    static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8 ",
                                         "r9 ", "r10", "r11", "r12", "r13", "r14", "r15" };
    const uint64_t *values = &f->rax;
    for (unsigned i = 0; i < 15; i += 3)
        log_error("  %s %016llx  %s %016llx  %s %016llx", names[i], (unsigned long long)values[i],
                  names[i + 1], (unsigned long long)values[i + 1], names[i + 2],
                  (unsigned long long)values[i + 2]);
    log_error("  rsp %016llx  rfl %016llx  cs %04llx ss %04llx", (unsigned long long)f->rsp,
              (unsigned long long)f->rflags, (unsigned long long)f->cs, (unsigned long long)f->ss);
    log_error("  cr0 %016llx  cr2 %016llx  cr3 %016llx", (unsigned long long)x86_read_cr0(),
              (unsigned long long)x86_read_cr2(), (unsigned long long)x86_read_cr3());
    log_error("  cr4 %016llx  cpu %u", (unsigned long long)x86_read_cr4(), cpu_this()->index);
}

/* Stacks of other CPUs have nothing unmapped but their guards. */
static bool is_stack_guard(uint64_t address)
{
    uint8_t *guard;
    if (paging_is_stack(address))
        return true;
    for (unsigned i = 0; (guard = cpu_stack_guard(i)) != NULL; i++)
        if (address - (uint64_t)guard < PAGE_SIZE)
            return true;
    return false;
}

_Noreturn void panic_trap(const struct trap_frame *frame)
{
    begin();
    const char *name = frame->vector < 32 ? exception_names[frame->vector] : NULL;
    bool overflow = (frame->vector == VECTOR_PF || frame->vector == VECTOR_DF) &&
                    is_stack_guard(x86_read_cr2());
    uint64_t offset = 0;
    const char *function = symbols_find(frame->rip, &offset);
    char reason[REASON_MAX];
    fmt_print(reason, sizeof(reason), "%s (vector %u, error 0x%x%s) at %016llx %s+0x%llx",
              name ? name : "reserved exception", (unsigned)frame->vector,
              (unsigned)frame->error_code, overflow ? ", stack overflow" : "",
              (unsigned long long)frame->rip, function ? function : "?",
              (unsigned long long)offset);
    log_error("panic: exception in the hypervisor: %s", reason);
    print_registers(frame);
    print_address("at", frame->rip);
    /* Before its first instruction a function has no frame: its caller is on top
     * of the stack. */
    if (function && offset == 0 && is_ours(frame->rsp))
        print_address("at", *(const uint64_t *)frame->rsp);
    backtrace(frame->rbp);
    finish(reason);
}
