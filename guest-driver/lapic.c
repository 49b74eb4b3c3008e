/*
 * Local APIC in xAPIC mode. Source: Intel SDM volume 3A, chapter 10 (register
 * map table 10-1, timer 10.5.4); crystal frequency: CPUID leaf 15H, volume 2A.
 */
#include "guest-driver/lapic.h"

#include "abi/machine.h"
#include "guest-driver/cpu.h"
#include "guest-driver/interrupts.h"

#define LAPIC_ID            0x020
#define LAPIC_TPR           0x080
#define LAPIC_EOI           0x0b0
#define LAPIC_SPURIOUS      0x0f0
#define LAPIC_LVT_TIMER     0x320
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_DIVIDE  0x3e0

#define SPURIOUS_ENABLE    (1u << 8)
#define TIMER_PERIODIC     (1u << 17)
#define TIMER_DIVIDE_BY_16 0x3u

/* Where CPUID does not say it: the rate QEMU and KVM give their APIC timers. */
#define DEFAULT_TIMER_HZ 1000000000u

/* Interrupt mask registers of the two 8259s (Intel 8259A data sheet, OCW1). Some
 * firmware leaves the timer running through them. */
#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK  0xa1

static volatile uint64_t tick_count;

static void lapic_write(uint32_t reg, uint32_t value)
{
    mmio_write32(GUEST_LAPIC_BASE + reg, value);
}

static uint32_t timer_hz(void)
{
    if (cpu_cpuid(0, 0).eax < 0x15)
        return DEFAULT_TIMER_HZ;
    uint32_t crystal = cpu_cpuid(0x15, 0).ecx;
    return crystal ? crystal : DEFAULT_TIMER_HZ;
}

static void lapic_tick(void)
{
    tick_count++;
}

void lapic_init(void)
{
    port_write8(PIC_MASTER_MASK, 0xff);
    port_write8(PIC_SLAVE_MASK, 0xff);
    interrupts_set_handler(VECTOR_TIMER, lapic_tick);
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    lapic_write(LAPIC_TIMER_DIVIDE, TIMER_DIVIDE_BY_16);
    lapic_write(LAPIC_LVT_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, timer_hz() / 16 / TICKS_PER_SECOND);
}

void lapic_end_of_interrupt(void)
{
    lapic_write(LAPIC_EOI, 0);
}

uint32_t lapic_id(void)
{
    return mmio_read32(GUEST_LAPIC_BASE + LAPIC_ID) >> 24;
}

uint64_t lapic_ticks(void)
{
    return tick_count;
}
