/*
 * Interrupts of the host, see irq.h: vectors, the IOAPICs, what was recorded.
 *
 * Recorded vectors are one bit each: an interrupt says "look at the device", and
 * saying it twice before anybody looked is saying it once, so nothing overflows.
 *
 * Edge: acknowledged when recorded. Level: the line stays up until the device is
 * served, and an early acknowledgement would bring it back at once, for ever; so
 * it is acknowledged after the vector was taken and served, which is when
 * irq_take() is called the next time.
 */
#include "drivers/irq.h"

#include "drivers/acpi.h"
#include "drivers/clock.h"
#include "drivers/lapic.h"
#include "drivers/port.h"
#include "lib/log.h"

/* 82093AA: two registers reach all others. */
#define IOAPIC_SELECT       0x00
#define IOAPIC_WINDOW       0x10
#define IOAPIC_BYTES        0x20
#define REG_VERSION         1
#define REG_REDIRECT(n)     (0x10 + 2 * (n))
#define REDIRECT_LOW_ACTIVE (1u << 13)
#define REDIRECT_LEVEL      (1u << 15)
#define REDIRECT_MASKED     (1u << 16)

/* 8259A: initialised to vectors nobody uses, then masked. */
#define PIC_FIRST_COMMAND  0x20
#define PIC_FIRST_DATA     0x21
#define PIC_SECOND_COMMAND 0xa0
#define PIC_SECOND_DATA    0xa1
#define PIC_UNUSED_VECTOR  0x20

#define ROUTE_MAX   32
#define GSI_MESSAGE UINT32_MAX /* no line: a message */

/* Messages (SDM volume 3, 11.11): fixed delivery, edge, to one physical APIC. */
#define MESSAGE_ADDRESS   0xfee00000u
#define MESSAGE_TARGET(n) ((uint64_t)(n) << 12)
#define MESSAGE_APIC_MAX  254u

#define NS_PER_S 1000000000ull
/* Longer waits come in pieces. Keeps ns times frequency within 64 bits. */
#define TIMER_NS_MAX (60 * NS_PER_S)

struct ioapic {
    volatile void *registers;
    uint32_t gsi_base, input_count;
};

struct route {
    uint32_t gsi;
    bool level;
};

static struct ioapic ioapics[ACPI_IOAPIC_MAX];
static unsigned ioapic_count;
static struct route routes[ROUTE_MAX]; /* vector IRQ_VECTOR_FIRST + index */
static unsigned route_count;
static uint64_t recorded[4];    /* one bit for each vector */
static unsigned unacknowledged; /* level interrupts taken, being served */

static uint32_t ioapic_read(struct ioapic *ioapic, unsigned reg)
{
    mmio_write32(ioapic->registers, IOAPIC_SELECT, reg);
    return mmio_read32(ioapic->registers, IOAPIC_WINDOW);
}

static void ioapic_write(struct ioapic *ioapic, unsigned reg, uint32_t value)
{
    mmio_write32(ioapic->registers, IOAPIC_SELECT, reg);
    mmio_write32(ioapic->registers, IOAPIC_WINDOW, value);
}

static void ioapic_add(const struct acpi_ioapic *source, void *(*map)(hpa_t, size_t))
{
    struct ioapic *ioapic = &ioapics[ioapic_count];
    ioapic->registers = map(hpa(source->address), IOAPIC_BYTES);
    if (!ioapic->registers)
        return;
    uint32_t version = ioapic_read(ioapic, REG_VERSION);
    if (version == UINT32_MAX)
        return; /* nothing answers there */
    ioapic->gsi_base = source->gsi_base;
    ioapic->input_count = (version >> 16 & 0xff) + 1;
    for (unsigned i = 0; i < ioapic->input_count; i++)
        ioapic_write(ioapic, REG_REDIRECT(i), REDIRECT_MASKED);
    ioapic_count++;
}

static void pic_silence(void)
{
    port_write8(PIC_FIRST_COMMAND, 0x11); /* ICW1: edge, cascade, ICW4 follows */
    port_write8(PIC_SECOND_COMMAND, 0x11);
    port_write8(PIC_FIRST_DATA, PIC_UNUSED_VECTOR);
    port_write8(PIC_SECOND_DATA, PIC_UNUSED_VECTOR + 8);
    port_write8(PIC_FIRST_DATA, 4); /* ICW3: the second one is at line 2 */
    port_write8(PIC_SECOND_DATA, 2);
    port_write8(PIC_FIRST_DATA, 1); /* ICW4: 8086 mode */
    port_write8(PIC_SECOND_DATA, 1);
    port_write8(PIC_FIRST_DATA, 0xff);
    port_write8(PIC_SECOND_DATA, 0xff);
}

