/*
 * Messages between vCPUs through the interrupt command register: SDM volume 3, 10.6,
 * and what INIT, start-up and NMI do to a processor (8.4, 10.4.7).
 *
 * vcpu->messages is written by any CPU with atomic exchanges. It is not 0 before
 * vcpu->rest tells what became of them, so that a vCPU for which something is on its
 * way never looks as if it slept for good (vm_is_parked).
 */
#include "hv/dev_lapic.h"
#include "hv/sched.h"
#include "hv/vm.h"
#include "lib/log.h"

#define ICR_ASSERT   (1u << 14)
#define ICR_LEVEL    (1u << 15)
#define VECTOR_FIRST 16u

#define MESSAGE_PAGE    0xffu /* of the start-up message */
#define MESSAGE_STARTUP 0x100u
#define MESSAGE_INIT    0x200u
#define MESSAGE_NMI     0x400u
#define MESSAGE_BUSY    0x800u /* some are being carried out */

enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_STARTUP };
enum { TO_ADDRESS, TO_SELF, TO_ALL, TO_OTHERS };

/* ---- sending ------------------------------------------------------------------- */

static bool command_reaches(struct vcpu *from, struct vcpu *to)
{
    const struct lapic *lapic = vm_lapic(from);
    switch (lapic->icr_low >> 18 & 3) {
    case TO_SELF:
        return to == from;
    case TO_ALL:
        return true;
    case TO_OTHERS:
        return to != from;
    }
    return dev_lapic_accepts(vm_lapic(to), (uint8_t)(lapic->icr_high >> 24),
                             lapic->icr_low >> 11 & 1);
}

/* The messages after one more. The first of two start-up messages counts; INIT makes
 * what came before it void. */
static uint32_t with(uint32_t messages, uint32_t command)
{
    switch (command >> 8 & 7) {
    case MODE_NMI:
        return messages | MESSAGE_NMI;
    case MODE_INIT:
        if ((command & ICR_LEVEL) && !(command & ICR_ASSERT))
            return messages; /* the de-assertion of old */
        return MESSAGE_INIT | (messages & MESSAGE_BUSY);
    case MODE_STARTUP:
        return messages & MESSAGE_STARTUP ? messages
                                          : messages | MESSAGE_STARTUP | (command & MESSAGE_PAGE);
    }
    return messages;
}

static void leave_message(struct vcpu *to, uint32_t command)
{
    uint32_t old = __atomic_load_n(&to->messages, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&to->messages, &old, with(old, command), false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    sched_wake(to);
}

/* There is no system management mode that it could begin. */
static void refuse_smi(struct vm *vm)
{
    if (vm->refused_smi_count++ == 0)
        log_info("vm %s: an SMI was sent between its processors: refused", vm_name(vm));
}

static void deliver(struct vcpu *to, uint32_t command)
{
    if ((command >> 8 & 7) <= MODE_LOWEST)
        dev_lapic_request(to, (uint8_t)command, false);
    else
        leave_message(to, command);
}

void dev_lapic_send(struct vcpu *vcpu)
{
    struct lapic *lapic = vm_lapic(vcpu);
    uint32_t command = lapic->icr_low, mode = command >> 8 & 7;
    if (mode <= MODE_LOWEST && (command & 0xff) < VECTOR_FIRST) {
        __atomic_fetch_or(&lapic->esr, LAPIC_ESR_SEND_ILLEGAL, __ATOMIC_RELAXED);
        return;
    }
    if (mode == MODE_SMI) {
        refuse_smi(vcpu->vm);
        return;
    }
    for (unsigned i = 0; i < vcpu->vm->vcpu_count; i++) {
        if (!command_reaches(vcpu, &vcpu->vm->vcpus[i]))
            continue;
        deliver(&vcpu->vm->vcpus[i], command);
        if (mode == MODE_LOWEST)
            return;
    }
}

/* ---- receiving ----------------------------------------------------------------- */

static void init(struct vcpu *vcpu)
{
    vm_lock(vcpu->vm);
    dev_lapic_destroy(vcpu);
    dev_lapic_init(vcpu);
    vm_unlock(vcpu->vm);
    vcpu->nmi_pending = false;
    vcpu_set_rest(vcpu, VCPU_PARKED);
}

/* Start-up messages to a vCPU that does not wait for one are lost, as on the bus, and
 * so are NMIs to one that does. */
void dev_lapic_take_messages(struct vcpu *vcpu)
{
    if (!__atomic_load_n(&vcpu->messages, __ATOMIC_SEQ_CST))
        return;
    uint32_t messages = __atomic_exchange_n(&vcpu->messages, MESSAGE_BUSY, __ATOMIC_SEQ_CST);
    if (messages & MESSAGE_INIT)
        init(vcpu);
    if ((messages & MESSAGE_STARTUP) && vcpu_rest(vcpu) == VCPU_PARKED) {
        vcpu_ops->reset_real(vcpu, (uint8_t)(messages & MESSAGE_PAGE));
        vcpu_set_rest(vcpu, VCPU_RUNS);
    }
    if ((messages & MESSAGE_NMI) && vcpu_rest(vcpu) != VCPU_PARKED) {
        vcpu->nmi_pending = true;
        vcpu_set_rest(vcpu, VCPU_RUNS);
    }
    __atomic_fetch_and(&vcpu->messages, ~MESSAGE_BUSY, __ATOMIC_SEQ_CST);
}
