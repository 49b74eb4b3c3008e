/*
 * Guests of the simulated machine: every access goes through a CPU's caches and
 * the nested table, and is compared with a shadow copy of the page.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/host/sim.h"

/* Faults answered DONE for one access before it counts as a livelock. */
#define TRIES_MAX 64
/* Pumps of a waiting vCPU before it counts as a deadlock (P10). */
#define PUMPS_MAX 20000

/* ---- content ----------------------------------------------------------------- */

static void make_text(uint64_t value, uint8_t *page)
{
    static const char *const words[] = { "ballast ", "frame ", "guest ", "page ",
                                         "the ",     "of ",    "a ",     "memory " };
    struct rng rng;
    rng_seed(&rng, value);
    for (unsigned at = 0; at < PAGE_SIZE;) {
        const char *word = words[rng_below(&rng, 8)];
        for (; *word && at < PAGE_SIZE; word++)
            page[at++] = (uint8_t)*word;
    }
    /* A few bytes that differ from page to page. */
    memcpy(page + 1000, &value, sizeof value);
}

void sim_content_make(enum sim_content content, uint64_t value, void *page)
{
    uint64_t *words = page;
    struct rng rng;
    switch (content) {
    case SIM_ZERO:
        memset(page, 0, PAGE_SIZE);
        break;
    case SIM_UNIFORM:
        for (unsigned i = 0; i < PAGE_WORDS; i++)
            words[i] = value;
        break;
    case SIM_COMMON: /* a small library that all guests draw from */
        rng_seed(&rng, 0xc0ffee + value % 16);
        for (unsigned i = 0; i < PAGE_WORDS; i++)
            words[i] = i % 4 ? i : rng_next(&rng);
        break;
    case SIM_TEXT:
        make_text(value, page);
        break;
    default:
        rng_seed(&rng, value ^ 0xabcdef);
        for (unsigned i = 0; i < PAGE_WORDS; i++)
            words[i] = rng_next(&rng);
        break;
    }
}

uint8_t *sim_shadow(struct sim_vm *vm, uint32_t gfn)
{
    sim_check(gfn < vm->config.pages, "shadow of gfn %#x of %u pages", gfn, vm->config.pages);
    return vm->shadow + (uint64_t)gfn * PAGE_SIZE;
}

/* ---- life of VMs --------------------------------------------------------------- */

void sim_vm_config_default(struct mm_vm_config *config, uint32_t pages)
{
    memset(config, 0, sizeof *config);
    config->pages = pages;
    config->limit_pages = pages;
    config->shares = 1000;
    config->balloon = true;
    config->vcpu_count = 1;
}

struct sim_vm *sim_vm_of(const struct mm_vm *vm)
{
    struct sim_vm *found = mm_vm_context(vm);
    sim_check(found && found->core == vm, "a VM the machine does not know");
    return found;
}

static struct sim_vm *free_slot(void)
{
    for (unsigned i = 0; i < SIM_VM_MAX; i++)
        if (!sim.vms[i].core)
            return &sim.vms[i];
    sim_fail("more than %u VMs", SIM_VM_MAX);
}

struct sim_vm *sim_vm_add(const struct mm_vm_config *config)
{
    struct sim_vm *vm = free_slot();
    uint64_t generation = vm->generation;
    memset(vm, 0, sizeof *vm);
    vm->slot = (unsigned)(vm - sim.vms);
    /* A slot used again: what CPUs hold of the former VM is flushed on entry. */
    vm->generation = generation + 1;
    vm->config = *config;
    snprintf(vm->name, sizeof vm->name, "%s", config->name ? config->name : "");
    if (!config->name)
        snprintf(vm->name, sizeof vm->name, "vm%u", vm->slot);
    vm->config.name = vm->name;
    struct mm_admission_sum sum;
    enum mm_admission answer;
    sim_trace("create %s, %u pages", vm->name, config->pages);
    SIM_CORE(answer = mm_vm_create(&vm->config, &vm->core, &sum));
    sim_check(answer == MM_ADMIT_OK, "VM refused: %s", mm_admission_name(answer));
    mm_vm_set_context(vm->core, vm);
    vm->shadow = calloc(config->pages, PAGE_SIZE);
    vm->inflated = calloc(config->pages, 1);
    for (unsigned i = 0; i < config->vcpu_count; i++) {
        vm->vcpus[i].vm = vm;
        vm->vcpus[i].cpu = (vm->slot + i) % sim.settings.cpus;
        mm_vcpu_init(&vm->vcpus[i].core, vm->core, i);
    }
    return vm;
}