bool irq_init(hpa_t rsdp, void *(*map)(hpa_t address, size_t size))
{
    acpi_init(rsdp, map);
    const struct acpi_info *acpi = acpi_info();
    pic_silence();
    if (!lapic_init(acpi->lapic, IRQ_VECTOR_SPURIOUS, map)) {
        log_error("irq: this CPU has no usable local APIC");
        return false;
    }
    for (unsigned i = 0; i < acpi->ioapic_count; i++)
        ioapic_add(&acpi->ioapics[i], map);
    if (!ioapic_count) {
        log_error("irq: no IOAPIC answers");
        return false;
    }
    log_info("irq: local APIC %u, %u IOAPIC%s with %u inputs, from %s", lapic_id(), ioapic_count,
             ioapic_count == 1 ? "" : "s", ioapics[0].input_count,
             acpi->tables ? "ACPI" : "the defaults of a PC (no ACPI tables)");
    return true;
}

static struct ioapic *ioapic_of(uint32_t gsi)
{
    for (unsigned i = 0; i < ioapic_count; i++)
        if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].input_count)
            return &ioapics[i];
    return NULL;
}

/* A line that is routed already keeps its vector: PCI devices share lines. */
static uint8_t route(uint32_t gsi, bool active_low, bool level)
{
    for (unsigned i = 0; i < route_count; i++)
        if (routes[i].gsi == gsi)
            return (uint8_t)(IRQ_VECTOR_FIRST + i);
    struct ioapic *ioapic = ioapic_of(gsi);
    if (!ioapic || route_count == ROUTE_MAX)
        return 0;
    uint8_t vector = (uint8_t)(IRQ_VECTOR_FIRST + route_count);
    unsigned input = gsi - ioapic->gsi_base;
    routes[route_count++] = (struct route){ .gsi = gsi, .level = level };
    ioapic_write(ioapic, REG_REDIRECT(input) + 1, lapic_id() << 24);
    ioapic_write(ioapic, REG_REDIRECT(input),
                 vector | (active_low ? REDIRECT_LOW_ACTIVE : 0) | (level ? REDIRECT_LEVEL : 0));
    return vector;
}

uint8_t irq_route_isa(unsigned line)
{
    if (line >= ACPI_ISA_LINES)
        return 0;
    const struct acpi_isa_line *isa = &acpi_info()->isa[line];
    return route(isa->gsi, isa->active_low, isa->level);
}

uint8_t irq_route_pci(unsigned line)
{
    uint32_t gsi = line < ACPI_ISA_LINES ? acpi_info()->isa[line].gsi : line;
    return route(gsi, true, true);
}

uint8_t irq_route_message(uint64_t *address, uint32_t *data)
{
    if (route_count == ROUTE_MAX || lapic_id() > MESSAGE_APIC_MAX)
        return 0;
    uint8_t vector = (uint8_t)(IRQ_VECTOR_FIRST + route_count);
    routes[route_count++] = (struct route){ .gsi = GSI_MESSAGE };
    *address = MESSAGE_ADDRESS | MESSAGE_TARGET(lapic_id());
    *data = vector;
    return vector;
}

void irq_mask(uint8_t vector)
{
    unsigned index = (unsigned)vector - IRQ_VECTOR_FIRST;
    if (vector < IRQ_VECTOR_FIRST || index >= route_count)
        return;
    struct ioapic *ioapic = ioapic_of(routes[index].gsi);
    if (ioapic)
        ioapic_write(ioapic, REG_REDIRECT(routes[index].gsi - ioapic->gsi_base), REDIRECT_MASKED);
}

static bool is_level(uint8_t vector)
{
    unsigned index = (unsigned)vector - IRQ_VECTOR_FIRST;
    return vector >= IRQ_VECTOR_FIRST && index < route_count && routes[index].level;
}

void irq_record(uint8_t vector)
{
    if (vector == IRQ_VECTOR_SPURIOUS || vector < IRQ_VECTOR_FIRST)
        return; /* nothing is in service: no acknowledgement (11.9) */
    __atomic_or_fetch(&recorded[vector / 64], 1ull << (vector % 64), __ATOMIC_RELAXED);
    if (!is_level(vector))
        lapic_acknowledge();
}

bool irq_take(uint8_t *vector)
{
    for (; unacknowledged; unacknowledged--)
        lapic_acknowledge();
    for (unsigned i = 0; i < 4; i++) {
        uint64_t bits = __atomic_load_n(&recorded[i], __ATOMIC_RELAXED);
        if (!bits)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(bits);
        __atomic_and_fetch(&recorded[i], ~(1ull << bit), __ATOMIC_RELAXED);
        *vector = (uint8_t)(i * 64 + bit);
        unacknowledged += is_level(*vector);
        return true;
    }
    return false;
}

void irq_timer_arm(uint64_t ns)
{
    if (ns == 0) {
        lapic_timer_start(0, 0);
        return;
    }
    if (ns > TIMER_NS_MAX)
        ns = TIMER_NS_MAX;
    /* Rounded up: an interrupt that comes early finds nothing due. */
    uint64_t hz = clock_lapic_hz();
    uint64_t count = ns / NS_PER_S * hz + ns % NS_PER_S * hz / NS_PER_S + 1;
    lapic_timer_start(count > UINT32_MAX ? UINT32_MAX : (uint32_t)count, IRQ_VECTOR_TIMER);
}
