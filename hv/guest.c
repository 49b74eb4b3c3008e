#include "hv/guest.h"
#include "drivers/lapic.h"
#include "hv/cpu.h"
#include "hv/park.h"
#include "hv/vm.h"

/* Looks at a CPU between two kicks. */
#define LOOKS 2000u

void guest_enter(struct vcpu *vcpu)
{
    struct cpu *cpu = cpu_this();
    __atomic_store_n(&cpu->entry_count, cpu->entry_count + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&cpu->guest, vcpu, __ATOMIC_RELEASE);
    if (cpu_count() > 1)
        park_leave();
}

void guest_leave(void)
{
    __atomic_store_n(&cpu_this()->guest, NULL, __ATOMIC_RELEASE);
    if (cpu_count() > 1)
        park_enter();
}

bool guest_flush_due(struct vcpu *vcpu)
{
    uint64_t *seen = &cpu_this()->flush_seen[vcpu->vm->index];
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t generation = __atomic_load_n(&vcpu->vm->flush_generation, __ATOMIC_ACQUIRE);
    bool due = *seen != generation;
    *seen = generation;
    return due;
}

static bool is_in(const struct cpu *cpu, const struct vm *vm)
{
    const struct vcpu *guest = __atomic_load_n(&cpu->guest, __ATOMIC_ACQUIRE);
    return guest && guest->vm == vm;
}

static void evict_from(struct cpu *cpu, const struct vm *vm)
{
    uint64_t entry = __atomic_load_n(&cpu->entry_count, __ATOMIC_ACQUIRE);
    for (unsigned looks = 0; is_in(cpu, vm); looks++) {
        if (__atomic_load_n(&cpu->entry_count, __ATOMIC_ACQUIRE) != entry)
            return; /* left, and came back with the new generation */
        if (looks % LOOKS == 0) {
            lapic_send_nmi(cpu->apic_id);
            __atomic_fetch_add(&cpu->kick_count, 1, __ATOMIC_RELAXED);
        }
        __builtin_ia32_pause();
    }
}

void guest_evict(struct vm *vm)
{
    for (unsigned i = 0; i < cpu_count(); i++)
        if (cpu_get(i) != cpu_this())
            evict_from(cpu_get(i), vm);
}

void guest_kick(struct vm *vm)
{
    for (unsigned i = 0; i < cpu_count(); i++)
        if (cpu_get(i) != cpu_this() && is_in(cpu_get(i), vm))
            lapic_send_nmi(cpu_get(i)->apic_id);
}
