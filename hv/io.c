#include "hv/io.h"
#include "abi/machine.h"
#include "hv/decode.h"
#include "hv/dev_exit.h"
#include "hv/mmio.h"
#include "hv/vm.h"
#include "hv/walk.h"
#include "hv/x86.h"

static uint32_t read_console(struct vm *vm, uint16_t port, unsigned size)
{
    (void)size;
    return dev_uart_read(vm, port - GUEST_CONSOLE_PORT);
}

static void write_console(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    (void)size;
    dev_uart_write(vm, port - GUEST_CONSOLE_PORT, (uint8_t)value);
}

static uint32_t read_legacy(struct vm *vm, uint16_t port, unsigned size)
{
    (void)size;
    return dev_legacy_read(vm, port);
}

static void write_legacy(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    (void)size;
    dev_legacy_write(vm, port, (uint8_t)value);
}

/* Ranges of ports; an access that is wider than a device's registers goes to the
 * register it begins at. read NULL: all ones; write NULL: ignored. */
static const struct {
    uint16_t first, last;
    uint32_t (*read)(struct vm *vm, uint16_t port, unsigned size);
    void (*write)(struct vm *vm, uint16_t port, unsigned size, uint32_t value);
} ranges[] = {
    { 0x20, 0x21, read_legacy, write_legacy },
    { GUEST_CONSOLE_PORT, GUEST_CONSOLE_PORT + 7, read_console, write_console },
    { GUEST_EXIT_PORT, GUEST_REPORT_MISMATCHED_PORT, NULL, dev_exit_write },
    { 0x40, 0x43, read_legacy, write_legacy },
    { 0x61, 0x61, read_legacy, write_legacy },
    { 0x70, 0x71, read_legacy, write_legacy },
    { 0xa0, 0xa1, read_legacy, write_legacy },
    { 0x80, 0x80, NULL, NULL }, /* POST codes and delays */
};
#define RANGE_COUNT (sizeof(ranges) / sizeof(ranges[0]))

static unsigned range_find(struct vm *vm, uint16_t port)
{
    for (unsigned i = 0; i < RANGE_COUNT; i++)
        if (port >= ranges[i].first && port <= ranges[i].last)
            return i;
    __atomic_fetch_add(&vm->unknown_port_count, 1, __ATOMIC_RELAXED);
    return RANGE_COUNT;
}

static uint32_t size_mask(unsigned size)
{
    return size >= 4 ? UINT32_MAX : (1u << (8 * size)) - 1;
}

uint32_t io_read(struct vm *vm, uint16_t port, unsigned size)
{
    unsigned i = range_find(vm, port);
    if (i == RANGE_COUNT || !ranges[i].read)
        return size_mask(size);
    vm_lock(vm);
    uint32_t value = ranges[i].read(vm, port, size);
    vm_unlock(vm);
    return value & size_mask(size);
}

void io_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    unsigned i = range_find(vm, port);
    if (i == RANGE_COUNT || !ranges[i].write)
        return;
    vm_lock(vm);
    ranges[i].write(vm, port, size, value & size_mask(size));
    vm_unlock(vm);
}

/* ---- INS and OUTS -------------------------------------------------------------- */

struct string_io {
    enum vcpu_register pointer; /* RSI of OUTS, RDI of INS */
    uint64_t base, mask;        /* of the segment; of the address size */
    int64_t step;
    uint64_t left; /* elements; 1 without REP */
};

/* Adds to the part of a register that the address size covers. */
static void register_advance(struct vcpu *vcpu, enum vcpu_register reg, uint64_t mask, int64_t by)
{
    uint64_t value = (vcpu->regs[reg] + (uint64_t)by) & mask;
    /* A 32-bit result clears the upper half, a 16-bit one leaves it alone. */
    vcpu->regs[reg] = mask == 0xffff ? (vcpu->regs[reg] & ~mask) | value : value;
}

/* False: nothing to be done now (waiting, fault injected, or VM ended). */
static bool string_setup(struct vcpu *vcpu, struct string_io *s)
{
    struct decoded d;
    if (!mmio_fetch(vcpu, &d, true))
        return false;
    s->mask = d.address_size == 8 ? UINT64_MAX : d.address_size == 4 ? UINT32_MAX : 0xffff;
    s->pointer = vcpu->exit.write ? REG_RSI : REG_RDI;
    s->base = mmio_segment_base(vcpu, vcpu->exit.write ? d.segment : SEG_ES);
    bool down = vcpu_ops->get(vcpu, STATE_RFLAGS) >> 10 & 1;
    s->step = down ? -(int64_t)vcpu->exit.size : vcpu->exit.size;
    s->left = vcpu->exit.rep ? vcpu->regs[REG_RCX] & s->mask : 1;
    vcpu->exit.length = d.length;
    return true;
}

static bool string_element(struct vcpu *vcpu, struct string_io *s)
{
    uint64_t linear = s->base + (vcpu->regs[s->pointer] & s->mask);
    unsigned size = vcpu->exit.size;
    uint32_t value = 0;
    /* The memory operand is pinned first, so that nothing can make the instruction
     * start over once the device has seen it. */
    unsigned access = vcpu->exit.write ? MM_READ : MM_WRITE;
    struct walk_area area;
    struct walk_fault fault;
    enum walk_answer answer = walk_pin(vcpu, linear, size, access, &area, &fault);
    if (answer == WALK_DONE && vcpu->exit.write) {
        walk_move(&area, &value, access);
        walk_unpin(vcpu, &area);
        io_write(vcpu->vm, vcpu->exit.port, size, value);
    } else if (answer == WALK_DONE) {
        value = io_read(vcpu->vm, vcpu->exit.port, size);
        walk_move(&area, &value, access);
        walk_unpin(vcpu, &area);
    }
    return walk_settle(vcpu, answer, &fault);
}

static void io_string(struct vcpu *vcpu)
{
    struct string_io s;
    if (!string_setup(vcpu, &s))
        return;
    for (unsigned i = 0; i < IO_STRING_MAX && s.left; i++) {
        if (!string_element(vcpu, &s))
            return;
        register_advance(vcpu, s.pointer, s.mask, s.step);
        s.left--;
        if (vcpu->exit.rep)
            register_advance(vcpu, REG_RCX, s.mask, -1);
    }
    if (!s.left)
        vcpu_ops->skip(vcpu);
}

void io_handle(struct vcpu *vcpu)
{
    const struct vcpu_exit *e = &vcpu->exit;
    if (e->string) {
        io_string(vcpu);
        return;
    }
    uint64_t *rax = &vcpu->regs[REG_RAX];
    if (e->write) {
        io_write(vcpu->vm, e->port, e->size, (uint32_t)*rax);
    } else {
        uint32_t value = io_read(vcpu->vm, e->port, e->size);
        *rax = e->size == 4 ? value : (*rax & ~(uint64_t)size_mask(e->size)) | value;
    }
    vcpu_ops->skip(vcpu);
}
