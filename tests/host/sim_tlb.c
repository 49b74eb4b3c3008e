/*
 * CPUs of the simulated machine, as far as nested paging goes. The walk is an
 * independent reading of the formats. EPT (Intel SDM volume 3, 29.3.2 and tables
 * 29-1 to 29-7): bits 2:0 read, write, execute; bit 7 a large page; bit 8 accessed;
 * bit 9 dirty; bits 51:12 the address. Nested paging (AMD APM volume 2, 5.3, 15.25):
 * bits 2:0 user, write, present, user needed by all; 5 accessed; 6 dirty; 63 no
 * execution; the rest alike. Translations and the place of leaf tables
 * are cached until the CPU enters the VM and finds its flush generation moved
 * on, or until a violation on that address (SDM 29.4.3.1). A large leaf is cached as
 * one translation of 512 pages.
 */
#include <string.h>

#include "tests/host/sim.h"

#define ENTRY_ACCESS  7ull
#define ENTRY_LARGE   (1ull << 7)
#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define ENTRY_USER    4ull /* nested paging */
#define ENTRY_NX      (1ull << 63)

static uint64_t accessed_bit(void)
{
    return sim.settings.npt ? 1ull << 5 : 1ull << 8;
}

static uint64_t dirty_bit(void)
{
    return sim.settings.npt ? 1ull << 6 : 1ull << 9;
}

/* MM_READ, MM_WRITE, MM_EXEC as the entry gives them. */
static unsigned rights_of(uint64_t entry)
{
    if (!sim.settings.npt)
        return (unsigned)(entry & ENTRY_ACCESS);
    if (!(entry & MM_READ))
        return 0;
    sim_check(entry & ENTRY_USER, "entry %#llx is not for guests", (unsigned long long)entry);
    sim_check(!(entry & (1ull << 3 | 1ull << 4)), "entry %#llx is not write-back",
              (unsigned long long)entry);
    return MM_READ | (unsigned)(entry & MM_WRITE) | (entry & ENTRY_NX ? 0 : MM_EXEC);
}

static void drop(struct sim_cpu *cpu, unsigned slot)
{
    for (unsigned i = 0; i < SIM_TLB_SIZE; i++)
        if (cpu->tlb[i].slot == slot)
            cpu->tlb[i].valid = false;
    for (unsigned i = 0; i < SIM_WALK_SIZE; i++)
        if (cpu->walks[i].slot == slot)
            cpu->walks[i].valid = false;
}

void sim_enter(struct sim_vcpu *vcpu)
{
    struct sim_cpu *cpu = &sim.cpus[vcpu->cpu];
    if (cpu->inside == vcpu)
        return;
    cpu->inside = vcpu;
    if (cpu->seen[vcpu->vm->slot] != vcpu->vm->generation) {
        drop(cpu, vcpu->vm->slot);
        cpu->seen[vcpu->vm->slot] = vcpu->vm->generation;
    }
}

void sim_leave(unsigned cpu)
{
    sim.cpus[cpu].inside = NULL;
}

/* P3: until the flush, what CPUs have cached leads to memory that is still theirs. */
static void check_before_flush(const struct sim_vm *vm)
{
    for (unsigned i = 0; i < sim.settings.cpus; i++)
        for (unsigned n = 0; n < SIM_TLB_SIZE; n++) {
            const struct sim_translation *t = &sim.cpus[i].tlb[n];
            const struct frame *frame = t->valid ? frame_at(pfn(t->pfn)) : NULL;
            if (frame && t->slot == vm->slot && sim.cpus[i].seen[vm->slot] == vm->generation)
                sim_check(frame->kind == FRAME_PRIVATE || frame->kind == FRAME_SHARED,
                          "P3: %s gfn %#x: frame %#x is free or reused before the flush", vm->name,
                          t->gfn, t->pfn);
        }
}