struct sim_vm *sim_vm_simple(uint32_t pages)
{
    struct mm_vm_config config;
    sim_vm_config_default(&config, pages);
    config.salt = (uint16_t)(1 + (free_slot() - sim.vms));
    return sim_vm_add(&config);
}

struct sim_vm *sim_vm_greedy(uint32_t pages)
{
    struct mm_vm_config config;
    sim_vm_config_default(&config, pages);
    config.salt = (uint16_t)(1 + (free_slot() - sim.vms));
    config.shares = 1000000;
    return sim_vm_add(&config);
}

static void leave_all(struct sim_vm *vm)
{
    for (unsigned i = 0; i < sim.settings.cpus; i++)
        if (sim.cpus[i].inside && sim.cpus[i].inside->vm == vm)
            sim_leave(i);
}

bool sim_vm_try_remove(struct sim_vm *vm)
{
    if (!vm->core)
        return true;
    leave_all(vm);
    for (int i = 0; i < SIM_PIN_SLOTS; i++)
        if (vm->pins[i].used)
            sim_unpin(vm, i);
    vm->stopped = true;
    bool gone;
    sim_trace("destroy %s", vm->name);
    SIM_CORE(gone = mm_vm_destroy(vm->core));
    if (!gone)
        return false;
    free(vm->shadow);
    free(vm->inflated);
    vm->shadow = vm->inflated = NULL;
    vm->core = NULL;
    return true;
}

void sim_vm_remove(struct sim_vm *vm)
{
    for (unsigned i = 0; !sim_vm_try_remove(vm); i++) {
        sim_check(i < PUMPS_MAX, "%s cannot be destroyed", vm->name);
        sim_pump();
    }
}

uint64_t sim_vm_counter(const struct sim_vm *vm, enum mm_vm_counter counter)
{
    uint64_t values[MM_VM_COUNTER_COUNT];
    mm_vm_counters(vm->core, values);
    return values[counter];
}

uint64_t sim_host_counter(enum mm_host_counter counter)
{
    uint64_t values[MM_HOST_COUNTER_COUNT];
    mm_host_counters(values);
    return values[counter];
}

/* ---- accesses -------------------------------------------------------------------- */

static unsigned access_of(const struct sim_op *op)
{
    switch (op->kind) {
    case SIM_READ:
        return MM_READ;
    case SIM_EXEC:
        return MM_READ | MM_EXEC;
    default:
        return MM_WRITE | MM_READ;
    }
}

/* The guest's instruction, on the frame its CPU found (P1, P2, P4, P5). */
static void execute(struct sim_vm *vm, const struct sim_op *op, uint32_t number)
{
    uint8_t *shadow = sim_shadow(vm, op->gfn), *page = sim_frame(number);
    struct frame *frame = frame_at(pfn(number));
    bool write = op->kind == SIM_WRITE_WORD || op->kind == SIM_WRITE_PAGE;
    sim.accesses++;
    sim_check(frame, "%s gfn %#x: frame %#x is not managed", vm->name, op->gfn, number);
    if (frame->kind == FRAME_SHARED)
        sim_check(!write, "P2: %s writes gfn %#x to shared frame %#x", vm->name, op->gfn, number);
    else
        sim_check(frame->kind == FRAME_PRIVATE, "P1: %s gfn %#x reaches frame %#x of kind %d",
                  vm->name, op->gfn, number, frame->kind);
    if (memcmp(page, shadow, PAGE_SIZE) != 0) {
        unsigned at = 0;
        while (page[at] == shadow[at])
            at++;
        sim_fail("P5: %s gfn %#x in frame %#x (kind %d): byte %u is %#x, not %#x", vm->name,
                 op->gfn, number, frame->kind, at, page[at], shadow[at]);
    }
    if (op->kind == SIM_WRITE_WORD) {
        memcpy(page + op->offset, &op->value, 8);
        memcpy(shadow + op->offset, &op->value, 8);
    } else if (op->kind == SIM_WRITE_PAGE) {
        sim_content_make(op->content, op->value, shadow);
        memcpy(page, shadow, PAGE_SIZE);
    }
}

