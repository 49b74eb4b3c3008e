/*
 * Start and stop of the simulated machine, the pump that moves the core along,
 * and random operation.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/entry_ept.h"
#include "mm/entry_npt.h"
#include "tests/host/sim.h"

/* ---- hooks ------------------------------------------------------------------- */

static void on_frame_map(pfn_t number)
{
    struct frame *frame = sim.running ? frame_at(number) : NULL;
    sim_check(!frame || frame->kind != FRAME_FREE, "the core touches free frame %#x", number.v);
    /* In use again: it need not hold poison when it next becomes free. */
    sim.poisoned[number.v - SIM_PFN_FIRST] = 0;
    sim_meanwhile();
}

static void on_wake(struct mm_vcpu *core)
{
    struct sim_vcpu *vcpu = (struct sim_vcpu *)core;
    vcpu->wakes++;
    vcpu->asleep = false;
}

static void on_stop(struct mm_vm *core, enum mm_stop_reason reason)
{
    struct sim_vm *vm = sim_vm_of(core);
    sim_trace("  stop %s: %s", vm->name, mm_stop_reason_name(reason));
    sim_check(!vm->stopped, "%s is stopped twice", vm->name);
    vm->stopped = true;
    vm->reason = reason;
    sim.stops[reason]++;
    for (unsigned i = 0; i < sim.settings.cpus; i++)
        if (sim.cpus[i].inside && sim.cpus[i].inside->vm == vm)
            sim_leave(i);
    if (reason == MM_STOP_OUT_OF_MEMORY) {
        sim_check(sim.victim_allowed, "%s became a victim", vm->name);
        uint64_t resident = sim_vm_counter(vm, MM_VM_resident);
        sim_check(resident > vm->config.reserve_pages,
                  "P11: %s is stopped with %llu pages, within its reservation of %u", vm->name,
                  (unsigned long long)resident, vm->config.reserve_pages);
    } else {
        sim_check(sim.stop_allowed, "%s is stopped: %s", vm->name, mm_stop_reason_name(reason));
    }
}

/* ---- start and stop -------------------------------------------------------------- */

static bool is_npt_wanted(void)
{
    const char *format = getenv("BALLAST_FORMAT");
    return format && strcmp(format, "npt") == 0;
}

void sim_settings_format(struct sim_settings *settings, bool npt)
{
    settings->npt = npt;
    settings->core.format = npt ? &entry_npt : &entry_ept;
}

void sim_settings_default(struct sim_settings *settings, uint64_t seed)
{
    memset(settings, 0, sizeof *settings);
    settings->seed = seed;
    settings->cpus = 1;
    settings->frames = 512;
    settings->disk_pages = 1024;
    settings->interleave = 100;
    mm_config_default(&settings->core);
    settings->core.seeded = true;
    settings->core.seed = seed;
    for (unsigned i = 0; i < MM_TIER_COUNT; i++)
        settings->core.tiers[i] = true;
    settings->core.accessed_dirty = true;
    sim_settings_format(settings, is_npt_wanted());
}

void sim_start(const struct sim_settings *settings)
{
    sim_memory_start(settings);
    sim_hooks.frame_map = on_frame_map;
    sim_hooks.flush = sim_tlb_flush;
    sim_hooks.wake = on_wake;
    sim_hooks.stop = on_stop;
    if (settings->disk_pages)
        sim_disk_init(settings->disk_pages);
    const struct frame_region region = { hpa((uint64_t)SIM_PFN_FIRST << PAGE_SHIFT),
                                         (uint64_t)settings->frames * PAGE_SIZE };
    sim_check(mm_init(&settings->core, &region, 1), "mm_init() refuses %u frames",
              settings->frames);
    if (settings->disk_pages) {
        int opened = mm_swap_attach(&sim.disk.device, 0, sim.disk.device.sector_count);
        sim_check(opened == 0, "the swap area is refused: %d", opened);
        sim_disk_heal();
    }
    sim.running = true;
    sim_poison();
}

void sim_stop(void)
{
    for (unsigned i = 0; i < SIM_VM_MAX; i++)
        if (sim.vms[i].core)
            sim_vm_remove(&sim.vms[i]);
    sim_oracle(true);
    while (sim_disk_complete())
        ;
    sim.running = false;
    sim_disk_free();
    sim_memory_stop();
}

/* ---- time ---------------------------------------------------------------------------- */

static bool core_step(void)
{
    bool more;
    sim_leave(sim.cpu);
    SIM_CORE(more = mm_step());
    return more;
}

void sim_pump(void)
{
    sim.step++;
    sim.cpu = (unsigned)(sim.step % sim.settings.cpus);
    core_step();
    if (sim.step % 4 == 0)
        SIM_CORE(mm_tick());
    if (sim.step % 2 == 0)
        sim_disk_complete();
    /* VMs that were stopped are destroyed, as the machine has to. */
    for (unsigned i = 0; i < SIM_VM_MAX && sim.step % 16 == 0; i++)
        if (sim.vms[i].core && sim.vms[i].stopped)
            sim_vm_try_remove(&sim.vms[i]);
    sim_poison();
}