void sim_tlb_flush(struct mm_vm *core)
{
    if (!mm_vm_context(core))
        return; /* never ran */
    struct sim_vm *vm = sim_vm_of(core);
    check_before_flush(vm);
    /* Until the kick arrives, guests on other CPUs go on. */
    sim_meanwhile();
    vm->generation++;
    for (unsigned i = 0; i < sim.settings.cpus; i++)
        if (sim.cpus[i].inside && sim.cpus[i].inside->vm == vm) {
            struct sim_vcpu *vcpu = sim.cpus[i].inside;
            sim_leave(i);
            /* Kicked CPUs come back in at once. */
            if (i != sim.cpu)
                sim_enter(vcpu);
        }
}

static struct sim_translation *find(struct sim_cpu *cpu, unsigned slot, uint32_t gfn)
{
    for (unsigned i = 0; i < SIM_TLB_SIZE; i++) {
        struct sim_translation *t = &cpu->tlb[i];
        if (t->valid && t->slot == slot && t->gfn == (t->large ? gfn & ~511u : gfn))
            return t;
    }
    return NULL;
}

static uint32_t frame_of(const struct sim_translation *t, uint32_t gfn)
{
    return t->pfn + (gfn - t->gfn);
}

bool sim_cached(const struct sim_vcpu *vcpu, uint32_t gfn, struct sim_translation *found)
{
    struct sim_cpu *cpu = &sim.cpus[vcpu->cpu];
    if (cpu->seen[vcpu->vm->slot] != vcpu->vm->generation)
        return false;
    struct sim_translation *t = find(cpu, vcpu->vm->slot, gfn);
    if (t && found)
        *found = *t;
    return t != NULL;
}

static void forget(struct sim_cpu *cpu, unsigned slot, uint32_t gfn)
{
    struct sim_translation *t;
    while ((t = find(cpu, slot, gfn)))
        t->valid = false;
    for (unsigned i = 0; i < SIM_WALK_SIZE; i++)
        if (cpu->walks[i].valid && cpu->walks[i].slot == slot && cpu->walks[i].region == gfn >> 9)
            cpu->walks[i].valid = false;
}

static void set_bits(uint64_t *entry, uint64_t bits)
{
    __atomic_fetch_or(entry, bits, __ATOMIC_SEQ_CST);
}

static uint64_t *entry_of(struct sim_vm *vm, uint32_t table, uint32_t gfn, unsigned level)
{
    sim_check(sim_frame_valid(table), "vm %u gfn %#x: level %u table %#x out of the machine",
              vm->slot, gfn, level, table);
    struct frame *frame = frame_at(pfn(table));
    sim_check(frame && frame->kind == FRAME_TABLE,
              "vm %u gfn %#x: a walk reads frame %#x at level %u, of kind %d", vm->slot, gfn, table,
              level, frame ? frame->kind : -1);
    uint64_t *entries = sim_frame(table);
    return &entries[(gfn >> (9 * (level - 1))) & 511];
}

static uint32_t address_of(uint64_t entry)
{
    return (uint32_t)((entry & ENTRY_ADDRESS) >> PAGE_SHIFT);
}

static struct sim_walk *walk_of(struct sim_cpu *cpu, unsigned slot, uint32_t gfn)
{
    for (unsigned i = 0; i < SIM_WALK_SIZE; i++)
        if (cpu->walks[i].valid && cpu->walks[i].slot == slot && cpu->walks[i].region == gfn >> 9)
            return &cpu->walks[i];
    return NULL;
}

/* Down to the leaf table, by the cache or from the root; 0: violation. Large
 * leaves end the walk early: *large then holds the entry. */
