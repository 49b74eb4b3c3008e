#include "hv/cpus.h"
#include "drivers/acpi.h"
#include "drivers/clock.h"
#include "drivers/irq.h"
#include "drivers/lapic.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/loop.h"
#include "hv/mitigations.h"
#include "hv/paging.h"
#include "hv/tsc.h"
#include "hv/vcpu.h"
#include "hv/x86.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"

#define STACK_BYTES (64 * KIB)
#define MS          1000000ull
/* SDM volume 3, 8.4.4.1: between INIT and the first start-up message. */
#define INIT_NS (10 * MS)
/* After the first one; a second follows when somebody is missing. */
#define STARTUP_NS (1 * MS)
/* CPUs that ACPI lists are waited for this long, and unknown ones until none has
 * come for the shorter time. */
#define ANSWER_NS (200 * MS)
#define QUIET_NS  (10 * MS)
#define JOIN_NS   (2000 * MS)

/* Data at the end of the start-up page, hv/startup.asm. */
struct startup {
    uint64_t entry;
    uint32_t root;
    uint32_t drawn; /* CPUs that have come */
    uint32_t limit;
    uint32_t pad;
    uint64_t stacks[CPU_MAX]; /* 0: it has to wait */
};
static_assert(offsetof(struct startup, stacks) == 24, "hv/startup.asm");

extern uint8_t startup_code[], startup_data[], startup_end[];

static volatile struct startup *startup;
static struct cpu *joining; /* the CPU that is being let in */
static bool released;

/* ---- on the new CPU ------------------------------------------------------------- */

static _Noreturn void park(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* Where two VMs must not share a core, one thread of each core is used: the first
 * of those whose APIC numbers differ in the lowest bits only. */
static bool is_allowed(const struct cpu *cpu)
{
    unsigned threads = mitigation_facts.threads;
    if (!mitigations.on[MITIGATION_SIBLINGS_APART] || threads < 2)
        return true;
    unsigned bits = 32 - (unsigned)__builtin_clz(threads - 1);
    return (cpu->apic_id & ((1u << bits) - 1)) == 0;
}

static bool join(struct cpu *cpu)
{
    x86_write_cr3(paging_root());
    cpu_join(cpu);
    if (!lapic_join(IRQ_VECTOR_SPURIOUS))
        return false;
    cpu->apic_id = lapic_id();
    mitigations_cpu_init();
    return is_allowed(cpu) && vcpu_ops->cpu_join();
}

/* Where hv/startup.asm jumps to. One at a time gets here (stacks are handed out
 * one by one), so that nothing below needs a lock. */
static _Noreturn void arrive(void)
{
    struct cpu *cpu = joining;
    bool ok = join(cpu);
    if (ok) {
        __atomic_store_n(&cpu->state, CPU_MEETING, __ATOMIC_RELEASE);
        ok = tsc_follow();
    }
    __atomic_store_n(&cpu->state, ok ? CPU_READY : CPU_FAILED, __ATOMIC_RELEASE);
    if (!ok)
        park();
    while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE))
        cpu_idle();
    if (__atomic_load_n(&cpu->state, __ATOMIC_ACQUIRE) != CPU_ONLINE)
        park(); /* came too late */
    loop_join();
}

/* ---- on the boot CPU -------------------------------------------------------------- */

static void wait_ns(uint64_t ns)
{
    uint64_t end = clock_now_ns() + ns;
    while (clock_now_ns() < end)
        __builtin_ia32_pause();
}

static bool prepare(uint64_t page, unsigned limit)
{
    uint64_t root = paging_create_startup_root();
    if (!root)
        return false;
    uint8_t *code = bootmem_map(hpa(page));
    memcpy(code, startup_code, (size_t)(startup_end - startup_code));
    startup = (void *)(code + (startup_data - startup_code));
    startup->entry = (uint64_t)arrive;
    startup->root = (uint32_t)root;
    startup->limit = limit - 1;
    return true;
}

/* Calls send for every CPU that ACPI lists but this one, or for all at once. */
static void call(void (*send)(uint32_t id, uint8_t page), uint8_t page)
{
    const struct acpi_info *acpi = acpi_info();
    if (!acpi->cpu_count) {
        send(LAPIC_ALL_OTHERS, page);
        return;
    }
    for (unsigned i = 0; i < acpi->cpu_count; i++)
        if (acpi->cpus[i] != cpu_this()->apic_id)
            send(acpi->cpus[i], page);
}

