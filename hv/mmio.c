#include "hv/mmio.h"
#include "abi/machine.h"
#include "hv/fetch.h"
#include "hv/vm.h"
#include "hv/walk.h"
#include "hv/x86.h"

#define RFLAGS_CF         (1ull << 0)
#define RFLAGS_PF         (1ull << 2)
#define RFLAGS_AF         (1ull << 4)
#define RFLAGS_ZF         (1ull << 6)
#define RFLAGS_SF         (1ull << 7)
#define RFLAGS_DF         (1ull << 10)
#define RFLAGS_OF         (1ull << 11)
#define RFLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

/* ---- devices -------------------------------------------------------------------- */

/* The APICs have 32-bit registers, aligned. Narrow reads give the bytes they
 * name; other accesses read as zero and are ignored. */
static uint64_t narrow(uint32_t value, unsigned offset, unsigned size)
{
    unsigned byte = offset & 3;
    return byte + size > 4 ? 0 : value >> (8 * byte) & size_mask(size);
}

static uint64_t device_read(struct vcpu *vcpu, uint64_t address, unsigned size)
{
    struct vm *vm = vcpu->vm;
    unsigned offset = (unsigned)(address & PAGE_MASK);
    uint64_t page = address & ~(uint64_t)PAGE_MASK;
    if (page == GUEST_LAPIC_BASE && dev_lapic_is_enabled(vm_lapic(vcpu)))
        return narrow(offset & 0xc ? 0 : dev_lapic_read(vcpu, offset & ~3u), offset, size);
    if (page == GUEST_IOAPIC_BASE)
        return narrow(dev_ioapic_read(vm, offset & ~3u), offset, size);
    if (page == GUEST_VIRTIO_BASE && offset < GUEST_VIRTIO_SIZE && vm->config->balloon)
        return dev_virtio_read(vm, offset, size);
    vm->unknown_mmio_count++;
    return size_mask(size);
}

static void device_write(struct vcpu *vcpu, uint64_t address, unsigned size, uint64_t value)
{
    struct vm *vm = vcpu->vm;
    unsigned offset = (unsigned)(address & PAGE_MASK);
    uint64_t page = address & ~(uint64_t)PAGE_MASK;
    bool word = size == 4 && !(offset & 3);
    if (page == GUEST_LAPIC_BASE && dev_lapic_is_enabled(vm_lapic(vcpu)) && word && !(offset & 0xc))
        dev_lapic_write(vcpu, offset, (uint32_t)value);
    else if (page == GUEST_IOAPIC_BASE && word)
        dev_ioapic_write(vm, offset, (uint32_t)value);
    else if (page == GUEST_VIRTIO_BASE && offset < GUEST_VIRTIO_SIZE && vm->config->balloon)
        dev_virtio_write(vm, offset, size, value);
    else
        vm->unknown_mmio_count++;
}

/* ---- the instruction ------------------------------------------------------------- */

uint64_t mmio_segment_base(struct vcpu *vcpu, unsigned segment)
{
    static const enum vcpu_state bases[] = {
        [SEG_ES] = STATE_ES_BASE, [SEG_CS] = STATE_CS_BASE, [SEG_SS] = STATE_SS_BASE,
        [SEG_DS] = STATE_DS_BASE, [SEG_FS] = STATE_FS_BASE, [SEG_GS] = STATE_GS_BASE,
    };
    if (fetch_mode(vcpu) == DECODE_64 && segment != SEG_FS && segment != SEG_GS)
        return 0;
    return vcpu_ops->get(vcpu, bases[segment]);
}

bool mmio_fetch(struct vcpu *vcpu, struct decoded *d, bool io)
{
    uint8_t bytes[DECODE_BYTES_MAX];
    unsigned size = 0;
    struct walk_fault fault;
    enum decode_mode mode = fetch_mode(vcpu);
    uint64_t rip = vcpu_ops->get(vcpu, STATE_RIP);
    if (!walk_settle(vcpu, fetch_bytes(vcpu, bytes, &size, &fault), &fault))
        return false;
    if (decode_instruction(bytes, size, mode, d) && (d->op == DECODE_STRING_IO) == io)
        return true;
    vm_end(vcpu->vm, VM_END_INSTRUCTION,
           "instruction not known for devices: %02x %02x %02x %02x %02x at 0x%llx, address 0x%llx",
           bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], (unsigned long long)rip,
           (unsigned long long)vcpu->exit.gpa.v);
    return false;
}

