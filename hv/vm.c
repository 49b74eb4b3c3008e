#include "hv/vm.h"
#include "abi/machine.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/guest.h"
#include "hv/pvh.h"
#include "hv/report.h"
#include "hv/sched.h"
#include "hv/telemetry.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"

#define CONFIG_FILE "ballast.conf"

struct vm vm_table[CONFIG_VM_MAX];
unsigned vm_table_count;
static struct spinlock end_lock = SPINLOCK(RANK_END);
static struct spinlock reap_lock = SPINLOCK(RANK_REAP); /* tried, never waited for */

const char *vm_name(const struct vm *vm)
{
    return vm->config->name;
}

struct lapic *vm_lapic(const struct vcpu *vcpu)
{
    return &vcpu->vm->lapics[vcpu->mm.index];
}

/* ---- the end of a VM -------------------------------------------------------- */

void vm_end(struct vm *vm, enum vm_end end, const char *format, ...)
{
    spin_lock(&end_lock);
    bool first = vm->state == VM_RUNNING;
    if (first) {
        va_list args;
        va_start(args, format);
        fmt_vprint(vm->reason, sizeof(vm->reason), format, args);
        va_end(args);
        vm->end = end;
        __atomic_store_n(&vm->state, VM_ENDING, __ATOMIC_RELEASE);
    }
    spin_unlock(&end_lock);
    for (unsigned i = 0; first && i < vm->vcpu_count; i++)
        __atomic_store_n(&vm->vcpus[i].news, true, __ATOMIC_SEQ_CST);
}

/* Its timers may still be about to fire elsewhere: they look at the state, under the
 * lock, and do nothing after this. */
static void close_devices(struct vm *vm)
{
    vm_lock(vm);
    vm->closed = true;
    dev_uart_flush(vm);
    dev_balloon_destroy(vm);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        dev_lapic_destroy(&vm->vcpus[i]);
    mm_vm_counters(vm->mm, vm->last_counters);
    vm_unlock(vm);
}

/* The first step after the end: what is left to say, and the last counters. */
static void vm_close(struct vm *vm)
{
    close_devices(vm);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        sched_remove(&vm->vcpus[i]);
        vcpu_ops->destroy(&vm->vcpus[i]);
        if (cpu_this()->holds == &vm->vcpus[i])
            cpu_this()->holds = NULL;
    }
    if (vm->end == VM_END_NONE)
        return;
    report_audit();
    telemetry_keep_net();
    log_info("ballast: vm %s ended: %s (%llu pages checked, %llu mismatched)", vm_name(vm),
             vm->reason, (unsigned long long)vm->checked, (unsigned long long)vm->mismatched);
    telemetry_vm_end(vm);
}

static bool is_elsewhere(struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (sched_is_elsewhere(&vm->vcpus[i]))
            return true;
    return false;
}

/* A step of taking the VM down. */
static void take_down(struct vm *vm)
{
    if (!vm->closed && is_elsewhere(vm)) {
        guest_kick(vm); /* whoever leaves last comes by here */
        return;
    }
    if (!vm->closed)
        vm_close(vm);
    if (!mm_vm_destroy(vm->mm))
        return;
    vm->mm = NULL;
    __atomic_store_n(&vm->state, vm->end == VM_END_NONE ? VM_REFUSED : VM_ENDED, __ATOMIC_RELEASE);
}

static enum vm_state state_of(const struct vm *vm)
{
    return __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE);
}

static bool is_ending(void)
{
    for (unsigned i = 0; i < vm_table_count; i++)
        if (state_of(&vm_table[i]) == VM_ENDING)
            return true;
    return false;
}

void vm_reap(void)
{
    if (!is_ending() || !spin_try_lock(&reap_lock))
        return; /* whoever has the lock does it */
    for (unsigned i = 0; i < vm_table_count; i++)
        if (state_of(&vm_table[i]) == VM_ENDING)
            take_down(&vm_table[i]);
    spin_unlock(&reap_lock);
}

bool vm_all_ended(void)
{
    for (unsigned i = 0; i < vm_table_count; i++)
        if (state_of(&vm_table[i]) == VM_RUNNING || state_of(&vm_table[i]) == VM_ENDING)
            return false;
    return true;
}

/* Messages first: hv/dev_lapic_message.c. */
bool vm_is_parked(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (__atomic_load_n(&vm->vcpus[i].messages, __ATOMIC_SEQ_CST) ||
            vcpu_rest(&vm->vcpus[i]) < VCPU_DEAF)
            return false;
    return true;
}

bool vm_is_good(const struct vm *vm)
{
    return vm->state == VM_ENDED && vm->end == VM_END_STATUS && vm->status == GUEST_STATUS_OK &&
           vm->mismatched == 0;
}

void vm_counters(struct vm *vm, uint64_t values[MM_VM_COUNTER_COUNT])
{
    vm_lock(vm);
    if (vm->mm && !vm->closed)
        mm_vm_counters(vm->mm, values);
    else
        memcpy(values, vm->last_counters, sizeof(vm->last_counters));
    vm_unlock(vm);
}

