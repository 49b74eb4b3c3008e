#include "hv/loop.h"
#include "drivers/clock.h"
#include "drivers/disk.h"
#include "drivers/irq.h"
#include "drivers/lapic.h"
#include "drivers/serial.h"
#include "hv/config.h"
#include "hv/cpu.h"
#include "hv/cpus.h"
#include "hv/exit.h"
#include "hv/mitigations.h"
#include "hv/park.h"
#include "hv/sched.h"
#include "hv/telemetry.h"
#include "hv/timer.h"
#include "hv/vm.h"
#include "lib/log.h"

#define MS                1000000ull
#define TICK_NS           (10 * MS)
#define UART_TICKS        25u        /* ticks for one more line of credit for each guest */
#define SERIAL_POLL_NS    1400000ull /* a FIFO of 16 bytes at 115200 baud */
#define EXITS_PER_TURN    64u        /* then the core gets its step */
#define SERVICE_WINDOW_NS MS         /* how long loop_service() waits at most */

static struct timer tick_timer, serial_timer, disk_timer, duration_timer;
static uint32_t duration_s;
static bool timed_out;
static unsigned tick_count;

/* ---- deadlines --------------------------------------------------------------- */

static void vm_ticks(void)
{
    bool credit = ++tick_count % UART_TICKS == 0;
    for (unsigned i = 0; i < vm_table_count; i++) {
        struct vm *vm = &vm_table[i];
        vm_lock(vm);
        if (vm_is_running(vm))
            dev_balloon_tick(vm);
        if (vm_is_running(vm) && credit)
            dev_uart_tick(vm);
        vm_unlock(vm);
    }
}

static void tick_fire(struct timer *timer, uint64_t now)
{
    mm_tick();
    vm_ticks();
    timer_set(timer, now + TICK_NS);
}

static void nothing_fire(struct timer *timer, uint64_t now)
{
    (void)timer;
    (void)now;
}

static void duration_fire(struct timer *timer, uint64_t now)
{
    (void)timer;
    (void)now;
    for (unsigned i = 0; i < vm_table_count; i++) {
        timed_out |= vm_is_running(&vm_table[i]);
        vm_end(&vm_table[i], VM_END_DURATION, "duration of %u s reached", duration_s);
    }
}

void loop_init(const struct config_host *config)
{
    timer_init(&tick_timer, tick_fire, NULL);
    timer_init(&serial_timer, nothing_fire, NULL);
    timer_init(&disk_timer, nothing_fire, NULL);
    timer_init(&duration_timer, duration_fire, NULL);
    duration_s = config->duration_s;
    uint64_t now = clock_now_ns();
    timer_set(&tick_timer, now + TICK_NS);
    if (duration_s)
        timer_set(&duration_timer, now + duration_s * 1000 * MS);
}

bool loop_timed_out(void)
{
    return timed_out;
}

uint64_t loop_idle_ns(void)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < cpu_count(); i++)
        sum += cpu_get(i)->idle_ns;
    return sum;
}

/* ---- one turn ------------------------------------------------------------------ */

void loop_interrupt(uint8_t vector)
{
    if (vector != IRQ_VECTOR_TIMER && vector != IRQ_VECTOR_WAKE) {
        irq_record(vector);
        return;
    }
    if (vector == IRQ_VECTOR_TIMER)
        timer_expired();
    lapic_acknowledge();
}

static bool is_boot_cpu(void)
{
    return cpu_this()->index == 0;
}

/* Lets all pending interrupts in, then handles what was recorded. An entry into a
 * guest takes one at most, the one of the highest priority, so that the others
 * would starve behind a timer that is always due. */
static void take_interrupts(void)
{
    uint8_t vector;
    __asm__ volatile("sti; nop; cli" : : : "memory");
    while (is_boot_cpu() && irq_take(&vector))
        disk_interrupt(vector);
}

static void poll_devices(uint64_t now)
{
    disk_poll(now);
    if (disk_deadline() != disk_timer.deadline)
        timer_set(&disk_timer, disk_deadline());
    if (serial_poll() && !timer_is_armed(&serial_timer))
        timer_set(&serial_timer, now + SERIAL_POLL_NS);
}

/* A piece of the VM's queue work, done for its first vCPU, charged to that. */
static bool pump(struct vm *vm)
{
    uint64_t before = clock_now_ns();
    vm_lock(vm);
    if (vm_is_running(vm))
        dev_balloon_pump(vm);
    bool more = vm_is_running(vm) && dev_balloon_has_work(vm);
    vm_unlock(vm);
    sched_charge(&vm->vcpus[0], clock_now_ns() - before);
    return more;
}

/* A bounded share of device work for each VM in turn. The first vCPU of the VM must
 * not be inside its guest meanwhile; where another CPU has it, that one will come by
 * here. Looking for work needs no lock: who makes some comes by here, too. */
static bool pump_devices(void)
{
    bool more = false;
    for (unsigned i = 0; i < vm_table_count; i++) {
        struct vm *vm = &vm_table[i];
        if (!vm_is_running(vm) || !dev_balloon_has_work(vm))
            continue;
        enum sched_claim claim = sched_claim(&vm->vcpus[0]);
        if (claim == SCHED_TAKEN)
            continue;
        more |= pump(vm);
        if (claim == SCHED_CLAIMED)
            sched_give_back(&vm->vcpus[0]);
    }
    return more;
}

