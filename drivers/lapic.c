/* Local APIC, see lapic.h. */
#include "drivers/lapic.h"

#include "drivers/port.h"

#define MSR_APIC_BASE 0x1b
#define BASE_X2APIC   (1ull << 10)
#define BASE_ENABLE   (1ull << 11)
#define BASE_ADDRESS  0x000ffffffffff000ull
#define MSR_X2APIC    0x800 /* plus register offset / 16 */

/* SDM volume 3, table 11-1. */
#define REG_ID          0x020
#define REG_PRIORITY    0x080
#define REG_EOI         0x0b0
#define REG_SPURIOUS    0x0f0
#define REG_IN_SERVICE  0x100 /* eight registers, 0x10 apart */
#define REG_ERROR       0x280
#define REG_COMMAND     0x300
#define REG_TARGET      0x310 /* the upper half of the command */
#define REG_LVT_TIMER   0x320
#define REG_LVT_THERMAL 0x330
#define REG_LVT_COUNTER 0x340
#define REG_LVT_LINT0   0x350
#define REG_LVT_ERROR   0x370
#define REG_VERSION     0x030
#define REG_TIMER_START 0x380
#define REG_TIMER_LEFT  0x390
#define REG_TIMER_DIV   0x3e0

#define SPURIOUS_ENABLE 0x100u
#define LVT_MASKED      0x10000u
/* Interrupt command (figure 11-12). */
#define COMMAND_NMI     0x0400u
#define COMMAND_INIT    0x0500u
#define COMMAND_STARTUP 0x0600u
#define COMMAND_BUSY    0x1000u
#define COMMAND_ASSERT  0x4000u
#define COMMAND_OTHERS  0xc0000u
#define BUSY_TRIES      1000000u
#define DIVIDE_BY_1     0xbu

static bool x2apic;
static volatile void *registers;

static uint32_t reg_read(unsigned reg)
{
    return x2apic ? (uint32_t)msr_read(MSR_X2APIC + reg / 16) : mmio_read32(registers, reg);
}

static void reg_write(unsigned reg, uint32_t value)
{
    if (x2apic)
        msr_write(MSR_X2APIC + reg / 16, value);
    else
        mmio_write32(registers, reg, value);
}

static bool cpu_has_apic(void)
{
    uint32_t a = 1, b, c, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return (d & (1u << 9)) != 0;
}

/* Sources whose handlers went with the firmware. The number of local vectors is
 * in the version register: not every APIC has the thermal and counter ones. */
static void mask_sources(void)
{
    unsigned last = reg_read(REG_VERSION) >> 16 & 0xff;
    reg_write(REG_LVT_TIMER, LVT_MASKED);
    reg_write(REG_LVT_LINT0, LVT_MASKED);
    reg_write(REG_LVT_ERROR, LVT_MASKED);
    if (last >= 4)
        reg_write(REG_LVT_COUNTER, LVT_MASKED);
    if (last >= 5)
        reg_write(REG_LVT_THERMAL, LVT_MASKED);
}

static void acknowledge_leftovers(void)
{
    for (unsigned i = 0; i < 8; i++)
        for (unsigned tries = 0; reg_read(REG_IN_SERVICE + 16 * i) && tries < 32; tries++)
            lapic_acknowledge();
}

static void sources_settle(uint8_t spurious_vector)
{
    mask_sources();
    reg_write(REG_PRIORITY, 0);
    reg_write(REG_SPURIOUS, SPURIOUS_ENABLE | spurious_vector);
    reg_write(REG_ERROR, 0);
    acknowledge_leftovers();
}

bool lapic_init(uint64_t address, uint8_t spurious_vector, void *(*map)(hpa_t address, size_t size))
{
    if (!cpu_has_apic())
        return false;
    uint64_t base = msr_read(MSR_APIC_BASE);
    if (!(base & BASE_ENABLE))
        msr_write(MSR_APIC_BASE, base |= BASE_ENABLE);
    x2apic = (base & BASE_X2APIC) != 0;
    /* The CPU's register says where its APIC is; tables are second-hand. */
    if (base & BASE_ADDRESS)
        address = base & BASE_ADDRESS;
    if (!x2apic && !(registers = map(hpa(address), PAGE_SIZE)))
        return false;
    sources_settle(spurious_vector);
    return true;
}

bool lapic_join(uint8_t spurious_vector)
{
    if (!cpu_has_apic())
        return false;
    uint64_t base = msr_read(MSR_APIC_BASE), wanted = base | BASE_ENABLE;
    if (x2apic)
        wanted |= BASE_X2APIC;
    if (wanted != base)
        msr_write(MSR_APIC_BASE, wanted);
    sources_settle(spurious_vector);
    return true;
}

uint32_t lapic_id(void)
{
    return x2apic ? reg_read(REG_ID) : reg_read(REG_ID) >> 24;
}

void lapic_acknowledge(void)
{
    reg_write(REG_EOI, 0);
}

void lapic_timer_start(uint32_t count, uint8_t vector)
{
    reg_write(REG_LVT_TIMER, vector ? vector : LVT_MASKED);
    reg_write(REG_TIMER_DIV, DIVIDE_BY_1);
    reg_write(REG_TIMER_START, count);
}

uint32_t lapic_timer_left(void)
{
    return reg_read(REG_TIMER_LEFT);
}

static void command_send(uint32_t id, uint32_t command)
{
    command |= COMMAND_ASSERT | (id == LAPIC_ALL_OTHERS ? COMMAND_OTHERS : 0);
    if (x2apic) {
        msr_write(MSR_X2APIC + REG_COMMAND / 16, (uint64_t)id << 32 | command);
        return;
    }
    for (unsigned i = 0; i < BUSY_TRIES && (reg_read(REG_COMMAND) & COMMAND_BUSY); i++)
        __builtin_ia32_pause();
    reg_write(REG_TARGET, id << 24);
    reg_write(REG_COMMAND, command);
}

void lapic_send_interrupt(uint32_t id, uint8_t vector)
{
    command_send(id, vector);
}

void lapic_send_nmi(uint32_t id)
{
    command_send(id, COMMAND_NMI);
}

void lapic_send_init(uint32_t id)
{
    command_send(id, COMMAND_INIT);
}

void lapic_send_startup(uint32_t id, uint8_t page)
{
    command_send(id, COMMAND_STARTUP | page);
}
