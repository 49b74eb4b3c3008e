#include "hv/dev_lapic.h"
#include "abi/machine.h"
#include "hv/sched.h"
#include "hv/vm.h"
#include "lib/string.h"

/* Registers by offset: SDM volume 3, table 11-1. */
enum {
    REG_ID = 0x020,
    REG_VERSION = 0x030,
    REG_TPR = 0x080,
    REG_APR = 0x090,
    REG_PPR = 0x0a0,
    REG_EOI = 0x0b0,
    REG_LDR = 0x0d0,
    REG_DFR = 0x0e0,
    REG_SVR = 0x0f0,
    REG_ISR = 0x100,
    REG_TMR = 0x180,
    REG_IRR = 0x200,
    REG_ESR = 0x280,
    REG_ICR_LOW = 0x300,
    REG_ICR_HIGH = 0x310,
    REG_LVT_TIMER = 0x320,
    REG_LVT_ERROR = 0x370,
    REG_INITIAL = 0x380,
    REG_CURRENT = 0x390,
    REG_DIVIDE = 0x3e0
};
#define BASE_ENABLED   (1ull << 11)
#define BASE_X2APIC    (1ull << 10)
#define BASE_BOOT_CPU  (1ull << 8)
#define VERSION_VALUE  0x00050014u /* version 14h, six LVT entries */
#define SVR_ENABLED    0x100u
#define SVR_WRITABLE   0x3ffu
#define LVT_MASKED     (1u << 16)
#define LVT_PERIODIC   (1u << 17)
#define LVT_WRITABLE   0x0001a7ffu
#define TIMER_WRITABLE 0x000300ffu /* no TSC deadline mode */
#define ICR_WRITABLE   0x000ccfffu
#define VECTOR_FIRST   16u

static void timer_fire(struct timer *timer, uint64_t now);

void dev_lapic_init(struct vcpu *vcpu)
{
    struct lapic *lapic = vm_lapic(vcpu);
    memset(lapic, 0, sizeof(*lapic));
    lapic->base = GUEST_LAPIC_BASE | BASE_ENABLED | (vcpu->mm.index ? 0 : BASE_BOOT_CPU);
    lapic->id = vcpu->mm.index << 24;
    lapic->expires = TIMER_NEVER;
    lapic->dfr = UINT32_MAX;
    lapic->svr = 0xff;
    for (unsigned i = 0; i < LAPIC_LVT_COUNT; i++)
        lapic->lvt[i] = LVT_MASKED;
    timer_init(&lapic->timer, timer_fire, vcpu);
}

static void timer_stop(struct lapic *lapic)
{
    lapic->expires = TIMER_NEVER;
    timer_cancel(&lapic->timer);
}

void dev_lapic_destroy(struct vcpu *vcpu)
{
    timer_stop(vm_lapic(vcpu));
}

/* Globally on. The page may not be moved, and x2APIC is not offered. */
bool dev_lapic_set_base(struct vcpu *vcpu, uint64_t value)
{
    struct lapic *lapic = vm_lapic(vcpu);
    if ((value ^ lapic->base) & ~BASE_ENABLED)
        return false;
    vm_lock(vcpu->vm);
    lapic->base = value;
    if (!(value & BASE_ENABLED))
        timer_stop(lapic);
    vm_unlock(vcpu->vm);
    vcpu->quiet = false;
    return true;
}

bool dev_lapic_is_enabled(const struct lapic *lapic)
{
    return lapic->base & BASE_ENABLED;
}

static bool is_software_enabled(const struct lapic *lapic)
{
    return dev_lapic_is_enabled(lapic) && (lapic->svr & SVR_ENABLED);
}

/* ---- sets of vectors ---------------------------------------------------------- */

