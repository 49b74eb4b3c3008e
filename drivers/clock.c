/*
 * Time, see clock.h. One calibration at boot: the TSC and the local APIC timer
 * run against a clock of known frequency, the ACPI PM timer (3.579545 MHz, ACPI
 * 6.4, 4.8.3.3) where there is one that moves, else PIT channel 2 (1.193182 MHz,
 * 8254 data sheet). All waits are bounded. Read-only afterwards, no locks.
 */
#include "drivers/clock.h"

#include "drivers/acpi.h"
#include "drivers/lapic.h"
#include "drivers/port.h"
#include "lib/log.h"

#define NS_PER_S     1000000000ull
#define PM_TIMER_HZ  3579545ull
#define PIT_HZ       1193182ull
#define CALIBRATE_MS 20

#define PIT_COMMAND    0x43
#define PIT_CHANNEL_2  0x42
#define PIT_ONE_SHOT_2 0xb0 /* channel 2, both bytes, mode 0, binary */
#define SPEAKER        0x61
#define SPEAKER_GATE   0x01
#define SPEAKER_ON     0x02
#define SPEAKER_OUT_2  0x20

/* Reads of a clock that does not move before it is given up. */
#define READS_MAX 50000000u
/* What is assumed when no clock moves at all: wrong, but everything ends. */
#define FALLBACK_HZ 1000000000ull

static uint64_t tsc_hz = FALLBACK_HZ, lapic_hz = FALLBACK_HZ, tsc_start;
static uint64_t ns_per_tsc_32; /* ns for each tick, 32 bits of fraction */

/* One measurement: what the two counters did while `ticks` of a clock of `hz`
 * went by. */
struct measurement {
    uint64_t hz, ticks, tsc;
    uint32_t lapic;
};

static void counters_start(struct measurement *m)
{
    lapic_timer_start(UINT32_MAX, 0);
    m->tsc = tsc_read();
}

static void counters_stop(struct measurement *m)
{
    m->tsc = tsc_read() - m->tsc;
    m->lapic = UINT32_MAX - lapic_timer_left();
    lapic_timer_start(0, 0);
}

static bool measure_pm_timer(struct measurement *m)
{
    const struct acpi_info *acpi = acpi_info();
    uint32_t mask = acpi->pm_timer_32 ? UINT32_MAX : 0xffffff;
    if (!acpi->pm_timer_port)
        return false;
    m->hz = PM_TIMER_HZ;
    uint32_t start = port_read32(acpi->pm_timer_port) & mask;
    counters_start(m);
    for (unsigned i = 0; i < READS_MAX; i++) {
        m->ticks = (port_read32(acpi->pm_timer_port) - start) & mask;
        if (m->ticks >= PM_TIMER_HZ * CALIBRATE_MS / 1000)
            break;
        if (i == 1000 && m->ticks == 0)
            return false;
    }
    counters_stop(m);
    return m->ticks >= PM_TIMER_HZ * CALIBRATE_MS / 1000 && m->ticks < mask / 2;
}

static bool measure_pit(struct measurement *m)
{
    uint8_t speaker = port_read8(SPEAKER) & 0x0f;
    m->hz = PIT_HZ;
    m->ticks = PIT_HZ * CALIBRATE_MS / 1000;
    port_write8(SPEAKER, (uint8_t)((speaker & ~SPEAKER_ON) | SPEAKER_GATE));
    port_write8(PIT_COMMAND, PIT_ONE_SHOT_2);
    port_write8(PIT_CHANNEL_2, m->ticks & 0xff);
    port_write8(PIT_CHANNEL_2, (uint8_t)(m->ticks >> 8));
    counters_start(m);
    unsigned i = 0;
    while (i < READS_MAX && !(port_read8(SPEAKER) & SPEAKER_OUT_2))
        i++;
    counters_stop(m);
    port_write8(SPEAKER, speaker);
    return i > 0 && i < READS_MAX;
}

void clock_init(void)
{
    struct measurement m = { 0 };
    const char *source = "PM timer";
    bool measured = measure_pm_timer(&m);
    if (!measured) {
        source = "PIT";
        measured = measure_pit(&m);
    }
    /* Within 64 bits: 20 ms of a 100 GHz counter times 3.6 MHz is 7e15. */
    if (measured && m.tsc && m.lapic) {
        tsc_hz = m.tsc * m.hz / m.ticks;
        lapic_hz = (uint64_t)m.lapic * m.hz / m.ticks;
    } else {
        log_warn("clock: neither PM timer nor PIT moves; times will be wrong");
    }
    ns_per_tsc_32 = (NS_PER_S << 32) / tsc_hz;
    tsc_start = tsc_read();
    log_info("clock: TSC %u kHz, local APIC timer %u kHz, measured against the %s",
             (unsigned)(tsc_hz / 1000), (unsigned)(lapic_hz / 1000), source);
}

uint64_t clock_tsc_hz(void)
{
    return tsc_hz;
}

uint64_t clock_lapic_hz(void)
{
    return lapic_hz;
}

uint64_t clock_now_ns(void)
{
    return (uint64_t)(((unsigned __int128)(tsc_read() - tsc_start) * ns_per_tsc_32) >> 32);
}

