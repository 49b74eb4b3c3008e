/*
 * The oracle: what must hold after every step, whatever the core did.
 */
#include <string.h>

#include "tests/host/sim.h"

#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define ENTRY_WRITE   2ull
/* Steps a VM may be above its limit through what others did. */
#define OVER_LIMIT_STEPS 200u

static const uint8_t *poison_page(void)
{
    static uint8_t page[PAGE_SIZE];
    if (!page[0])
        memset(page, 0x5a, sizeof page);
    return page;
}

void sim_poison(void)
{
    for (uint32_t i = 0; i < sim.settings.frames; i++) {
        struct frame *frame = frame_at(pfn(SIM_PFN_FIRST + i));
        uint8_t *page = sim.arena + (uint64_t)i * PAGE_SIZE;
        if (!frame || frame->kind != FRAME_FREE) {
            sim.poisoned[i] = 0;
        } else if (!sim.poisoned[i]) {
            sim_hooks.forget ? sim_hooks.forget(page)
                             : (void)memcpy(page, poison_page(), PAGE_SIZE);
            sim.poisoned[i] = 1;
        } else if (!sim_hooks.forget && (sim.step + i) % 16 == 0) {
            sim_check(memcmp(page, poison_page(), PAGE_SIZE) == 0,
                      "P4: frame %#x was written to after it was freed", SIM_PFN_FIRST + i);
        }
    }
}

/* P1, P2: may this VM reach this frame in this way? */
static void check_frame(struct sim_vm *vm, uint32_t number, uint32_t pfn_number, bool write,
                        const char *how)
{
    sim_check(sim_frame_valid(pfn_number), "P1: %s gfn %#x %s frame %#x out of the machine",
              vm->name, number, how, pfn_number);
    struct frame *frame = frame_at(pfn(pfn_number));
    sim_check(frame, "P1: %s gfn %#x %s unmanaged frame %#x", vm->name, number, how, pfn_number);
    if (frame->kind == FRAME_SHARED) {
        sim_check(!write, "P2: %s gfn %#x %s shared frame %#x for writing", vm->name, number, how,
                  pfn_number);
        sim_check(frame->tag == vm->config.salt, "P12: %s gfn %#x %s shared frame %#x of salt %u",
                  vm->name, number, how, pfn_number, frame->tag);
        return;
    }
    sim_check(frame->kind == FRAME_PRIVATE, "P1: %s gfn %#x %s frame %#x of kind %d", vm->name,
              number, how, pfn_number, frame->kind);
    sim_check(frame->tag == sim_vm_id(vm->core) && frame->private.gfn == number,
              "P1: %s gfn %#x %s frame %#x of VM %u gfn %#x", vm->name, number, how, pfn_number,
              frame->tag, frame->private.gfn);
}

static void check_leaf(struct sim_vm *vm, uint32_t number, bool content)
{
    unsigned level;
    uint64_t entry = sim_peek(vm, number, &level);
    if (!(entry & 7)) {
        /* P15: not present, of any level. */
        uint64_t low = 1ull << sim.settings.core.max_physical_bits;
        sim_check(entry == 0 || !(entry & (7 | 1ull << 10 | 1ull << 63)),
                  "P15: %s gfn %#x: entry %#llx", vm->name, number, (unsigned long long)entry);
        uint64_t top = (uint64_t)(SIM_PFN_FIRST + sim.settings.frames) << PAGE_SHIFT;
        sim_check(entry == 0 || (entry & ENTRY_ADDRESS & (low - 1)) >= top,
                  "P15: %s gfn %#x: entry %#llx names cacheable memory", vm->name, number,
                  (unsigned long long)entry);
        return;
    }
    uint32_t frame = (uint32_t)((entry & ENTRY_ADDRESS) >> PAGE_SHIFT);
    frame += number & ((1u << (9 * (level - 1))) - 1);
    check_frame(vm, number, frame, entry & ENTRY_WRITE, "maps");
    if (content && memcmp(sim_frame(frame), sim_shadow(vm, number), PAGE_SIZE) != 0)
        sim_fail("P5: %s gfn %#x in frame %#x does not hold what its guest wrote", vm->name, number,
                 frame);
}

/* P3: a page's size changes only when nobody has it cached with the old one. */
static void check_size(struct sim_vm *vm, const struct sim_translation *t)
{
    unsigned level;
    uint64_t entry = sim_peek(vm, t->gfn, &level);
    sim_check(!(entry & 7) || level == (t->large ? 2 : 1),
              "P3: %s gfn %#x is cached as a %s page, the tables have level %u", vm->name, t->gfn,
              t->large ? "large" : "small", level);
}

