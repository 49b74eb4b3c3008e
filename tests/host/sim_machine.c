/*
 * machine_*() of the simulated machine. They are weak, so that a unit test can
 * define its own, and depend on nothing of the core: what needs the core hangs
 * on sim_hooks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/host/sim.h"

#define WEAK __attribute__((weak))

struct sim sim;
struct sim_hooks sim_hooks;

void sim_memory_start(const struct sim_settings *settings)
{
    memset(&sim, 0, sizeof sim);
    memset(&sim_hooks, 0, sizeof sim_hooks);
    sim.settings = *settings;
    rng_seed(&sim.rng, settings->seed);
    rng_seed(&sim.entropy, settings->seed ^ 0xe17u);
    rng_seed(&sim.meanwhile, settings->seed ^ 0x3ea2u);
    sim.digest = 0xcbf29ce484222325ull;
    sim.arena = aligned_alloc(PAGE_SIZE, (size_t)settings->frames * PAGE_SIZE);
    memset(sim.arena, 0xa5, (size_t)settings->frames * PAGE_SIZE);
    sim.poisoned = calloc(settings->frames, 1);
}

void sim_memory_stop(void)
{
    memset(&sim_hooks, 0, sizeof sim_hooks);
    sim.running = false;
    for (unsigned i = 0; i < sim.dma_count; i++)
        free(sim.dma[i]);
    free(sim.arena);
    free(sim.poisoned);
    sim.arena = sim.poisoned = NULL;
}

bool sim_frame_valid(uint32_t pfn)
{
    return pfn >= SIM_PFN_FIRST && pfn - SIM_PFN_FIRST < sim.settings.frames;
}

void *sim_frame(uint32_t pfn)
{
    if (!sim_frame_valid(pfn))
        sim_fail("frame %#x is not of this machine", pfn);
    return sim.arena + (uint64_t)(pfn - SIM_PFN_FIRST) * PAGE_SIZE;
}

WEAK void *machine_frame_map(pfn_t frame)
{
    void *page = sim_frame(frame.v);
    if (sim_hooks.frame_map)
        sim_hooks.frame_map(frame);
    return page;
}

WEAK void machine_flush_vm(struct mm_vm *vm)
{
    sim.flushes++;
    if (sim_hooks.flush)
        sim_hooks.flush(vm);
}

WEAK uint64_t machine_time_ns(void)
{
    return sim.time += 1000;
}

WEAK void machine_entropy(void *bytes, size_t size)
{
    for (uint8_t *at = bytes; size--; at++)
        *at = (uint8_t)(rng_next(&sim.entropy) >> 32);
}

WEAK unsigned machine_cpu(void)
{
    return sim.cpu;
}

WEAK void machine_vcpu_wake(struct mm_vcpu *vcpu)
{
    if (sim_hooks.wake)
        sim_hooks.wake(vcpu);
}

WEAK void machine_vm_stop(struct mm_vm *vm, enum mm_stop_reason reason)
{
    if (sim_hooks.stop)
        sim_hooks.stop(vm, reason);
}

WEAK void machine_event(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b)
{
    sim.events[kind]++;
    sim.event_a[kind] = a;
    sim.event_b[kind] = b;
    const uint64_t words[] = { kind, a, b };
    for (unsigned i = 0; i < 3; i++)
        sim.digest = (sim.digest ^ words[i]) * 0x100000001b3ull;
    if (sim_hooks.event)
        sim_hooks.event(kind, vm, a, b);
}

WEAK void *machine_dma_alloc(size_t size, hpa_t *address)
{
    if (sim.dma_count == sizeof sim.dma / sizeof sim.dma[0])
        return NULL;
    void *memory = aligned_alloc(PAGE_SIZE, (size + PAGE_MASK) & ~(size_t)PAGE_MASK);
    if (!memory)
        return NULL;
    sim.dma[sim.dma_count++] = memory;
    address->v = 0x100000u + sim.dma_count * 0x100000u;
    return memory;
}

void sim_trace(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(sim.trace[sim.trace_next++ % SIM_TRACE], sizeof sim.trace[0], format, args);
    va_end(args);
}

static void print_trace(void)
{
    fprintf(stderr, "seed %llu, step %llu, cpu %u; the last operations:\n",
            (unsigned long long)sim.settings.seed, (unsigned long long)sim.step, sim.cpu);
    for (unsigned i = 0; i < SIM_TRACE; i++) {
        const char *line = sim.trace[(sim.trace_next + i) % SIM_TRACE];
        if (*line)
            fprintf(stderr, "  %s\n", line);
    }
}

__attribute__((constructor)) static void print_trace_on_panic(void)
{
    support_panic_hook = print_trace;
}

_Noreturn void sim_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("sim: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    print_trace();
    fail();
    abort();
}