static uint64_t register_full(struct vcpu *vcpu, unsigned reg)
{
    return reg == REG_RSP ? vcpu_ops->get(vcpu, STATE_RSP) : vcpu->regs[reg];
}

static uint64_t register_read(struct vcpu *vcpu, const struct decoded *d)
{
    uint64_t value = register_full(vcpu, d->reg);
    return (d->high ? value >> 8 : value) & size_mask(d->register_size);
}

/* 32-bit results clear the upper half, narrower ones leave the rest alone. */
static void register_write(struct vcpu *vcpu, const struct decoded *d, uint64_t value)
{
    uint64_t old = register_full(vcpu, d->reg), mask = size_mask(d->register_size);
    unsigned shift = d->high ? 8 : 0;
    value =
        d->register_size == 4 ? value & mask : (old & ~(mask << shift)) | (value & mask) << shift;
    if (d->reg == REG_RSP)
        vcpu_ops->set(vcpu, STATE_RSP, value);
    else
        vcpu->regs[d->reg] = value;
}

uint64_t mmio_operand_address(struct vcpu *vcpu, const struct decoded *d)
{
    uint64_t address = (uint64_t)d->displacement;
    if (d->op == DECODE_STOS)
        address = vcpu->regs[REG_RDI];
    if (d->rip_relative)
        address += vcpu_ops->get(vcpu, STATE_RIP) + d->length;
    if (d->base != DECODE_NONE)
        address += register_full(vcpu, d->base);
    if (d->index != DECODE_NONE)
        address += register_full(vcpu, d->index) << d->scale;
    address &= size_mask(d->address_size);
    return address + mmio_segment_base(vcpu, d->op == DECODE_STOS ? SEG_ES : d->segment);
}

/* ---- carrying it out -------------------------------------------------------------- */

static uint64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned unused = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* SF, ZF and PF of a result; CF, OF and AF as given. */
static void flags_set(struct vcpu *vcpu, uint64_t result, unsigned size, uint64_t flags)
{
    uint64_t sign = 1ull << (8 * size - 1);
    if (!(result & size_mask(size)))
        flags |= RFLAGS_ZF;
    if (result & sign)
        flags |= RFLAGS_SF;
    if (!(__builtin_popcount((unsigned)(result & 0xff)) & 1))
        flags |= RFLAGS_PF;
    uint64_t old = vcpu_ops->get(vcpu, STATE_RFLAGS) & ~RFLAGS_ARITHMETIC;
    vcpu_ops->set(vcpu, STATE_RFLAGS, old | flags);
}

/* a op b in size bytes; sets the flags. */
static uint64_t arithmetic(struct vcpu *vcpu, unsigned op, uint64_t a, uint64_t b, unsigned size)
{
    uint64_t mask = size_mask(size), sign = 1ull << (8 * size - 1), result, flags = 0;
    a &= mask;
    b &= mask;
    switch (op) {
    case DECODE_ADD:
    case DECODE_INC:
        result = (a + b) & mask;
        flags |= result < a ? RFLAGS_CF : 0;
        flags |= (~(a ^ b) & (a ^ result) & sign) ? RFLAGS_OF : 0;
        flags |= (a ^ b ^ result) & RFLAGS_AF;
        break;
    case DECODE_SUB:
    case DECODE_CMP:
    case DECODE_DEC:
        result = (a - b) & mask;
        flags |= a < b ? RFLAGS_CF : 0;
        flags |= ((a ^ b) & (a ^ result) & sign) ? RFLAGS_OF : 0;
        flags |= (a ^ b ^ result) & RFLAGS_AF;
        break;
    case DECODE_OR:
        result = a | b;
        break;
    case DECODE_XOR:
        result = a ^ b;
        break;
    default: /* AND, TEST */
        result = a & b;
    }
    if (op == DECODE_INC || op == DECODE_DEC) /* these leave CF alone */
        flags = (flags & ~RFLAGS_CF) | (vcpu_ops->get(vcpu, STATE_RFLAGS) & RFLAGS_CF);
    flags_set(vcpu, result, size, flags);
    return result;
}