/* ---- creation --------------------------------------------------------------- */

/* One line on the console; what exists of the VM already is taken down. */
static void vm_refuse(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void vm_refuse(struct vm *vm, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fmt_vprint(vm->reason, sizeof(vm->reason), format, args);
    va_end(args);
    log_warn("vm %s does not start: %s", vm_name(vm), vm->reason);
    vm->state = vm->mm ? VM_ENDING : VM_REFUSED;
}

/* VMs of one share group have one salt, every other VM one of its own. */
static uint16_t vm_salt(const struct vm *vm)
{
    const char *group = vm->config->share_group;
    for (unsigned i = 0; group[0] && i < vm->index; i++)
        if (!strcmp(vm_table[i].config->share_group, group))
            return (uint16_t)(i + 1);
    return (uint16_t)(vm->index + 1);
}

static uint32_t pages_of(uint64_t bytes)
{
    return (uint32_t)(bytes >> PAGE_SHIFT);
}

static unsigned long long mib_of(uint64_t pages)
{
    return (pages << PAGE_SHIFT) / MIB;
}

static bool vm_admit(struct vm *vm)
{
    const struct config_vm *c = vm->config;
    struct mm_admission_sum sum = { 0 };
    struct mm_vm_config config = {
        .name = c->name,
        .pages = pages_of(c->memory),
        .reserve_pages = pages_of(c->reserve),
        .limit_pages = pages_of(c->limit),
        .shares = c->shares,
        .salt = vm_salt(vm),
        .balloon = c->balloon,
        .vcpu_count = c->vcpus,
    };
    enum mm_admission answer = mm_vm_create(&config, &vm->mm, &sum);
    if (answer == MM_ADMIT_OK)
        return true;
    vm->mm = NULL;
    vm_refuse(vm,
              "%s: reserve %llu M, memory %llu M; of %llu M managed %llu M are reserved and %llu M "
              "overhead; %llu M configured so far; swap %llu M",
              mm_admission_name(answer), mib_of(config.reserve_pages), mib_of(config.pages),
              mib_of(sum.managed), mib_of(sum.reserved), mib_of(sum.overhead),
              mib_of(sum.configured), mib_of(sum.swap));
    return false;
}

static bool vm_create_vcpus(struct vm *vm)
{
    for (unsigned i = 0; i < vm->config->vcpus && i < VM_VCPU_MAX; i++) {
        struct vcpu *vcpu = &vm->vcpus[i];
        vcpu->vm = vm;
        vcpu->rest = i > 0 ? VCPU_PARKED : VCPU_RUNS;
        mm_vcpu_init(&vcpu->mm, vm->mm, i);
        if (!vcpu_ops->create(vcpu))
            return false;
        vm->vcpu_count++;
        dev_lapic_init(vcpu);
        sched_add(vcpu, vm->config->cpu_shares);
    }
    return true;
}

static void vm_create_devices(struct vm *vm)
{
    dev_uart_init(&vm->uart);
    dev_ioapic_init(&vm->ioapic);
    dev_legacy_init(&vm->legacy);
    dev_balloon_init(vm);
}

static void vm_create(struct vm *vm, const struct boot_info *boot)
{
    const struct boot_file *file = &boot->images[vm->index];
    const char *problem = boot->image_problem[vm->index], *reason = "";
    if (problem[0]) {
        vm_refuse(vm, "%s", problem);
        return;
    }
    if (vm->config->memory > GUEST_HOLE_START) {
        vm_refuse(vm, CONFIG_FILE ":%u: memory reaches into the device hole at 0xd0000000",
                  vm->config->line);
        return;
    }
    if (!vm_admit(vm))
        return;
    mm_vm_set_context(vm->mm, vm);
    vm->flush_generation = 1;
    vm_create_devices(vm);
    vm->state = VM_RUNNING; /* may be stopped from here on */
    if (!vm_create_vcpus(vm))
        vm_refuse(vm, "no memory for its vCPU");
    else if (!pvh_load(vm, bootmem_map(hpa(file->address)), file->bytes, &reason))
        vm_refuse(vm, CONFIG_FILE ":%u: image %s: %s", vm->config->image_line, vm->config->image,
                  reason);
    else
        log_info("ballast: vm %s: %llu M, reserve %llu M, limit %llu M, %s", vm_name(vm),
                 mib_of(pages_of(vm->config->memory)), mib_of(pages_of(vm->config->reserve)),
                 mib_of(pages_of(vm->config->limit)), vm->config->cmdline);
}

void vm_create_all(const struct boot_info *boot)
{
    vm_table_count = boot->config.vm_count;
    for (unsigned i = 0; i < vm_table_count; i++) {
        vm_table[i].index = i;
        vm_table[i].config = &boot->config.vms[i];
        vm_table[i].lock = SPINLOCK(RANK_DEVICES);
    }
    for (unsigned i = 0; i < vm_table_count; i++)
        vm_create(&vm_table[i], boot);
}