static enum mm_answer fault(struct sim_vcpu *vcpu)
{
    struct sim_vm *vm = vcpu->vm;
    unsigned access = access_of(&vcpu->op);
    enum mm_answer answer;
    sim_leave(vcpu->cpu);
    sim.cpu = vcpu->cpu;
    sim_trace("%s.%u fault gfn %#x access %u", vm->name, vcpu->core.index, vcpu->op.gfn, access);
    if (access & MM_WRITE)
        access = MM_WRITE;
    vcpu->asleep = false;
    uint64_t wakes = vcpu->wakes;
    SIM_CORE(answer = mm_fault(&vcpu->core, gfn_to_gpa(gfn(vcpu->op.gfn)), access));
    if (answer == MM_WAIT) {
        sim.waits++;
        sim_check(vcpu->core.waiting != MM_WAIT_NONE || vcpu->wakes != wakes,
                  "%s waits for nothing", vm->name);
        vcpu->asleep = vcpu->wakes == wakes;
        sim_trace("  waits: %s", mm_wait_name(vcpu->core.waiting));
    }
    if (answer == MM_STOPPED)
        sim_check(vm->stopped, "%s: MM_STOPPED without machine_vm_stop()", vm->name);
    return answer;
}

enum mm_answer sim_vcpu_try(struct sim_vcpu *vcpu)
{
    struct sim_vm *vm = vcpu->vm;
    struct sim_op *op = &vcpu->op;
    uint32_t frame;
    if (vm->stopped)
        return MM_STOPPED;
    if (vcpu->asleep)
        return MM_WAIT;
    sim_enter(vcpu);
    if (sim_translate(vcpu->cpu, vm, op->gfn, access_of(op), &frame)) {
        sim_trace("%s.%u op %d gfn %#x frame %#x", vm->name, vcpu->core.index, op->kind, op->gfn,
                  frame);
        execute(vm, op, frame);
        op->kind = SIM_NO_OP;
        vcpu->tries = 0;
        return MM_DONE;
    }
    enum mm_answer answer = fault(vcpu);
    if (answer == MM_DONE)
        sim_check(++vcpu->tries < TRIES_MAX, "%s gfn %#x faults again and again", vm->name,
                  op->gfn);
    if (answer == MM_NO_PAGE || answer == MM_STOPPED) {
        op->kind = SIM_NO_OP;
        vcpu->tries = 0;
    }
    return answer;
}

enum mm_answer sim_do(struct sim_vcpu *vcpu, struct sim_op op)
{
    vcpu->op = op;
    vcpu->tries = 0;
    for (unsigned pumps = 0;;) {
        enum mm_answer answer = sim_vcpu_try(vcpu);
        if (answer != MM_WAIT && vcpu->op.kind == SIM_NO_OP)
            return answer;
        if (answer == MM_STOPPED)
            return answer;
        if (answer == MM_WAIT) {
            sim_check(++pumps < PUMPS_MAX, "P10: %s waits for ever (%s), gfn %#x, %u free frames",
                      vcpu->vm->name, mm_wait_name(vcpu->core.waiting), op.gfn, frame_free_count());
            sim_pump();
        }
    }
}

enum mm_answer sim_read(struct sim_vm *vm, uint32_t gfn)
{
    return sim_do(&vm->vcpus[0], (struct sim_op){ .kind = SIM_READ, .gfn = gfn });
}

enum mm_answer sim_write(struct sim_vm *vm, uint32_t gfn, enum sim_content content, uint64_t value)
{
    return sim_do(
        &vm->vcpus[0],
        (struct sim_op){ .kind = SIM_WRITE_PAGE, .gfn = gfn, .content = content, .value = value });
}

enum mm_answer sim_write_word(struct sim_vm *vm, uint32_t gfn, uint16_t offset, uint64_t value)
{
    return sim_do(
        &vm->vcpus[0],
        (struct sim_op){ .kind = SIM_WRITE_WORD, .gfn = gfn, .offset = offset, .value = value });
}

/* One access of a guest that is in guest mode while the core runs elsewhere; one
 * that would fault is left alone (its exit would wait for this CPU). */