static bool reads_memory(const struct decoded *d)
{
    return !(d->to_memory && (d->op == DECODE_MOV || d->op == DECODE_STOS));
}

static bool writes_memory(const struct decoded *d)
{
    return d->op == DECODE_XCHG || (d->to_memory && d->op != DECODE_CMP && d->op != DECODE_TEST);
}

/* The value that results for the destination; memory is what was read. */
static uint64_t compute(struct vcpu *vcpu, const struct decoded *d, uint64_t memory)
{
    uint64_t other = d->immediate ? d->imm : register_read(vcpu, d);
    switch (d->op) {
    case DECODE_MOV:
        return d->to_memory ? other : memory;
    case DECODE_MOVZX:
        return memory;
    case DECODE_MOVSX:
        return sign_extend(memory, d->size);
    case DECODE_STOS:
    case DECODE_XCHG:
        return other;
    case DECODE_INC:
    case DECODE_DEC:
        other = 1;
        break;
    }
    if (d->to_memory)
        return arithmetic(vcpu, d->op, memory, other, d->size);
    return arithmetic(vcpu, d->op, other, memory, d->size);
}

/* After an element of STOS: true when the instruction is over. */
static bool stos_advance(struct vcpu *vcpu, const struct decoded *d)
{
    uint64_t mask = size_mask(d->address_size);
    bool down = vcpu_ops->get(vcpu, STATE_RFLAGS) & RFLAGS_DF;
    uint64_t next = (vcpu->regs[REG_RDI] + (down ? -(uint64_t)d->size : d->size)) & mask;
    vcpu->regs[REG_RDI] = d->address_size == 2 ? (vcpu->regs[REG_RDI] & ~mask) | next : next;
    if (!d->rep)
        return true;
    uint64_t left = (vcpu->regs[REG_RCX] - 1) & mask;
    vcpu->regs[REG_RCX] = d->address_size == 2 ? (vcpu->regs[REG_RCX] & ~mask) | left : left;
    return left == 0;
}

/* Read and written back in one go, as far as other vCPUs can see. */
static void carry_out(struct vcpu *vcpu, const struct decoded *d, uint64_t address, bool lost)
{
    uint64_t memory = 0;
    vm_lock(vcpu->vm);
    if (reads_memory(d))
        memory = lost ? size_mask(d->size) : device_read(vcpu, address, d->size);
    memory &= size_mask(d->size);
    uint64_t result = compute(vcpu, d, memory);
    if (writes_memory(d) && !lost)
        device_write(vcpu, address, d->size, result & size_mask(d->size));
    vm_unlock(vcpu->vm);
    if (d->op == DECODE_XCHG)
        register_write(vcpu, d, memory);
    else if (!d->to_memory && d->op != DECODE_CMP && d->op != DECODE_TEST)
        register_write(vcpu, d, result);
}

/* An access that straddles two pages, or whose address is not the one that
 * faulted, does not reach a device: it reads all ones, its write is lost. */
void mmio_emulate(struct vcpu *vcpu)
{
    struct decoded d;
    if (!mmio_fetch(vcpu, &d, false))
        return;
    if (d.op == DECODE_STOS)
        d.reg = REG_RAX;
    uint64_t linear = mmio_operand_address(vcpu, &d), address = vcpu->exit.gpa.v;
    bool lost =
        (linear & PAGE_MASK) != (address & PAGE_MASK) || (linear & PAGE_MASK) + d.size > PAGE_SIZE;
    vcpu->exit.length = d.length;
    carry_out(vcpu, &d, address, lost);
    if (d.op != DECODE_STOS || stos_advance(vcpu, &d))
        vcpu_ops->skip(vcpu);
}