/* Everything but the guests. True: there is more to do at once. */
static bool turn(void)
{
    take_interrupts();
    mitigations_taint();
    uint64_t now = clock_now_ns();
    timer_run(now);
    if (is_boot_cpu())
        poll_devices(now);
    bool more = mm_step();
    more |= pump_devices();
    vm_reap();
    return more;
}

static void deliver_interrupt(struct vcpu *vcpu)
{
    struct lapic *lapic = vm_lapic(vcpu);
    int vector = dev_lapic_pending(lapic);
    if (vector < 0 || !vcpu_ops->can_interrupt(vcpu))
        return;
    dev_lapic_accept(lapic, (uint8_t)vector);
    seam_interrupt(vcpu, (uint8_t)vector);
}

/* Before interrupts: an NMI has the higher priority (SDM volume 3, table 6-2). */
static void deliver_nmi(struct vcpu *vcpu)
{
    if (!vcpu->nmi_pending || !vcpu_ops->can_nmi(vcpu))
        return;
    vcpu->nmi_pending = false;
    seam_nmi(vcpu);
}

static bool ends_turn(enum exit_kind kind)
{
    return kind == EXIT_INTERRUPT || kind == EXIT_TIMER || kind == EXIT_PAUSE;
}

/* An interrupt or an NMI ends a halt; nothing but a message the other rests. */
static bool is_awake(struct vcpu *vcpu)
{
    dev_lapic_take_messages(vcpu);
    if (vcpu_rest(vcpu) == VCPU_HALTED && dev_lapic_pending(vm_lapic(vcpu)) >= 0)
        vcpu_set_rest(vcpu, VCPU_RUNS);
    return vcpu_rest(vcpu) == VCPU_RUNS;
}

/* False: it cannot go on now. Has to be asked before an entry unless the exit
 * before was quiet. The news are taken first: what comes later shows again. */
static bool prepare(struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->news, false, __ATOMIC_SEQ_CST);
    if (!vm_is_running(vcpu->vm) || mm_vcpu_waiting(&vcpu->mm) != MM_WAIT_NONE || !is_awake(vcpu))
        return false;
    deliver_nmi(vcpu);
    deliver_interrupt(vcpu);
    timer_arm(); /* the guest may have set its timer */
    return true;
}

/* Runs the vCPU for some exits, or until an interrupt of the host or the end of
 * its readiness. */
static void run_vcpu(struct vcpu *vcpu)
{
    uint64_t before = clock_now_ns();
    cpu_this()->holds = vcpu;
    vcpu->quiet = false;
    for (unsigned i = 0; i < EXITS_PER_TURN; i++) {
        if ((!vcpu->quiet || vcpu->nmi_pending || vcpu_has_news(vcpu)) && !prepare(vcpu))
            break;
        vcpu->quiet = true; /* until the exit says otherwise */
        vcpu_ops->run(vcpu);
        exit_handle(vcpu);
        if (ends_turn(vcpu->exit.kind))
            break;
    }
    sched_charge(vcpu, clock_now_ns() - before);
}

/* With several CPUs a vCPU's state stays in one only while it is that one's
 * choice: others may take it over then, or take its VM down. */
static void unload_unless(const struct vcpu *chosen)
{
    struct vcpu *vcpu = cpu_this()->holds;
    if (cpu_count() == 1 || !vcpu || vcpu == chosen)
        return;
    vcpu_ops->unload(vcpu);
    cpu_this()->holds = NULL;
    sched_give_back(vcpu);
}

static void sleep(uint64_t since)
{
    struct cpu *cpu = cpu_this();
    timer_arm();
    park_leave();
    cpu_idle();
    park_enter();
    cpu->idle_ns += clock_now_ns() - since;
}

/* Sleeps, unless there has come something to do before others could see that this CPU
 * idles. Returns that. */
static struct vcpu *idle(uint64_t now)
{
    struct cpu *cpu = cpu_this();
    __atomic_store_n(&cpu->idle, true, __ATOMIC_SEQ_CST);
    struct vcpu *vcpu = cpu_count() > 1 ? sched_pick(now) : NULL;
    if (!vcpu)
        sleep(now);
    __atomic_store_n(&cpu->idle, false, __ATOMIC_SEQ_CST);
    return vcpu;
}

static void loop_once(void)
{
    const struct vcpu *vcpu = cpu_this()->holds;
    if (vcpu && !vm_is_running(vcpu->vm))
        unload_unless(NULL);
    park_here();
    bool more = turn();
    uint64_t now = clock_now_ns();
    struct vcpu *next = sched_pick(now);
    unload_unless(next);
    if (!next && !more && !(is_boot_cpu() && vm_all_ended()))
        next = idle(now);
    if (next)
        run_vcpu(next);
}

/* What creating the VMs has left in this CPU. */
static void unload_all(void)
{
    for (unsigned i = 0; i < vm_table_count; i++)
        for (unsigned k = 0; k < vm_table[i].vcpu_count; k++)
            if (cpu_count() > 1 && vm_table[i].vcpus[k].vendor)
                vcpu_ops->unload(&vm_table[i].vcpus[k]);
}

void loop_run(void)
{
    unload_all();
    cpus_release();
    while (!vm_all_ended())
        loop_once();
}

_Noreturn void loop_join(void)
{
    timer_join();
    sched_join();
    park_enter();
    for (;;)
        loop_once();
}

void loop_service(void)
{
    if (turn())
        return;
    uint64_t now = clock_now_ns();
    timer_set(&serial_timer, now + SERVICE_WINDOW_NS);
    sleep(now);
}
