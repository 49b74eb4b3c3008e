/*
 * nmi: NMIs between processors. One reaches a processor that has interrupts off; one
 * that comes while another is handled waits for its IRET and comes then, once; one ends
 * a halt with interrupts off; one to itself comes, too. SMIs are refused. Ends with
 * status 1 when something differs.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/interrupts.h"
#include "guest-driver/lapic.h"
#include "guest-driver/smp.h"
#include "tests/guest/hostile.h"

#define VECTOR_NMI 2u
#define ICR_LOW    0x300u
#define ICR_HIGH   0x310u
#define SEND_NMI   0x4400u
#define SEND_SMI   0x4200u
#define WAIT_TURNS 20000000u
#define LINGER     200u /* exits of a handler that waits whether it is interrupted */
#define ROUNDS     20u
#define HALT_TRIES 10000u

static volatile struct {
    unsigned ready; /* it takes NMIs */
    unsigned nmis, depth, deepest;
    bool hold; /* the handler is to wait until it is set free */
    bool held;
    unsigned step; /* what the second processor is to do */
    unsigned done; /* what it has done */
} other;
static volatile unsigned own_nmis;
static uint32_t checks, bad;

static void expect(const char *what, uint64_t value, uint64_t wanted)
{
    checks++;
    if (value == wanted)
        return;
    bad++;
    console_line("nmi: %s: %lu, should be %lu", what, value, wanted);
}

static void send(uint32_t to, uint32_t command)
{
    mmio_write32(GUEST_LAPIC_BASE + ICR_HIGH, to << 24);
    mmio_write32(GUEST_LAPIC_BASE + ICR_LOW, command);
}

static void exit_often(void)
{
    for (unsigned i = 0; i < LINGER; i++)
        cpu_cpuid(0, 0);
}

static void nmi_of_other(void)
{
    other.nmis++;
    if (++other.depth > other.deepest)
        other.deepest = other.depth;
    if (other.hold) {
        other.held = true;
        while (other.hold)
            __asm__ volatile("pause");
        exit_often();
    }
    other.depth--;
}

static bool hook(struct interrupt_frame *frame)
{
    if (frame->vector != VECTOR_NMI)
        return false;
    if (lapic_id() == 0)
        own_nmis++;
    else
        nmi_of_other();
    return true;
}

/* Segments as the gates of the interrupts want them: those of the first processor. */
static struct {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed)) segments;

static void segments_take(void)
{
    __asm__ volatile("lgdt %0\n\t"
                     "pushq $0x08\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:"
                     :
                     : "m"(segments)
                     : "rax", "memory");
}

/* The second processor: interrupts are off all the time. */
static void follow(unsigned number)
{
    (void)number;
    segments_take();
    interrupts_init();
    other.ready = 1;
    for (unsigned step = 1;; step++) {
        other.done = step - 1;
        while (other.step < step)
            __asm__ volatile("pause");
        if (step == 3)
            __asm__ volatile("cli; hlt" : : : "memory");
        if (step == 4)
            return;
    }
}

static bool await(const volatile unsigned *value, unsigned wanted)
{
    for (unsigned i = 0; *value != wanted && i < WAIT_TURNS; i++)
        __asm__ volatile("pause");
    return *value == wanted;
}

static void try_running(void)
{
    for (unsigned i = 1; i <= ROUNDS; i++) {
        send(1, SEND_NMI);
        expect("an NMI to a loop with interrupts off", await(&other.nmis, i), true);
    }
    other.step = 1;
    await(&other.done, 1);
}

static void try_nested(void)
{
    unsigned before = other.nmis;
    other.hold = true;
    send(1, SEND_NMI);
    for (unsigned i = 0; !other.held && i < WAIT_TURNS; i++)
        __asm__ volatile("pause");
    expect("an NMI to be handled for long", other.nmis, before + 1);
    send(1, SEND_NMI);
    send(1, SEND_NMI); /* two that wait are one */
    exit_often();
    expect("NMIs while one is handled", other.nmis, before + 1);
    other.hold = false;
    expect("the one that waited", await(&other.nmis, before + 2), true);
    other.step = 2;
    await(&other.done, 2);
    expect("NMIs in each other", other.deepest, 1);
    expect("NMIs in all", other.nmis, before + 2);
}

/* One that comes before the halt ends nothing: another follows. */
static void try_halted(void)
{
    other.step = 3;
    for (unsigned i = 0; other.done != 3 && i < HALT_TRIES; i++) {
        exit_often();
        send(1, SEND_NMI);
    }
    expect("the end of a halt with interrupts off", await(&other.done, 3), true);
}

static void try_own(void)
{
    send(0, SEND_NMI);
    expect("an NMI to itself", await(&own_nmis, 1), true);
    send(1, SEND_SMI);
    send(1, SEND_SMI);
}

int guest_main(const struct guest_boot *boot)
{
    (void)boot;
    interrupts_set_hook(hook);
    __asm__ volatile("sgdt %0" : "=m"(segments));
    if (smp_start(1, follow) != 1)
        return GUEST_STATUS_UNEXPECTED;
    await(&other.ready, 1);
    try_running();
    try_nested();
    try_halted();
    try_own();
    other.step = 4;
    guest_report(checks, bad);
    console_line("nmi: %u checks, %u wrong", checks, bad);
    return bad ? GUEST_STATUS_MISMATCH : GUEST_STATUS_OK;
}