void sim_run(unsigned steps)
{
    while (steps--)
        sim_pump();
}

void sim_settle(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        bool more = core_step();
        sim_poison();
        if (i % 4 == 0)
            SIM_CORE(mm_tick());
        if (!sim_disk_complete() && !more)
            return;
    }
    sim_fail("the core never comes to rest");
}

/* ---- random operation ------------------------------------------------------------------ */

/* What a vCPU does after `last`. Now and then a guest reads in order for a while. */
static struct sim_op random_op(struct sim_vm *vm, uint32_t last)
{
    struct rng *rng = &sim.rng;
    struct sim_op op = { .kind = SIM_READ, .gfn = (last + 1) % vm->config.pages };
    if (vm->in_order == 0 && rng_below(rng, 64) == 0)
        vm->in_order = 60;
    if (vm->in_order > 0) {
        vm->in_order--;
        return op;
    }
    /* Half of the accesses go to a fifth of the pages. */
    op.gfn =
        (uint32_t)rng_below(rng, rng_below(rng, 2) ? vm->config.pages : vm->config.pages / 5 + 1);
    switch (rng_below(rng, 8)) {
    case 0:
    case 1:
    case 2:
        break;
    case 3:
        op.kind = SIM_EXEC;
        break;
    case 4:
        op.kind = SIM_WRITE_WORD;
        op.offset = (uint16_t)(8 * rng_below(rng, PAGE_WORDS));
        op.value = rng_below(rng, 4);
        break;
    default:
        op.kind = SIM_WRITE_PAGE;
        op.content = (enum sim_content)rng_below(rng, SIM_CONTENT_COUNT);
        op.value = rng_below(rng, 24);
        if (op.content == SIM_NOISE && rng_below(rng, 2))
            op.content = SIM_COMMON;
        break;
    }
    return op;
}

static struct sim_vm *random_vm(void)
{
    for (unsigned tries = 0; tries < 32; tries++) {
        struct sim_vm *vm = &sim.vms[rng_below(&sim.rng, SIM_VM_MAX)];
        if (vm->core && !vm->stopped)
            return vm;
    }
    return NULL;
}

static void random_guest(struct sim_vm *vm)
{
    struct sim_vcpu *vcpu = &vm->vcpus[rng_below(&sim.rng, vm->config.vcpu_count)];
    for (uint64_t n = 1 + rng_below(&sim.rng, 6); n > 0 && !vcpu->asleep && !vm->stopped; n--) {
        if (vcpu->op.kind == SIM_NO_OP)
            vcpu->op = random_op(vm, vcpu->op.gfn);
        sim_vcpu_try(vcpu);
    }
}

static void random_balloon(struct sim_vm *vm)
{
    uint32_t number = (uint32_t)rng_below(&sim.rng, vm->config.pages + 3);
    if (vm->vcpus[0].asleep)
        return;
    switch (rng_below(&sim.rng, 6)) {
    case 0:
        if (number >= vm->config.pages)
            sim_check(sim_inflate(vm, number) == MM_BALLOON_OUT_OF_RANGE, "inflate out of range");
        else
            sim_inflate(vm, number);
        break;
    case 1:
        sim_deflate(vm, number);
        break;
    case 2:
        vm->driver = !vm->driver;
        SIM_CORE(mm_balloon_driver(vm->core, vm->driver, false, (uint32_t)rng_next(&sim.rng)));
        break;
    default:
        sim_balloon_work(vm, 8);
        break;
    }
}

static void random_pin(struct sim_vm *vm)
{
    int slot = (int)rng_below(&sim.rng, SIM_PIN_SLOTS);
    if (vm->pins[slot].used) {
        sim_unpin(vm, slot);
        return;
    }
    struct sim_vcpu *vcpu = rng_below(&sim.rng, 2) ? &vm->vcpus[0] : NULL;
    if (!vcpu || !vcpu->asleep)
        sim_pin(vm, vcpu, (uint32_t)rng_below(&sim.rng, vm->config.pages), rng_below(&sim.rng, 2));
}

void sim_random_step(void)
{
    sim.step++;
    struct sim_vm *vm = random_vm();
    uint64_t kind = rng_below(&sim.rng, 100);
    sim.cpu = (unsigned)rng_below(&sim.rng, sim.settings.cpus);
    if (kind < 60 && vm)
        random_guest(vm);
    else if (kind < 64 && vm)
        random_pin(vm);
    else if (kind < 68 && vm)
        random_balloon(vm);
    else if (kind < 80)
        sim_disk_complete();
    else if (kind < 83)
        SIM_CORE(mm_tick());
    else
        core_step();
}