static void act_meanwhile(unsigned cpu)
{
    struct sim_vm *vm = sim.cpus[cpu].inside->vm;
    struct rng *rng = &sim.meanwhile;
    struct sim_op op = { .kind = rng_below(rng, 2) ? SIM_READ : SIM_WRITE_WORD,
                         .gfn = (uint32_t)rng_below(rng, vm->config.pages),
                         .offset = (uint16_t)(8 * rng_below(rng, PAGE_WORDS)),
                         .value = rng_below(rng, 3) };
    uint32_t frame;
    if (rng_below(rng, 8) == 0)
        sim_speculate(sim.cpus[cpu].inside, op.gfn);
    /* Prefer what is cached: that is where a forgotten flush shows. */
    if (rng_below(rng, 4)) {
        struct sim_translation *t = &sim.cpus[cpu].tlb[rng_below(rng, SIM_TLB_SIZE)];
        if (t->valid && t->slot == vm->slot) {
            op.gfn = t->gfn + (t->large ? (uint32_t)rng_below(rng, 512) : 0);
            if (!(t->access & MM_WRITE))
                op.kind = SIM_READ;
        }
    }
    struct sim_cpu before = sim.cpus[cpu];
    if (!sim_translate(cpu, vm, op.gfn, access_of(&op), &frame)) {
        sim.cpus[cpu] = before;
        return;
    }
    sim_trace("  meanwhile %s on cpu %u op %d gfn %#x frame %#x", vm->name, cpu, op.kind, op.gfn,
              frame);
    sim.meanwhile_accesses++;
    sim.meanwhile_writes += op.kind == SIM_WRITE_WORD;
    execute(vm, &op, frame);
}

void sim_meanwhile(void)
{
    if (!sim.core || !sim.settings.interleave)
        return;
    for (unsigned i = 0; i < sim.settings.cpus; i++)
        if (i != sim.cpu && sim.cpus[i].inside && !sim.cpus[i].inside->vm->stopped &&
            rng_below(&sim.meanwhile, 1000) < sim.settings.interleave)
            act_meanwhile(i);
}

void sim_roll_floor(struct sim_vcpu *vcpu)
{
    struct sim_vm *vm = vcpu->vm;
    uint32_t first = vm->config.pages - SIM_ROLL_PAGES;
    /* Two groups in turn: a page that is on the floor does not push another off. */
    first += vm->rolls++ % 2 * MM_VCPU_FLOOR;
    for (uint32_t i = 0; i < MM_VCPU_FLOOR; i++) {
        sim_inflate(vm, first + i);
        sim_do(vcpu, (struct sim_op){ .kind = SIM_READ, .gfn = first + i });
    }
}

/* ---- pins ---------------------------------------------------------------------------- */

static uint32_t number_of_page(const void *page)
{
    return SIM_PFN_FIRST + (uint32_t)(((const uint8_t *)page - sim.arena) / PAGE_SIZE);
}

int sim_pin(struct sim_vm *vm, struct sim_vcpu *vcpu, uint32_t number, bool write)
{
    int slot = -1;
    for (int i = 0; i < SIM_PIN_SLOTS; i++) {
        if (vm->pins[i].used && vm->pins[i].gfn == number)
            return -1;
        if (!vm->pins[i].used)
            slot = i;
    }
    if (slot < 0 || vm->stopped)
        return -1;
    void *page = NULL;
    enum mm_answer answer;
    if (vcpu) {
        sim_leave(vcpu->cpu);
        vcpu->asleep = false;
    }
    sim_trace("%s pin gfn %#x %s", vm->name, number, write ? "rw" : "r");
    uint64_t wakes = vcpu ? vcpu->wakes : 0;
    SIM_CORE(answer = mm_pin(vm->core, vcpu ? &vcpu->core : NULL, gfn(number),
                             write ? MM_WRITE : MM_READ, &page));
    if (answer == MM_WAIT && vcpu)
        vcpu->asleep = vcpu->wakes == wakes;
    if (answer != MM_DONE)
        return -1;
    sim_check(memcmp(page, sim_shadow(vm, number), PAGE_SIZE) == 0,
              "P5: %s gfn %#x differs when pinned", vm->name, number);
    vm->pins[slot] = (struct sim_pin){ .used = true, .write = write, .gfn = number, .page = page };
    vm->pins[slot].merged = frame_at(pfn(number_of_page(page)))->kind == FRAME_SHARED;
    vm->pins[slot].then = malloc(PAGE_SIZE);
    memcpy(vm->pins[slot].then, page, PAGE_SIZE);
    sim_check(!write || !vm->pins[slot].merged,
              "P2: %s gfn %#x is pinned for writing in a shared frame", vm->name, number);
    if (write) {
        uint64_t value = rng_next(&sim.rng);
        memcpy((uint8_t *)page + 64, &value, 8);
        memcpy(sim_shadow(vm, number) + 64, &value, 8);
    }
    return slot;
}