static void send_init(uint32_t id, uint8_t page)
{
    (void)page;
    lapic_send_init(id);
}

/* Until `wanted` CPUs have come, or nobody for a while. */
static void await_answers(unsigned wanted, uint64_t patience)
{
    uint32_t seen = startup->drawn;
    for (uint64_t since = clock_now_ns(); seen < wanted && clock_now_ns() - since < patience;) {
        if (startup->drawn != seen)
            since = clock_now_ns();
        seen = startup->drawn;
        __builtin_ia32_pause();
    }
}

static unsigned call_all(uint64_t page)
{
    const struct acpi_info *acpi = acpi_info();
    unsigned wanted = acpi->cpu_count ? acpi->cpu_count - 1 : CPU_MAX;
    if (!wanted)
        return 0;
    call(send_init, 0);
    wait_ns(INIT_NS);
    call(lapic_send_startup, (uint8_t)(page >> PAGE_SHIFT));
    await_answers(wanted, STARTUP_NS);
    if (startup->drawn < wanted)
        call(lapic_send_startup, (uint8_t)(page >> PAGE_SHIFT));
    await_answers(wanted, acpi->cpu_count ? ANSWER_NS : QUIET_NS);
    return startup->drawn < startup->limit ? startup->drawn : startup->limit;
}

/* The new CPU's state, as soon as it is a later one, or after some time. */
static enum cpu_state await_state_after(const struct cpu *cpu, enum cpu_state state)
{
    uint64_t since = clock_now_ns();
    while (__atomic_load_n(&cpu->state, __ATOMIC_ACQUIRE) <= state &&
           clock_now_ns() - since < JOIN_NS)
        __builtin_ia32_pause();
    return __atomic_load_n(&cpu->state, __ATOMIC_ACQUIRE);
}

/* Gives the CPU that drew `number` what it needs and lets it in. */
static void let_in(unsigned number)
{
    struct cpu *cpu = cpu_create();
    uint8_t *stack = cpu ? paging_create_stack(STACK_BYTES) : NULL;
    if (!stack) {
        log_warn("cpus: no memory for another CPU");
        return;
    }
    joining = cpu;
    cpu->outside = true; /* until it comes into its loop */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    startup->stacks[number] = (uint64_t)(stack + STACK_BYTES);
    if (await_state_after(cpu, CPU_STARTING) == CPU_MEETING)
        tsc_lead(cpu);
    if (await_state_after(cpu, CPU_MEETING) == CPU_READY)
        cpu_add(cpu);
    else
        log_warn("cpus: CPU %u %s", cpu->index,
                 cpu->state == CPU_FAILED ? "cannot be used" : "does not arrive");
}

void cpus_start(const struct boot_info *info)
{
    unsigned limit = info->config.host.cpus ? info->config.host.cpus : CPU_MAX;
    cpu_this()->apic_id = lapic_id();
    if (!info->startup_page)
        log_warn("cpus: no page below 1 MiB to start other CPUs from");
    else if (limit > 1 && prepare(info->startup_page, limit)) {
        unsigned count = call_all(info->startup_page);
        for (unsigned i = 0; i < count; i++)
            let_in(i);
    }
    log_info("ballast: %u CPU%s", cpu_count(), cpu_count() == 1 ? "" : "s");
}

void cpus_release(void)
{
    __atomic_store_n(&released, true, __ATOMIC_RELEASE);
    for (unsigned i = 1; i < cpu_count(); i++)
        lapic_send_interrupt(cpu_get(i)->apic_id, IRQ_VECTOR_WAKE);
}

bool cpus_wake(struct cpu *cpu)
{
    if (!__atomic_exchange_n(&cpu->idle, false, __ATOMIC_SEQ_CST))
        return false;
    lapic_send_interrupt(cpu->apic_id, IRQ_VECTOR_WAKE);
    return true;
}

void cpus_stop_others(void)
{
    if (cpu_count() > 1)
        lapic_send_nmi(LAPIC_ALL_OTHERS);
}