static uint32_t leaf_table(struct sim_cpu *cpu, struct sim_vm *vm, uint32_t gfn, unsigned access,
                           unsigned *allowed, uint64_t **large, unsigned *level_found)
{
    struct sim_walk *cached = walk_of(cpu, vm->slot, gfn);
    if (cached && (cached->access & access) == access) {
        *allowed = cached->access;
        return cached->table;
    }
    uint32_t table = hpa_to_pfn(mm_vm_root(vm->core)).v;
    *allowed = ENTRY_ACCESS;
    for (unsigned level = 4; level > 1; level--) {
        uint64_t *entry = entry_of(vm, table, gfn, level), value = *entry;
        *allowed &= rights_of(value);
        if ((*allowed & access) != access)
            return 0;
        if (level < 4 && value & ENTRY_LARGE) {
            *large = entry;
            *level_found = level;
            return 0;
        }
        if (sim.settings.core.accessed_dirty)
            set_bits(entry, accessed_bit());
        table = address_of(value);
    }
    cpu->walks[rng_below(&sim.meanwhile, SIM_WALK_SIZE)] =
        (struct sim_walk){ .valid = true,
                           .slot = (uint8_t)vm->slot,
                           .access = (uint8_t)*allowed,
                           .region = gfn >> 9,
                           .table = table };
    return table;
}

void sim_speculate(const struct sim_vcpu *vcpu, uint32_t gfn)
{
    struct sim_cpu *cpu = &sim.cpus[vcpu->cpu];
    unsigned allowed, level;
    uint64_t *large = NULL;
    if (cpu->inside == vcpu)
        leaf_table(cpu, vcpu->vm, gfn, MM_READ, &allowed, &large, &level);
}

static bool walk(struct sim_cpu *cpu, struct sim_vm *vm, uint32_t gfn, unsigned access,
                 uint32_t *frame)
{
    unsigned allowed, level = 1;
    uint64_t *entry = NULL;
    uint32_t table = leaf_table(cpu, vm, gfn, access, &allowed, &entry, &level);
    if (table)
        entry = entry_of(vm, table, gfn, 1);
    if (!entry)
        return false;
    uint64_t value = *entry;
    allowed &= rights_of(value);
    if ((allowed & access) != access)
        return false;
    sim_check((rights_of(value) & ~MM_EXEC) != MM_WRITE, "vm %u gfn %#x: write-only entry %#llx",
              vm->slot, gfn, (unsigned long long)value);
    bool dirty = !sim.settings.core.accessed_dirty || access & MM_WRITE;
    if (sim.settings.core.accessed_dirty)
        set_bits(entry, accessed_bit() | (access & MM_WRITE ? dirty_bit() : 0));
    sim_check(level <= 2 && (level == 1 || address_of(value) % 512 == 0),
              "vm %u gfn %#x: entry %#llx of level %u is no leaf", vm->slot, gfn,
              (unsigned long long)value, level);
    uint32_t offset = level == 2 ? gfn & 511 : 0;
    *frame = address_of(value) + offset;
    struct sim_translation *slot = find(cpu, vm->slot, gfn);
    if (!slot)
        slot = &cpu->tlb[rng_below(&sim.meanwhile, SIM_TLB_SIZE)];
    *slot = (struct sim_translation){ .valid = true,
                                      .dirty = dirty,
                                      .large = level == 2,
                                      .access = (uint8_t)allowed,
                                      .slot = (uint8_t)vm->slot,
                                      .gfn = gfn - offset,
                                      .pfn = *frame - offset };
    return true;
}

bool sim_translate(unsigned number, struct sim_vm *vm, uint32_t gfn, unsigned access,
                   uint32_t *frame)
{
    struct sim_cpu *cpu = &sim.cpus[number];
    struct sim_translation *t = find(cpu, vm->slot, gfn);
    if (t && (t->access & access) == access && (!(access & MM_WRITE) || t->dirty)) {
        *frame = frame_of(t, gfn);
        return true;
    }
    if (walk(cpu, vm, gfn, access, frame))
        return true;
    forget(cpu, vm->slot, gfn);
    return false;
}

uint64_t sim_peek(struct sim_vm *vm, uint32_t gfn, unsigned *level)
{
    uint32_t table = hpa_to_pfn(mm_vm_root(vm->core)).v;
    for (*level = 4; *level > 1; (*level)--) {
        uint64_t value = *entry_of(vm, table, gfn, *level);
        if (!(value & ENTRY_ACCESS) || (*level < 4 && value & ENTRY_LARGE))
            return value;
        table = address_of(value);
    }
    return *entry_of(vm, table, gfn, 1);
}