static void check_pinned(struct sim_vm *vm, struct sim_pin *pin)
{
    unsigned level;
    uint64_t entry = sim_peek(vm, pin->gfn, &level);
    sim_check(memcmp(pin->page, sim_shadow(vm, pin->gfn), PAGE_SIZE) == 0,
              "P5: %s gfn %#x differs while pinned", vm->name, pin->gfn);
    uint32_t frame = (uint32_t)((entry & 0x000ffffffffff000ull) >> PAGE_SHIFT);
    frame += level == 2 ? pin->gfn & 511 : 0;
    sim_check(level <= 2 && entry & 7 && frame == number_of_page(pin->page),
              "%s gfn %#x left its frame while pinned", vm->name, pin->gfn);
    if (pin->write) {
        uint64_t value = rng_next(&sim.rng);
        memcpy((uint8_t *)pin->page + 128, &value, 8);
        memcpy(sim_shadow(vm, pin->gfn) + 128, &value, 8);
    }
}

void sim_unpin(struct sim_vm *vm, int slot)
{
    struct sim_pin *pin = &vm->pins[slot];
    sim_trace("%s unpin gfn %#x", vm->name, pin->gfn);
    if (pin->merged)
        sim_check(memcmp(pin->page, pin->then, PAGE_SIZE) == 0,
                  "P5: %s gfn %#x: the merged frame changed while pinned", vm->name, pin->gfn);
    else if (!vm->stopped)
        check_pinned(vm, pin);
    SIM_CORE(mm_unpin(vm->core, gfn(pin->gfn)));
    free(pin->then);
    pin->used = false;
}

/* ---- balloon --------------------------------------------------------------------------- */

enum mm_balloon_result sim_inflate(struct sim_vm *vm, uint32_t number)
{
    enum mm_balloon_result result;
    sim_leave(vm->vcpus[0].cpu);
    sim.cpu = vm->vcpus[0].cpu;
    sim_trace("%s inflate gfn %#x", vm->name, number);
    vm->vcpus[0].asleep = false;
    uint64_t wakes = vm->vcpus[0].wakes;
    SIM_CORE(result = mm_balloon_inflate(&vm->vcpus[0].core, gfn(number)));
    sim_trace("  result %d", (int)result);
    if (result == MM_BALLOON_WAIT)
        vm->vcpus[0].asleep = vm->vcpus[0].wakes == wakes;
    if (result == MM_BALLOON_OK) {
        memset(sim_shadow(vm, number), 0, PAGE_SIZE);
        if (!vm->inflated[number]++)
            vm->inflated_count++;
        vm->inflated[number] = 1;
    }
    return result;
}

enum mm_balloon_result sim_deflate(struct sim_vm *vm, uint32_t number)
{
    enum mm_balloon_result result;
    sim_leave(vm->vcpus[0].cpu);
    sim.cpu = vm->vcpus[0].cpu;
    sim_trace("%s deflate gfn %#x", vm->name, number);
    vm->vcpus[0].asleep = false;
    SIM_CORE(result = mm_balloon_deflate(&vm->vcpus[0].core, gfn(number)));
    if (number < vm->config.pages && vm->inflated[number]) {
        vm->inflated[number] = 0;
        vm->inflated_count--;
    }
    return result;
}

void sim_balloon_work(struct sim_vm *vm, unsigned pages)
{
    uint32_t target = mm_balloon_target(vm->core);
    while (pages-- && !vm->stopped && vm->inflated_count != target) {
        bool more = vm->inflated_count < target;
        uint32_t start = (uint32_t)rng_below(&sim.rng, vm->config.pages);
        for (uint32_t i = 0; i < vm->config.pages; i++) {
            uint32_t at = (start + i) % vm->config.pages;
            if (vm->inflated[at] == !more) {
                if (more && sim_inflate(vm, at) == MM_BALLOON_WAIT)
                    return;
                if (!more)
                    sim_deflate(vm, at);
                break;
            }
        }
        if (more && vm->inflated_count == vm->config.pages)
            break;
    }
    SIM_CORE(mm_balloon_driver(vm->core, vm->driver, false, vm->inflated_count));
}