/* Translations a CPU would still use. */
static void check_cached(unsigned number)
{
    struct sim_cpu *cpu = &sim.cpus[number];
    for (unsigned i = 0; i < SIM_TLB_SIZE; i++) {
        struct sim_translation *t = &cpu->tlb[i];
        struct sim_vm *vm = &sim.vms[t->slot];
        if (!t->valid || !vm->core || vm->stopped || cpu->seen[t->slot] != vm->generation)
            continue;
        check_size(vm, t);
        for (uint32_t n = 0; n < (t->large ? 512 : 1); n++)
            check_frame(vm, t->gfn + n, t->pfn + n, t->access & MM_WRITE, "has cached");
    }
    for (unsigned i = 0; i < SIM_WALK_SIZE; i++) {
        struct sim_walk *w = &cpu->walks[i];
        struct sim_vm *vm = &sim.vms[w->slot];
        if (!w->valid || !vm->core || vm->stopped || cpu->seen[w->slot] != vm->generation)
            continue;
        struct frame *frame = frame_at(pfn(w->table));
        sim_check(frame && frame->kind == FRAME_TABLE && frame->tag == sim_vm_id(vm->core),
                  "P3: %s region %#x: cached table %#x is none of its own", vm->name, w->region,
                  w->table);
    }
}

static void check_limits(struct sim_vm *vm)
{
    uint64_t values[MM_VM_COUNTER_COUNT];
    mm_vm_counters(vm->core, values);
    uint64_t homes = values[MM_VM_private] + values[MM_VM_shared] + values[MM_VM_zero] +
                     values[MM_VM_fill] + values[MM_VM_pool] + values[MM_VM_swap] +
                     values[MM_VM_counted] + values[MM_VM_busy] + values[MM_VM_balloon];
    sim_check(homes == vm->config.pages, "%s: %llu pages in all homes, %u configured", vm->name,
              (unsigned long long)homes, vm->config.pages);
    /* Its own pages never pass the limit. Its part of merged frames grows when
     * another VM leaves one, without any act of its own: that must not last. */
    sim_check(values[MM_VM_private] <= vm->config.limit_pages,
              "P8: %s has %llu pages private, its limit is %u", vm->name,
              (unsigned long long)values[MM_VM_private], vm->config.limit_pages);
    bool over = values[MM_VM_resident] > vm->config.limit_pages;
    vm->over_limit = over ? vm->over_limit + 1 : 0;
    sim_check(vm->over_limit < OVER_LIMIT_STEPS,
              "P8: %s has %llu pages resident for long, its limit is %u", vm->name,
              (unsigned long long)values[MM_VM_resident], vm->config.limit_pages);
}

/* Every page the sharing scan looked at was merged, or has a reason why not. */
static void check_share_reasons(void)
{
    uint64_t v[MM_HOST_COUNTER_COUNT];
    mm_host_counters(v);
    uint64_t merged = v[MM_HOST_share_merged] - v[MM_HOST_share_pairs] + v[MM_HOST_share_uniform];
    uint64_t reasons = v[MM_HOST_share_first_look] + v[MM_HOST_share_volatile] +
                       v[MM_HOST_share_unmatched] + v[MM_HOST_share_collision] +
                       v[MM_HOST_share_walk_limit] + v[MM_HOST_share_no_frame] +
                       v[MM_HOST_share_busy] + v[MM_HOST_share_gone] + v[MM_HOST_share_clean] +
                       v[MM_HOST_share_fill_full];
    sim_check(merged + reasons == v[MM_HOST_share_scanned],
              "%llu pages looked at, %llu merged, %llu with a reason",
              (unsigned long long)v[MM_HOST_share_scanned], (unsigned long long)merged,
              (unsigned long long)reasons);
}

void sim_oracle(bool content)
{
    char first[160] = "";
    unsigned violations;
    SIM_CORE(violations = mm_audit(first, sizeof first));
    sim_check(violations == 0, "audit: %u violations, the first: %s", violations, first);
    for (unsigned i = 0; i < SIM_VM_MAX; i++) {
        struct sim_vm *vm = &sim.vms[i];
        if (!vm->core || vm->stopped)
            continue;
        for (uint32_t g = 0; g < vm->config.pages; g++)
            check_leaf(vm, g, content);
        check_limits(vm);
    }
    for (unsigned i = 0; i < sim.settings.cpus; i++)
        check_cached(i);
    check_share_reasons();
    sim_poison();
}

void sim_verify(struct sim_vm *vm)
{
    for (uint32_t g = 0; g < vm->config.pages && !vm->stopped; g++)
        sim_read(vm, g);
}
