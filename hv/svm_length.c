/*
 * How long the instruction is that exited, where the processor does not tell (NRIP):
 * it is fetched through the guest's page tables and decoded.
 *
 * That takes longer than most exits, and guests execute the same few instructions
 * again and again, so the last findings are kept together with everything they were
 * computed from: registers, entries of the guest's tables, bytes of the code. When
 * all of it is still the same, so is the length. The places of entries and code are
 * those of hv/peek.h, with its rule.
 */
#include "hv/fetch.h"
#include "hv/svm_vcpu.h"
#include "hv/vm.h"
#include "lib/string.h"

typedef uint64_t word_t __attribute__((aligned(1), may_alias));
#define SECOND_WORD (DECODE_BYTES_MAX - sizeof(word_t)) /* overlaps the first */

static uint64_t word_at(const void *place)
{
    return *(const volatile word_t *)place;
}

static uint64_t generation_now(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->vm->flush_generation, __ATOMIC_ACQUIRE);
}

static struct svm_memo *memo_of(struct vcpu *vcpu)
{
    struct svm *svm = vcpu->vendor;
    return &svm->memos[svm->vmcb->rip / 2 % SVM_MEMOS];
}

static bool same_registers(const struct svm_memo *memo, const struct vmcb *vmcb)
{
    return !((memo->rip ^ vmcb->rip) | (memo->cs_base ^ vmcb->cs.base) | (memo->cr0 ^ vmcb->cr0) |
             (memo->cr3 ^ vmcb->cr3) | (memo->cr4 ^ vmcb->cr4) | (memo->efer ^ vmcb->efer) |
             (uint64_t)(memo->cs_attributes ^ vmcb->cs.attributes) |
             (uint64_t)(memo->cpl ^ vmcb->cpl));
}

static bool same_memory(const struct svm_memo *memo)
{
    uint64_t differs = (word_at(memo->code) ^ memo->words[0]) |
                       (word_at(memo->code + SECOND_WORD) ^ memo->words[1]);
    for (unsigned i = 0; i < memo->levels; i++)
        differs |= word_at(memo->slots[i]) ^ memo->entries[i];
    return !differs;
}

/* 0: not known, or not any more. */
static uint8_t length_remembered(struct vcpu *vcpu, uint32_t opcode)
{
    const struct svm_memo *memo = memo_of(vcpu);
    if (memo->opcode != opcode || memo->generation != generation_now(vcpu) ||
        !same_registers(memo, svm_vmcb(vcpu)) || !same_memory(memo))
        return 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return memo->generation == generation_now(vcpu) ? memo->length : 0;
}

static bool is_in_one_page(const struct vmcb *vmcb)
{
    return ((vmcb->cs.base + vmcb->rip) & PAGE_MASK) <= PAGE_SIZE - DECODE_BYTES_MAX &&
           (vmcb->rip & PAGE_MASK) <= PAGE_SIZE - DECODE_BYTES_MAX;
}

/* The walk just made is the code's: false when some of it is not remembered. */
static bool places_take(struct vcpu *vcpu, struct svm_memo *memo)
{
    const struct walk_path *path = &vcpu->path;
    memo->code = peek_place(vcpu, path->page);
    memo->levels = path->count;
    for (unsigned i = 0; i < path->count; i++) {
        memo->slots[i] = peek_place(vcpu, path->at[i]);
        memo->entries[i] = path->entries[i];
        if (!memo->slots[i])
            return false;
    }
    return memo->code && path->is_complete;
}

static void length_remember(struct vcpu *vcpu, const struct decoded_system *d, const uint8_t *bytes)
{
    struct svm_memo *memo = memo_of(vcpu);
    const struct vmcb *vmcb = svm_vmcb(vcpu);
    *memo = (struct svm_memo){
        .generation = vcpu->peek.generation,
        .rip = vmcb->rip,
        .cs_base = vmcb->cs.base,
        .cr0 = vmcb->cr0,
        .cr3 = vmcb->cr3,
        .cr4 = vmcb->cr4,
        .efer = vmcb->efer,
        .cs_attributes = vmcb->cs.attributes,
        .cpl = vmcb->cpl,
        .length = d->length,
        .words = { word_at(bytes), word_at(bytes + SECOND_WORD) },
    };
    if (places_take(vcpu, memo))
        memo->opcode = d->opcode;
}

static bool instruction_is(const struct decoded_system *d, uint32_t opcode, uint32_t or_opcode)
{
    return d->opcode == opcode || d->opcode == or_opcode;
}

bool svm_instruction_find(struct vcpu *vcpu, uint32_t opcode, uint32_t or_opcode,
                          struct decoded_system *d)
{
    uint8_t bytes[DECODE_BYTES_MAX];
    unsigned size = 0;
    struct walk_fault fault;
    vcpu->path.is_complete = false;
    if (!walk_settle(vcpu, fetch_bytes(vcpu, bytes, &size, &fault), &fault)) {
        vcpu->exit.kind = EXIT_AGAIN;
        return false;
    }
    if (decode_system(bytes, size, fetch_mode(vcpu), d) && instruction_is(d, opcode, or_opcode)) {
        if (is_in_one_page(svm_vmcb(vcpu)))
            length_remember(vcpu, d, bytes);
        return true;
    }
    /* Rewritten since, or other bytes in a stale translation: nobody else's doing. */
    vm_end(vcpu->vm, VM_END_INSTRUCTION,
           "instruction at 0x%llx is not the one that exited: %02x %02x %02x",
           (unsigned long long)vcpu_ops->get(vcpu, STATE_RIP), bytes[0], bytes[1], bytes[2]);
    vcpu->exit.kind = EXIT_AGAIN;
    return false;
}

void svm_length_from(struct vcpu *vcpu, uint64_t next_rip)
{
    vcpu->exit.length = (uint8_t)(next_rip - svm_vmcb(vcpu)->rip);
}

void svm_length_find(struct vcpu *vcpu, uint32_t opcode, uint32_t or_opcode)
{
    struct decoded_system d;
    uint64_t next_rip = svm_vmcb(vcpu)->next_rip;
    if ((svm_config.features & SVM_FEATURE_NRIP) && next_rip) {
        svm_length_from(vcpu, next_rip);
        return;
    }
    vcpu->exit.length = length_remembered(vcpu, opcode);
    if (!vcpu->exit.length && svm_instruction_find(vcpu, opcode, or_opcode, &d))
        vcpu->exit.length = d.length;
}
