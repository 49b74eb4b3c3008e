/*
 * What a reclaimed page costs, as the host grows: leaf entries that reclaim looks
 * at for each page that leaves RAM. Counted, not timed: the same on every machine.
 *
 *   bench_steps
 *
 * VMs of one size on a host with three quarters of their memory and a disk; each
 * guest writes all of its memory, then reads it at random. Contents are generated.
 * Every entry is reached through nested_lock(), which the linker wraps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/machine.h"
#include "bench/measure.h"
#include "lib/rng.h"
#include "mm/block.h"
#include "mm/mm.h"
#include "mm/nested.h"

#define VM_PAGES 2048u
#define READS    1024u /* of each VM */

static bool counting;
static uint64_t steps;
static struct mm_vm *vms[MM_VM_MAX];
static struct mm_vcpu vcpus[MM_VM_MAX];
static struct block_device *disk;

/* The names that the linker's --wrap gives. */
bool __real_nested_lock(struct mm_vm *vm, gfn_t page, enum nested_mode mode, struct leaf *leaf);
bool __wrap_nested_lock(struct mm_vm *vm, gfn_t page, enum nested_mode mode, struct leaf *leaf);

bool __wrap_nested_lock(struct mm_vm *vm, gfn_t page, enum nested_mode mode, struct leaf *leaf)
{
    steps += counting;
    return __real_nested_lock(vm, page, mode, leaf);
}

static void work(void)
{
    counting = true;
    mm_step();
    disk->poll(disk);
    counting = false;
}

static void touch(unsigned vm, uint32_t page, bool write)
{
    void *at;
    enum mm_answer answer;
    while ((answer = mm_pin(vms[vm], &vcpus[vm], gfn(page), write ? MM_WRITE : MM_READ, &at)) ==
           MM_WAIT)
        work();
    if (answer != MM_DONE)
        exit(1);
    struct rng rng;
    rng_seed(&rng, vm * 1000003ull + page);
    for (uint32_t i = 0; write && i < PAGE_WORDS; i++)
        ((uint64_t *)at)[i] = rng_next(&rng) & 0xffff;
    mm_unpin(vms[vm], gfn(page));
}

static void start(unsigned count)
{
    uint32_t frames = count * VM_PAGES * 3 / 4 + 256;
    struct frame_region region = machine_start(frames);
    disk = machine_disk((uint64_t)count * VM_PAGES * PAGE_SIZE * 2);
    struct mm_config config;
    mm_config_default(&config);
    config.tiers[MM_TIER_SHARE] = config.tiers[MM_TIER_BALLOON] = false;
    if (!mm_init(&config, &region, 1) || mm_swap_attach(disk, 0, disk->sector_count) != 0)
        exit(1);
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        struct mm_admission_sum sum;
        snprintf(name, sizeof(name), "vm%u", i);
        struct mm_vm_config vm = { .name = name,
                                   .pages = VM_PAGES,
                                   .limit_pages = VM_PAGES,
                                   .shares = 1000,
                                   .vcpu_count = 1 };
        if (mm_vm_create(&vm, &vms[i], &sum) != MM_ADMIT_OK)
            exit(1);
        mm_vcpu_init(&vcpus[i], vms[i], 0);
    }
}

/* Entries looked at for each page that left RAM. */
static double run(unsigned count)
{
    uint64_t values[MM_HOST_COUNTER_COUNT];
    struct rng rng;
    rng_seed(&rng, 1);
    start(count);
    steps = 0;
    for (uint32_t i = 0; i < (VM_PAGES + READS) * count; i++) {
        bool write = i < VM_PAGES * count;
        touch(i % count, write ? i / count : (uint32_t)rng_below(&rng, VM_PAGES), write);
        if (i % 16 == 0)
            work();
        if (i % 1024 == 0)
            mm_tick();
    }
    mm_host_counters(values);
    uint64_t left =
        values[MM_HOST_freed_zero] + values[MM_HOST_freed_compress] + values[MM_HOST_freed_swap];
    return left ? (double)steps / (double)left : 0;
}

int main(void)
{
    double one = 0;
    for (unsigned count = 1; count <= MM_VM_MAX; count *= 4) {
        char set[32];
        double figure = run(count);
        if (count == 1)
            one = figure;
        snprintf(set, sizeof(set), count == 1 ? "%u VM" : "%u VMs", count);
        measure_figure("entries looked at, a reclaimed page", set, "", figure,
                       count == 1 ? "" : "one VM", count == 1 ? 0 : one, count == 1 ? 0 : 1.2);
    }
    return 0;
}
