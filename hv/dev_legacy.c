#include "hv/dev_legacy.h"
#include "hv/vm.h"
#include "lib/string.h"

#define PIT_HZ 1193182ull
/* Control word of the 8254 (Intel 231164): access 0 latches the count, 1 low
 * byte, 2 high byte, 3 low byte then high byte. */
#define PIT_ACCESS_LATCH 0u
#define PIT_ACCESS_LOW   1u
#define PIT_ACCESS_HIGH  2u
#define PORT61_GATE      0x01u
#define PORT61_OUTPUT    0x20u
#define CMOS_STATUS_A    0x0au
#define CMOS_STATUS_B    0x0bu
#define CMOS_STATUS_D    0x0du

void dev_legacy_init(struct legacy *legacy)
{
    memset(legacy, 0, sizeof(*legacy));
    legacy->pic_mask[0] = legacy->pic_mask[1] = 0xff;
    for (unsigned i = 0; i < 3; i++)
        legacy->counters[i].access = 3;
}

/* ---- 8254 ------------------------------------------------------------------------ */

static uint64_t counter_ticks(struct vm *vm, const struct legacy_counter *c)
{
    uint64_t ns = seam_now_ns(vm) - c->started_at;
    return ns / 1000000000u * PIT_HZ + ns % 1000000000u * PIT_HZ / 1000000000u;
}

/* Counts down from the reload value (0 means 65536) and wraps. */
static uint16_t counter_value(struct vm *vm, const struct legacy_counter *c)
{
    uint64_t period = c->reload ? c->reload : 65536u, ticks = counter_ticks(vm, c);
    if (c->mode == 0 || c->mode == 1 || c->mode == 4)
        return (uint16_t)(period - ticks);
    return (uint16_t)(period - ticks % period);
}

/* The output of mode 0 is high once the count has run out. */
static bool counter_output(struct vm *vm, const struct legacy_counter *c)
{
    return counter_ticks(vm, c) >= (c->reload ? c->reload : 65536u);
}

static uint8_t counter_read(struct vm *vm, struct legacy_counter *c)
{
    uint16_t value = c->latched ? c->latch : counter_value(vm, c);
    bool high = c->access == PIT_ACCESS_HIGH || (c->access == 3 && c->high_next);
    if (c->access == 3)
        c->high_next = !c->high_next;
    if (c->access != 3 || !c->high_next)
        c->latched = false;
    return (uint8_t)(high ? value >> 8 : value);
}

static void counter_write(struct vm *vm, struct legacy_counter *c, uint8_t value)
{
    if (c->access == 3 && !c->write_high) {
        c->low = value;
        c->write_high = true;
        return;
    }
    c->write_high = false;
    if (c->access == PIT_ACCESS_LOW)
        c->reload = value;
    else if (c->access == PIT_ACCESS_HIGH)
        c->reload = (uint16_t)(value << 8);
    else
        c->reload = (uint16_t)(value << 8 | c->low);
    c->started_at = seam_now_ns(vm);
}

static void control_write(struct vm *vm, uint8_t value)
{
    unsigned which = value >> 6;
    if (which == 3)
        return; /* read-back: not offered */
    struct legacy_counter *c = &vm->legacy.counters[which];
    unsigned access = value >> 4 & 3;
    if (access == PIT_ACCESS_LATCH) {
        if (!c->latched)
            c->latch = counter_value(vm, c);
        c->latched = true;
        return;
    }
    c->access = (uint8_t)access;
    c->mode = value >> 1 & 7;
    c->high_next = c->write_high = c->latched = false;
}

/* ---- all of it -------------------------------------------------------------------- */

static uint8_t cmos_read(const struct legacy *legacy)
{
    switch (legacy->cmos_index & 0x7f) {
    case CMOS_STATUS_A:
        return 0x26; /* no update in progress */
    case CMOS_STATUS_B:
        return 0x02; /* 24 hours, BCD */
    case CMOS_STATUS_D:
        return 0x80; /* valid */
    case 0x07:
    case 0x08:
        return 0x01; /* first of January */
    case 0x32:
        return 0x20; /* century */
    }
    return 0;
}

uint8_t dev_legacy_read(struct vm *vm, uint16_t port)
{
    struct legacy *legacy = &vm->legacy;
    switch (port) {
    case 0x21:
        return legacy->pic_mask[0];
    case 0xa1:
        return legacy->pic_mask[1];
    case 0x40:
    case 0x41:
    case 0x42:
        return counter_read(vm, &legacy->counters[port - 0x40]);
    case 0x61:
        return (uint8_t)((legacy->port61 & 0x0f) |
                         (counter_output(vm, &legacy->counters[2]) ? PORT61_OUTPUT : 0));
    case 0x71:
        return cmos_read(legacy);
    case 0x20:
    case 0xa0:
        return 0; /* nothing requested, nothing in service */
    }
    return 0xff;
}

void dev_legacy_write(struct vm *vm, uint16_t port, uint8_t value)
{
    struct legacy *legacy = &vm->legacy;
    switch (port) {
    case 0x21:
        legacy->pic_mask[0] = value;
        break;
    case 0xa1:
        legacy->pic_mask[1] = value;
        break;
    case 0x40:
    case 0x41:
    case 0x42:
        counter_write(vm, &legacy->counters[port - 0x40], value);
        break;
    case 0x43:
        control_write(vm, value);
        break;
    case 0x61:
        if (value & ~legacy->port61 & PORT61_GATE) /* the gate of counter 2 opens */
            legacy->counters[2].started_at = seam_now_ns(vm);
        legacy->port61 = value & 0x0f;
        break;
    case 0x70:
        legacy->cmos_index = value;
        break;
    }
}
