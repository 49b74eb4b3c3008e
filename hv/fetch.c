#include "hv/fetch.h"
#include "hv/vcpu.h"
#include "hv/x86.h"
#include "lib/string.h"

#define CS_ATTR_LONG    (1u << 13)
#define CS_ATTR_DEFAULT (1u << 14)

enum decode_mode fetch_mode(struct vcpu *vcpu)
{
    uint64_t attributes = vcpu_ops->get(vcpu, STATE_CS_ATTR);
    if ((vcpu_ops->get(vcpu, STATE_EFER) & EFER_LMA) && (attributes & CS_ATTR_LONG))
        return DECODE_64;
    if (!(vcpu_ops->get(vcpu, STATE_CR0) & CR0_PE))
        return DECODE_16;
    return attributes & CS_ATTR_DEFAULT ? DECODE_32 : DECODE_16;
}

static enum walk_answer fetch_linear(struct vcpu *vcpu, uint64_t linear, uint8_t *bytes,
                                     unsigned *size, struct walk_fault *fault)
{
    unsigned room = PAGE_SIZE - (unsigned)(linear & PAGE_MASK);
    *size = room < DECODE_BYTES_MAX ? room : DECODE_BYTES_MAX;
    enum walk_answer answer = walk_peek(vcpu, linear, bytes, *size, MM_EXEC, fault);
    if (answer != WALK_DONE || *size == DECODE_BYTES_MAX)
        return answer;
    answer =
        walk_peek(vcpu, linear + *size, bytes + *size, DECODE_BYTES_MAX - *size, MM_EXEC, fault);
    if (answer == WALK_DONE)
        *size = DECODE_BYTES_MAX;
    return answer == WALK_FAULT ? WALK_DONE : answer;
}

enum walk_answer fetch_bytes(struct vcpu *vcpu, uint8_t *bytes, unsigned *size,
                             struct walk_fault *fault)
{
    uint64_t rip = vcpu_ops->get(vcpu, STATE_RIP);
    if (vcpu->exit.byte_count == DECODE_BYTES_MAX) {
        memcpy(bytes, vcpu->exit.bytes, DECODE_BYTES_MAX);
        *size = DECODE_BYTES_MAX;
        return WALK_DONE;
    }
    uint64_t base = fetch_mode(vcpu) == DECODE_64 ? 0 : vcpu_ops->get(vcpu, STATE_CS_BASE);
    return fetch_linear(vcpu, base + rip, bytes, size, fault);
}