/* Others set bits at the same time. */
static void set_bit(uint32_t set[8], unsigned vector, bool on)
{
    uint32_t bit = 1u << (vector & 31);
    if (on)
        __atomic_fetch_or(&set[vector / 32], bit, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(&set[vector / 32], ~bit, __ATOMIC_SEQ_CST);
}

static uint32_t word(const uint32_t set[8], unsigned index)
{
    return __atomic_load_n(&set[index], __ATOMIC_RELAXED);
}

static bool has_bit(const uint32_t set[8], unsigned vector)
{
    return word(set, vector / 32) >> (vector & 31) & 1;
}

/* Two words of a set at once. */
typedef uint64_t pair_t __attribute__((may_alias));

static int highest(const uint32_t set[8])
{
    const pair_t *pairs = (const pair_t *)set;
    uint64_t words[4];
    for (unsigned i = 0; i < 4; i++)
        words[i] = __atomic_load_n(&pairs[i], __ATOMIC_RELAXED);
    if (!(words[0] | words[1] | words[2] | words[3])) /* nearly always */
        return -1;
    int i = 3;
    while (!words[i])
        i--;
    return i * 64 + 63 - __builtin_clzll(words[i]);
}

static uint32_t processor_priority(const struct lapic *lapic)
{
    int in_service = highest(lapic->isr);
    uint32_t class = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
    return (lapic->tpr & 0xf0) >= class ? lapic->tpr & 0xff : class;
}

int dev_lapic_pending(const struct lapic *lapic)
{
    int requested = highest(lapic->irr);
    if (requested < 0 || !is_software_enabled(lapic))
        return -1;
    return ((uint32_t)requested & 0xf0) > (processor_priority(lapic) & 0xf0) ? requested : -1;
}

void dev_lapic_accept(struct lapic *lapic, uint8_t vector)
{
    set_bit(lapic->irr, vector, false);
    set_bit(lapic->isr, vector, true);
    lapic->interrupt_count++;
}

void dev_lapic_return(struct lapic *lapic, uint8_t vector)
{
    if (!has_bit(lapic->isr, vector))
        return;
    set_bit(lapic->isr, vector, false);
    set_bit(lapic->irr, vector, true);
    lapic->interrupt_count--;
}

void dev_lapic_request(struct vcpu *vcpu, uint8_t vector, bool level)
{
    struct lapic *lapic = vm_lapic(vcpu);
    if (vector < VECTOR_FIRST) {
        __atomic_fetch_or(&lapic->esr, LAPIC_ESR_RECEIVED_ILLEGAL, __ATOMIC_RELAXED);
        return;
    }
    if (!is_software_enabled(lapic))
        return;
    set_bit(lapic->tmr, vector, level);
    set_bit(lapic->irr, vector, true);
    sched_wake(vcpu);
}

bool dev_lapic_accepts(const struct lapic *lapic, uint8_t destination, bool logical)
{
    if (destination == 0xff)
        return true;
    if (!logical)
        return destination == lapic->id >> 24;
    uint8_t own = (uint8_t)(lapic->ldr >> 24);
    if (lapic->dfr >> 28 == 0xf) /* flat model */
        return own & destination;
    return own >> 4 == destination >> 4 && (own & destination & 0xf); /* cluster model */
}

static void end_of_interrupt(struct vcpu *vcpu)
{
    struct lapic *lapic = vm_lapic(vcpu);
    int vector = highest(lapic->isr);
    if (vector < 0)
        return;
    set_bit(lapic->isr, (unsigned)vector, false);
    if (has_bit(lapic->tmr, (unsigned)vector))
        dev_ioapic_eoi(vcpu->vm, (uint8_t)vector);
}

uint8_t dev_lapic_cr8(const struct lapic *lapic)
{
    return lapic->tpr >> 4 & 0xf;
}

void dev_lapic_set_cr8(struct lapic *lapic, uint8_t value)
{
    lapic->tpr = (uint32_t)(value & 0xf) << 4;
}

/* ---- timer -------------------------------------------------------------------- */

/* Divide configuration, bits 3, 1 and 0: 2, 4 ... 128, and 1 (figure 11-10). */
static unsigned timer_shift(const struct lapic *lapic)
{
    unsigned code = (lapic->divide & 3) | (lapic->divide >> 1 & 4);
    return code == 7 ? 0 : code + 1;
}

static uint64_t timer_ns(const struct lapic *lapic, uint64_t count)
{
    return (count << timer_shift(lapic)) * (1000000000u / GUEST_LAPIC_HZ);
}

static bool timer_is_periodic(const struct lapic *lapic)
{
    return lapic->lvt[LAPIC_LVT_TIMER] & LVT_PERIODIC;
}

static uint64_t timer_period(const struct lapic *lapic)
{
    uint64_t ns = timer_ns(lapic, lapic->initial_count);
    return timer_is_periodic(lapic) && ns < LAPIC_PERIOD_MIN_NS ? LAPIC_PERIOD_MIN_NS : ns;
}

static void timer_expect(struct lapic *lapic, uint64_t deadline)
{
    lapic->expires = deadline;
    timer_set(&lapic->timer, deadline);
}

static void timer_start(struct vcpu *vcpu)
{
    struct lapic *lapic = vm_lapic(vcpu);
    lapic->started_at = seam_now_ns(vcpu->vm);
    if (lapic->initial_count && dev_lapic_is_enabled(lapic))
        timer_expect(lapic, lapic->started_at + timer_period(lapic));
    else
        timer_stop(lapic);
}

static uint32_t timer_current(struct vcpu *vcpu)
{
    struct lapic *lapic = vm_lapic(vcpu);
    if (lapic->expires == TIMER_NEVER)
        return 0;
    uint64_t passed = (seam_now_ns(vcpu->vm) - lapic->started_at) / timer_ns(lapic, 1);
    return passed < lapic->initial_count ? lapic->initial_count - (uint32_t)passed : 0;
}

static void timer_expire(struct vcpu *vcpu, uint64_t now)
{
    struct lapic *lapic = vm_lapic(vcpu);
    uint32_t lvt = lapic->lvt[LAPIC_LVT_TIMER];
    lapic->expires = TIMER_NEVER;
    if (!(lvt & LVT_MASKED))
        dev_lapic_request(vcpu, (uint8_t)lvt, false);
    if (!timer_is_periodic(lapic))
        return;
    /* Keeps its phase; a guest that could not run loses the ticks in between. */
    uint64_t period = timer_period(lapic);
    uint64_t missed = (now - lapic->started_at) / period;
    lapic->started_at += (missed ? missed : 1) * period;
    timer_expect(lapic, lapic->started_at + period);
}

static void timer_fire(struct timer *timer, uint64_t now)
{
    struct vcpu *vcpu = timer->context;
    vm_lock(vcpu->vm);
    if (vm_is_running(vcpu->vm) && now >= vm_lapic(vcpu)->expires)
        timer_expire(vcpu, now);
    vm_unlock(vcpu->vm);
}

/* ---- registers ------------------------------------------------------------------- */

uint32_t dev_lapic_read(struct vcpu *vcpu, unsigned offset)
{
    struct lapic *lapic = vm_lapic(vcpu);
    if (offset >= REG_ISR && offset < REG_TMR)
        return word(lapic->isr, (offset - REG_ISR) / 16);
    if (offset >= REG_TMR && offset < REG_IRR)
        return word(lapic->tmr, (offset - REG_TMR) / 16);
    if (offset >= REG_IRR && offset < REG_ESR)
        return word(lapic->irr, (offset - REG_IRR) / 16);
    if (offset >= REG_LVT_TIMER && offset <= REG_LVT_ERROR)
        return lapic->lvt[(offset - REG_LVT_TIMER) / 16];
    switch (offset) {
    case REG_ID:
        return lapic->id;
    case REG_VERSION:
        return VERSION_VALUE;
    case REG_TPR:
        return lapic->tpr;
    case REG_PPR:
        return processor_priority(lapic);
    case REG_LDR:
        return lapic->ldr;
    case REG_DFR:
        return lapic->dfr;
    case REG_SVR:
        return lapic->svr;
    case REG_ESR:
        return lapic->esr;
    case REG_ICR_LOW:
        return lapic->icr_low;
    case REG_ICR_HIGH:
        return lapic->icr_high;
    case REG_INITIAL:
        return lapic->initial_count;
    case REG_CURRENT:
        return timer_current(vcpu);
    case REG_DIVIDE:
        return lapic->divide;
    }
    return 0;
}

static void lvt_write(struct vcpu *vcpu, unsigned index, uint32_t value)
{
    struct lapic *lapic = vm_lapic(vcpu);
    value &= index == LAPIC_LVT_TIMER ? TIMER_WRITABLE : LVT_WRITABLE;
    if (!(lapic->svr & SVR_ENABLED))
        value |= LVT_MASKED;
    lapic->lvt[index] = value;
}

static void svr_write(struct lapic *lapic, uint32_t value)
{
    lapic->svr = value & SVR_WRITABLE;
    for (unsigned i = 0; !(value & SVR_ENABLED) && i < LAPIC_LVT_COUNT; i++)
        lapic->lvt[i] |= LVT_MASKED;
}

void dev_lapic_write(struct vcpu *vcpu, unsigned offset, uint32_t value)
{
    struct lapic *lapic = vm_lapic(vcpu);
    if (offset >= REG_LVT_TIMER && offset <= REG_LVT_ERROR) {
        lvt_write(vcpu, (offset - REG_LVT_TIMER) / 16, value);
        return;
    }
    switch (offset) {
    case REG_TPR:
        lapic->tpr = value & 0xff;
        break;
    case REG_EOI:
        end_of_interrupt(vcpu);
        break;
    case REG_LDR:
        lapic->ldr = value & 0xff000000u;
        break;
    case REG_DFR:
        lapic->dfr = value | 0x0fffffffu;
        break;
    case REG_SVR:
        svr_write(lapic, value);
        break;
    case REG_ESR:
        lapic->esr = 0;
        break;
    case REG_ICR_LOW:
        lapic->icr_low = value & ICR_WRITABLE;
        dev_lapic_send(vcpu);
        break;
    case REG_ICR_HIGH:
        lapic->icr_high = value & 0xff000000u;
        break;
    case REG_INITIAL:
        lapic->initial_count = value;
        timer_start(vcpu);
        break;
    case REG_DIVIDE:
        lapic->divide = value & 0xb;
        break;
    }
}
