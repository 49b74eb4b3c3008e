/*
 * What a reclaimed page costs, as the host grows: leaf entries read (each under its
 * lock) and VMs looked at for each page that leaves RAM. Counted, not timed: the
 * same on every machine.
 *
 *   bench_steps [hosts]      hosts: up to 10000 VMs and 1 TiB, minutes and 8 GiB of RAM
 *
 * First VMs of one size on a host with three quarters of their memory and a disk:
 * each guest writes all of its memory, then reads it at random. Contents are generated.
 *
 * Then many VMs on a host far larger than this one. Its frames have descriptors, tables
 * and a pool, but all guests' frames have one content; what VMs do not fill of it is
 * held by nobody's frames from the start.
 *
 * Every entry is reached through nested_lock(), every VM is judged by vm_resident();
 * the linker wraps both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/machine.h"
#include "bench/measure.h"
#include "lib/rng.h"
#include "mm/block.h"
#include "mm/core.h"
#include "mm/mm.h"
#include "mm/nested.h"
#include "mm/vm.h"

#define VM_PAGES   2048u
#define MANY_PAGES 4096u /* of each of many VMs */

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

uint32_t __real_vm_resident(const struct mm_vm *vm);
uint32_t __wrap_vm_resident(const struct mm_vm *vm);

uint32_t __wrap_vm_resident(const struct mm_vm *vm)
{
    steps += counting;
    return __real_vm_resident(vm);
}

static void work(void)
{
    counting = true;
    mm_step();
    if (disk)
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
        panic("VM %u, page %u: answer %d", vm, page, (int)answer);
    struct rng rng;
    rng_seed(&rng, vm * 1000003ull + page);
    for (uint32_t i = 0; disk && write && i < PAGE_WORDS; i++)
        ((uint64_t *)at)[i] = rng_next(&rng) & 0xffff;
    mm_unpin(vms[vm], gfn(page));
}

static void create(unsigned count, uint32_t pages)
{
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        struct mm_admission_sum sum;
        snprintf(name, sizeof(name), "vm%u", i);
        struct mm_vm_config vm = {
            .name = name, .pages = pages, .limit_pages = pages, .shares = 1000, .vcpu_count = 1
        };
        enum mm_admission answer = mm_vm_create(&vm, &vms[i], &sum);
        if (answer != MM_ADMIT_OK)
            panic("VM %u: %s", i, mm_admission_name(answer));
        mm_vcpu_init(&vcpus[i], vms[i], 0);
    }
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
    create(count, VM_PAGES);
}

/* VMs of half as much memory again as what is left for them of a host of so many frames. */
static void start_many(unsigned count, uint32_t pages, uint64_t frames)
{
    static uint8_t content[PAGE_SIZE];
    for (uint32_t i = 0; i < PAGE_SIZE; i++)
        content[i] = (uint8_t)(i % 61);
    struct frame_region region = machine_start_sparse(frames);
    struct mm_config config;
    mm_config_default(&config);
    config.tiers[MM_TIER_SHARE] = config.tiers[MM_TIER_BALLOON] = false;
    config.tiers[MM_TIER_SWAP] = false;
    config.max_physical_bits = 46;
    disk = NULL;
    if (!mm_init(&config, &region, 1))
        panic("no core for %llu frames", (unsigned long long)frames);
    create(count, pages);
    machine_share_content(content);
    /* As much of every host for the guests: minFree is another part of each. */
    while (frame_free_count() > (uint64_t)count * pages / 3 * 2 + core.min_free)
        frame_alloc(FRAME_BOOK, FRAME_ORDINARY);
}

/* Steps for each page that left RAM, while each of `count` VMs writes its pages and
 * reads some of them again. */
static double run(unsigned count, uint32_t pages)
{
    uint64_t values[MM_HOST_COUNTER_COUNT], writes = (uint64_t)pages * count;
    struct rng rng;
    rng_seed(&rng, 1);
    steps = 0;
    for (uint64_t i = 0; i < writes + writes / 4; i++) {
        bool write = i < writes;
        touch((unsigned)(i % count),
              write ? (uint32_t)(i / count) : (uint32_t)rng_below(&rng, pages), write);
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

static void tell(const char *set, double figure, double one)
{
    measure_figure("steps, a reclaimed page", set, "", figure, one > 0 ? "one VM" : "", one,
                   one > 0 ? 1.2 : 0);
}

int main(int argc, char **argv)
{
    (void)argv;
    static const struct {
        const char *name;
        unsigned vms;
        uint32_t pages;
        uint64_t gib;
    } hosts[] = { { "1 VM, 1 GiB", 1, 196608, 1 },
                  { "100 VMs, 16 GiB", 100, 16384, 16 },
                  { "1000 VMs, 128 GiB", 1000, MANY_PAGES, 128 },
                  { "10000 VMs, 1 TiB", 10000, 1024, 1024 } };
    double one = 0;
    for (unsigned count = 1; count <= 64; count *= 4) {
        char set[32];
        start(count);
        double figure = run(count, VM_PAGES);
        snprintf(set, sizeof(set), count == 1 ? "%u VM" : "%u VMs", count);
        tell(set, figure, count == 1 ? 0 : one);
        one = count == 1 ? figure : one;
    }
    unsigned some = argc > 1 ? sizeof(hosts) / sizeof(hosts[0]) : 2;
    for (unsigned i = 0; i < some; i++) {
        start_many(hosts[i].vms, hosts[i].pages, hosts[i].gib << (30 - PAGE_SHIFT));
        double figure = run(hosts[i].vms, hosts[i].pages);
        tell(hosts[i].name, figure, i == 0 ? 0 : one);
        one = i == 0 ? figure : one;
    }
    return 0;
}
