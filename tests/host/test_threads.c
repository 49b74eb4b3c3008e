/*
 * The memory core under real threads, built with ThreadSanitizer (host.mk):
 * every thread is a CPU. Some run the vCPUs of several VMs, one is the disk, all
 * of them do the core's work in between as the hypervisor's loop does; VMs come
 * and go. Memory is short, so pages merge, compress, swap, balloon and come
 * back all the time.
 *
 * A vCPU goes through a translation cache of its CPU, which keeps an entry until
 * the CPU enters the VM with another flush generation; machine_flush_vm() waits
 * for CPUs inside that VM's guest mode, and for no other. Guests' accesses are
 * hidden from the sanitizer, as a guest's are from any lock: what goes wrong
 * there shows in the content. Each page belongs to one vCPU, which knows what it
 * must hold. Everybody stops now and then for the audit.
 *
 * Bounded by operations, not by time: BALLAST_THREADS_OPS for each vCPU.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/atomic.h"
#include "lib/crc32.h"
#include "lib/lock.h"
#include "lib/rng.h"
#include "mm/block.h"
#include "mm/locks.h"
#include "mm/mm.h"
#include "mm/swap_format.h"
#include "tests/host/support.h"
#include "tests/host/threads_content.h"

#define PFN_FIRST  0x4321u
#define FRAMES     1100u /* short of what the guests want */
#define PLENTY     3600u
#define DISK_PAGES 4000u
#define VMS        3u
#define VCPUS      2u
#define PAGES      600u
#define GUESTS     (VMS * VCPUS)
#define DISK_CPU   GUESTS
#define MAIN_CPU   (GUESTS + 1)
#define CPUS       (GUESTS + 2)
#define TLB        64u
#define ROUNDS     8u

/* ---- the machine ----------------------------------------------------------------- */

struct machine_vm {
    struct mm_vm *core;
    uint64_t generation;
    bool stopped;
    unsigned slot;
};

struct translation {
    uint32_t gfn, pfn;
    bool valid, writable;
};

struct cpu {
    struct machine_vm *inside; /* in guest mode of this VM */
    bool kicked;
    struct translation tlb[TLB];
    uint64_t seen;
} __attribute__((aligned(64)));

struct vcpu {
    struct mm_vcpu core;
    struct machine_vm *vm;
    unsigned index;
    struct rng rng;
    uint64_t salt[PAGES]; /* what selects a page's content; own pages only */
    uint8_t kind[PAGES];  /* enum content */
    uint64_t reads, writes, waits;
};

static uint8_t *arena;
static uint32_t frames = FRAMES;
static bool large_pages;
static struct cpu cpus[CPUS];
static struct machine_vm vms[VMS];
static struct vcpu vcpus[VMS][VCPUS];
static _Thread_local unsigned this_cpu = MAIN_CPU;
static uint64_t entropy = 1, clock_ns, flushes, kicks, moved;
static bool leave_out_kick, leave_out_own; /* what a broken machine forgets */
static uint64_t wrong_pages;
/* Long stays in guest mode: percent of operations, accesses in each. */
static uint64_t linger_share = 2, stay = 60;

GUEST_CODE void *machine_frame_map(pfn_t frame)
{
    ensure(frame.v - PFN_FIRST < frames);
    return arena + (uint64_t)(frame.v - PFN_FIRST) * PAGE_SIZE;
}

void machine_flush_vm(struct mm_vm *mm)
{
    struct machine_vm *vm = mm_vm_context(mm);
    atomic_add(flushes, 1);
    if (!vm)
        return;
    if (!leave_out_own)
        __atomic_fetch_add(&vm->generation, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < CPUS && !leave_out_kick; i++) {
        if (i == this_cpu || __atomic_load_n(&cpus[i].inside, __ATOMIC_SEQ_CST) != vm)
            continue;
        atomic_add(kicks, 1);
        __atomic_store_n(&cpus[i].kicked, true, __ATOMIC_SEQ_CST);
        for (unsigned turn = 0; __atomic_load_n(&cpus[i].inside, __ATOMIC_SEQ_CST) == vm &&
                                __atomic_load_n(&cpus[i].kicked, __ATOMIC_SEQ_CST);
             turn++)
            lock_relax(turn);
    }
}

uint64_t machine_time_ns(void)
{
    return atomic_add(clock_ns, 1000);
}

unsigned machine_cpu(void)
{
    return this_cpu;
}

void machine_entropy(void *bytes, size_t size)
{
    struct rng rng;
    rng_seed(&rng, atomic_add(entropy, 1));
    for (uint8_t *at = bytes; size--; at++)
        *at = (uint8_t)(rng_next(&rng) >> 32);
}

void machine_vcpu_wake(struct mm_vcpu *vcpu)
{
    (void)vcpu; /* who sleeps looks at mm_vcpu_waiting() */
}

void machine_vm_stop(struct mm_vm *mm, enum mm_stop_reason reason)
{
    struct machine_vm *vm = mm_vm_context(mm);
    fprintf(stderr, "VM %u is stopped: %s\n", vm->slot, mm_stop_reason_name(reason));
    atomic_set(vm->stopped, true);
    atomic_add(wrong_pages, 1);
}

void machine_event(enum mm_event_kind kind, struct mm_vm *vm, uint64_t a, uint64_t b)
{
    (void)kind, (void)vm, (void)a, (void)b;
}

void *machine_dma_alloc(size_t size, hpa_t *address)
{
    address->v = 0x100000;
    return aligned_alloc(PAGE_SIZE, size);
}

/* ---- the disk: a thread completes what others submit --------------------------------- */

static uint8_t *disk_bytes;
static struct list_node disk_queue = { &disk_queue, &disk_queue };
static struct spinlock disk_lock = { .rank = LOCK_RANK_BELOW };

static void submit(struct block_device *device, struct block_request *request)
{
    (void)device;
    spin_lock(&disk_lock);
    list_append(&disk_queue, &request->link);
    spin_unlock(&disk_lock);
}

static bool complete(void)
{
    spin_lock(&disk_lock);
    struct list_node *node = list_pop(&disk_queue);
    spin_unlock(&disk_lock);
    if (!node)
        return false;
    struct block_request *request = container_of(node, struct block_request, link);
    uint8_t *at = disk_bytes + request->sector * BLOCK_SECTOR_SIZE;
    size_t size = (size_t)request->sector_count * BLOCK_SECTOR_SIZE;
    if (request->operation == BLOCK_READ)
        memcpy(request->buffer, at, size);
    else
        memcpy(at, request->buffer, size);
    request->status = BLOCK_OK;
    request->done(request);
    return true;
}

static void poll(struct block_device *device)
{
    (void)device;
    complete();
}

static struct block_device disk = {
    .name = "threads", .max_sectors = 256, .queue_depth = 8, .submit = submit, .poll = poll
};

static void disk_format(void)
{
    disk.sector_count = SWAP_DATA_SECTOR + DISK_PAGES * 9;
    disk_bytes = calloc(disk.sector_count, BLOCK_SECTOR_SIZE);
    struct swap_header header = { .magic = SWAP_MAGIC,
                                  .version = SWAP_VERSION,
                                  .sector_size = BLOCK_SECTOR_SIZE,
                                  .sector_count = disk.sector_count };
    header.check = crc32_add(0, &header, offsetof(struct swap_header, check));
    memcpy(disk_bytes, &header, sizeof header);
}

/* ---- guest mode ------------------------------------------------------------------------ */

GUEST_CODE static void enter(struct vcpu *vcpu)
{
    struct cpu *cpu = &cpus[this_cpu];
    atomic_set(cpu->kicked, false);
    __atomic_store_n(&cpu->inside, vcpu->vm, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t generation = __atomic_load_n(&vcpu->vm->generation, __ATOMIC_SEQ_CST);
    if (cpu->seen != generation) {
        for (unsigned i = 0; i < TLB; i++)
            cpu->tlb[i].valid = false;
        cpu->seen = generation;
    }
}

GUEST_CODE static void leave(void)
{
    __atomic_store_n(&cpus[this_cpu].inside, NULL, __ATOMIC_SEQ_CST);
}

/* An interrupt window, as there is one between any two instructions. */
static void window(struct vcpu *vcpu)
{
    if (__atomic_load_n(&cpus[this_cpu].kicked, __ATOMIC_SEQ_CST)) {
        leave();
        enter(vcpu);
    }
}

#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define ENTRY_LARGE   (1ull << 7)

/* By the cache or by a walk that sets accessed and dirty bits; NULL: violation. */
GUEST_CODE static uint8_t *translate(struct vcpu *vcpu, uint32_t page, bool write)
{
    struct translation *t = &cpus[this_cpu].tlb[page % TLB];
    if (t->valid && t->gfn == page && (t->writable || !write))
        return machine_frame_map(pfn(t->pfn));
    uint64_t at = mm_vm_root(vcpu->vm->core).v;
    for (unsigned level = 4;; level--) {
        uint64_t *entries = machine_frame_map(hpa_to_pfn(hpa(at & ENTRY_ADDRESS)));
        uint64_t *entry = &entries[(page >> (9 * (level - 1))) & 511];
        uint64_t value = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
        if (!(value & MM_READ) || (write && !(value & MM_WRITE)))
            break;
        bool leaf = level == 1 || (level == 2 && value & ENTRY_LARGE);
        uint64_t bits = 1ull << 8 | (leaf && write ? 1ull << 9 : 0);
        if (!__atomic_compare_exchange_n(entry, &value, value | bits, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED)) {
            level++; /* changed meanwhile: look at it again */
            continue;
        }
        at = value;
        if (!leaf)
            continue;
        uint32_t offset = level == 2 ? page & 511 : 0;
        *t = (struct translation){ page, hpa_to_pfn(hpa(at & ENTRY_ADDRESS)).v + offset, true,
                                   (value & MM_WRITE) && write };
        return machine_frame_map(pfn(t->pfn));
    }
    t->valid = false;
    return NULL;
}

/* ---- vCPUs ------------------------------------------------------------------------------------
 */

/* What a CPU of the hypervisor does between two stays in a guest. */
static void work(void)
{
    for (unsigned i = 0; i < 3 && mm_step(); i++)
        ;
}

static void sleep_while_waiting(struct vcpu *vcpu)
{
    vcpu->waits++;
    for (unsigned turn = 0; mm_vcpu_waiting(&vcpu->core) != MM_WAIT_NONE; turn++) {
        work();
        sched_yield();
        if (turn > 2000000)
            panic("vCPU %u of VM %u waits for ever (%s)", vcpu->index, vcpu->vm->slot,
                  mm_wait_name(mm_vcpu_waiting(&vcpu->core)));
    }
}

/* In guest mode on return, with a translation that holds until the next window. */
static uint8_t *touch(struct vcpu *vcpu, uint32_t page, bool write)
{
    for (unsigned tries = 0;; tries++) {
        enter(vcpu);
        uint8_t *at = translate(vcpu, page, write);
        if (at)
            return at;
        leave();
        enum mm_answer answer =
            mm_fault(&vcpu->core, gfn_to_gpa(gfn(page)), write ? MM_READ | MM_WRITE : MM_READ);
        if (answer == MM_WAIT)
            sleep_while_waiting(vcpu);
        else if (answer != MM_DONE || tries > 100000)
            panic("VM %u page %u: answer %d, %u tries", vcpu->vm->slot, page, answer, tries);
    }
}

static void write_page(struct vcpu *vcpu, uint32_t page, enum content kind, uint64_t salt)
{
    fill(touch(vcpu, page, true), kind, salt);
    leave();
    vcpu->kind[page] = (uint8_t)kind;
    vcpu->salt[page] = salt;
    vcpu->writes++;
}

static void complain(struct vcpu *vcpu, uint32_t page)
{
    if (leave_out_kick || leave_out_own)
        _exit(1);
    if (atomic_add(wrong_pages, 1) == 0)
        fprintf(stderr, "VM %u page %u does not hold content %u of %llx\n", vcpu->vm->slot, page,
                vcpu->kind[page], (unsigned long long)vcpu->salt[page]);
}

static void read_page(struct vcpu *vcpu, uint32_t page)
{
    if (!holds(touch(vcpu, page, false), vcpu->kind[page], vcpu->salt[page]))
        complain(vcpu, page);
    leave();
    vcpu->reads++;
}

static uint32_t own_page(struct vcpu *vcpu)
{
    /* Neighbours belong to different vCPUs, so they meet in the tables. */
    uint32_t most = rng_below(&vcpu->rng, 2) ? PAGES / VCPUS : PAGES / VCPUS / 4;
    return (uint32_t)rng_below(&vcpu->rng, most) * VCPUS + vcpu->index;
}

/* A long stay in guest mode, on pages that need no fault, with windows between:
 * here a missing kick shows. */
static void linger(struct vcpu *vcpu)
{
    enter(vcpu);
    for (uint64_t i = 0; i < stay; i++) {
        uint32_t page = own_page(vcpu);
        uint64_t salt = rng_next(&vcpu->rng) % 100000;
        uint8_t *at = translate(vcpu, page, true);
        if (at) {
            fill(at, TEXT, salt);
            vcpu->kind[page] = TEXT;
            vcpu->salt[page] = salt;
        }
        if (i % 8 == 7)
            sched_yield();
        window(vcpu);
    }
    leave();
}

static void pin_page(struct vcpu *vcpu, uint32_t page, bool write)
{
    void *at;
    enum mm_answer answer;
    while ((answer = mm_pin(vcpu->vm->core, &vcpu->core, gfn(page), write ? MM_WRITE : MM_READ,
                            &at)) == MM_WAIT)
        sleep_while_waiting(vcpu);
    if (answer != MM_DONE)
        panic("VM %u page %u: pin answers %d", vcpu->vm->slot, page, answer);
    if (!holds(at, vcpu->kind[page], vcpu->salt[page]))
        complain(vcpu, page);
    if (write)
        fill(at, vcpu->kind[page], vcpu->salt[page]);
    mm_unpin(vcpu->vm->core, gfn(page));
}

static void balloon(struct vcpu *vcpu, uint32_t page)
{
    enum mm_balloon_result result;
    while ((result = mm_balloon_inflate(&vcpu->core, gfn(page))) == MM_BALLOON_WAIT)
        sleep_while_waiting(vcpu);
    if (result == MM_BALLOON_OK) {
        vcpu->kind[page] = ZERO;
        atomic_add(moved, 1);
    }
    mm_balloon_driver(vcpu->vm->core, true, false, page);
    if (large_pages || rng_below(&vcpu->rng, 2))
        mm_balloon_deflate(&vcpu->core, gfn(page));
    if (large_pages) /* ranges shall become whole again */
        write_page(vcpu, page, TEXT, page);
}

static void operate(struct vcpu *vcpu)
{
    uint32_t page = own_page(vcpu);
    uint64_t dice = rng_below(&vcpu->rng, 100);
    if (dice < linger_share)
        linger(vcpu);
    else if (dice < 45)
        read_page(vcpu, page);
    else if (dice < 80)
        write_page(vcpu, page, (enum content)rng_below(&vcpu->rng, CONTENT_COUNT),
                   rng_next(&vcpu->rng) % 100000);
    else if (dice < 90)
        pin_page(vcpu, page, rng_below(&vcpu->rng, 2));
    else if (dice < 96 && (!large_pages || rng_below(&vcpu->rng, 20) == 0))
        balloon(vcpu, page);
    else
        work();
}

/* ---- the run -----------------------------------------------------------------------------------
 */

static pthread_barrier_t barrier;
static bool disk_stops;
/* Guests that have not come to the barrier of this round: of the VM that goes and
 * comes again in it, and of the others. */
static unsigned going, running;
static uint64_t ops;

static struct vcpu *vcpu_of(unsigned cpu)
{
    return &vcpus[cpu / VCPUS][cpu % VCPUS];
}

static void *guest_thread(void *number)
{
    this_cpu = (unsigned)(uintptr_t)number;
    struct vcpu *vcpu = vcpu_of(this_cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&barrier); /* VMs are there */
        bool goes = vcpu->vm->slot == round % VMS;
        for (uint64_t i = 0; i < (goes ? ops / 2 : ops); i++)
            operate(vcpu);
        __atomic_fetch_sub(goes ? &going : &running, 1, __ATOMIC_ACQ_REL);
        pthread_barrier_wait(&barrier); /* all have stopped: the audit */
    }
    return NULL;
}

static void *disk_thread(void *nothing)
{
    (void)nothing;
    this_cpu = DISK_CPU;
    for (unsigned turn = 0; !__atomic_load_n(&disk_stops, __ATOMIC_ACQUIRE); turn++) {
        if (!complete())
            sched_yield();
        if (turn % 64 == 0)
            mm_tick();
        if (turn % 8 == 0)
            mm_step();
        if (turn % 1024 == 0) {
            uint64_t values[MM_HOST_COUNTER_COUNT];
            mm_host_counters(values);
        }
    }
    return NULL;
}

static void vm_make(unsigned slot)
{
    struct mm_vm_config config = {
        .name = "thread",
        .pages = PAGES,
        .limit_pages = slot == 1 ? PAGES * 3 / 4 : PAGES,
        .shares = 1000,
        .salt = 7,
        .balloon = true,
        .vcpu_count = VCPUS,
    };
    enum mm_admission answer = mm_vm_create(&config, &vms[slot].core, NULL);
    if (answer != MM_ADMIT_OK)
        panic("VM %u: %s", slot, mm_admission_name(answer));
    vms[slot].slot = slot;
    vms[slot].generation++; /* nothing of a former VM may be left in a cache */
    for (unsigned i = 0; i < VCPUS; i++) {
        struct vcpu *vcpu = &vcpus[slot][i];
        vcpu->vm = &vms[slot];
        vcpu->index = i;
        memset(vcpu->kind, ZERO, sizeof vcpu->kind);
        mm_vcpu_init(&vcpu->core, vms[slot].core, i);
    }
    mm_vm_set_context(vms[slot].core, &vms[slot]);
}

static void vm_end(unsigned slot)
{
    for (unsigned turn = 0; !mm_vm_destroy(vms[slot].core); turn++) {
        if (turn > 2000000)
            panic("VM %u never ends", slot);
        sched_yield(); /* its I/O comes to an end */
    }
}

static void start(void)
{
    struct mm_config config;
    mm_config_default(&config);
    config.share_pages = 256;
    config.large_pages = large_pages;
    config.tiers[MM_TIER_SHARE] = !large_pages; /* it takes what is zero out of the ranges */
    arena = aligned_alloc(PAGE_SIZE, (size_t)frames * PAGE_SIZE);
    const struct frame_region region = { hpa((uint64_t)PFN_FIRST << PAGE_SHIFT),
                                         (uint64_t)frames * PAGE_SIZE };
    assert_true(mm_init(&config, &region, 1));
    disk_format();
    assert_int_equal(mm_swap_attach(&disk, 0, disk.sector_count), 0);
    wrong_pages = 0;
    disk_stops = false;
    memset(cpus, 0, sizeof cpus);
    for (unsigned i = 0; i < VMS; i++)
        vm_make(i);
    for (unsigned i = 0; i < GUESTS; i++)
        rng_seed(&vcpu_of(i)->rng, i + support_number("BALLAST_SEED", 1) * 100);
}

static void audit(void)
{
    char first[160];
    unsigned found = mm_audit(first, sizeof first);
    if (found > 0 && (leave_out_kick || leave_out_own))
        _exit(2);
    if (found > 0)
        fail_msg("the audit finds %u violations, the first: %s", found, first);
}

/* The core's work, and what telemetry reads, from one CPU more. */
static void work_until_none(unsigned *guests)
{
    uint64_t values[MM_VM_COUNTER_COUNT];
    while (__atomic_load_n(guests, __ATOMIC_ACQUIRE) > 0) {
        mm_step();
        for (unsigned i = 0; i < VMS; i++)
            mm_vm_counters(vms[i].core, values);
        sched_yield();
    }
}

/* Runs everything; the disk goes on while the guests stand for the audit's sake,
 * but for the audit itself. */
static void run(void)
{
    pthread_t guests[GUESTS], disks;
    start();
    pthread_barrier_init(&barrier, NULL, GUESTS + 1);
    for (unsigned i = 0; i < GUESTS; i++)
        pthread_create(&guests[i], NULL, guest_thread, (void *)(uintptr_t)i);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_create(&disks, NULL, disk_thread, NULL);
        __atomic_store_n(&going, VCPUS, __ATOMIC_RELEASE);
        __atomic_store_n(&running, GUESTS - VCPUS, __ATOMIC_RELEASE);
        pthread_barrier_wait(&barrier);
        work_until_none(&going);
        vm_end(round % VMS);
        vm_make(round % VMS);
        work_until_none(&running);
        __atomic_store_n(&disk_stops, true, __ATOMIC_RELEASE);
        pthread_join(disks, NULL);
        __atomic_store_n(&disk_stops, false, __ATOMIC_RELEASE);
        audit();
        pthread_barrier_wait(&barrier);
    }
    for (unsigned i = 0; i < GUESTS; i++)
        pthread_join(guests[i], NULL);
    while (complete())
        ;
    for (unsigned i = 0; i < VMS; i++)
        while (!mm_vm_destroy(vms[i].core))
            complete();
    audit();
    pthread_barrier_destroy(&barrier);
}

static void stop(void)
{
    free(arena);
    free(disk_bytes);
}

static void threads(void **state)
{
    uint64_t v[MM_HOST_COUNTER_COUNT], reads = 0, writes = 0, waits = 0;
    (void)state;
    ops = support_number("BALLAST_THREADS_OPS", 4000);
    run();
    assert_int_equal(wrong_pages, 0);
    mm_host_counters(v);
    for (unsigned i = 0; i < GUESTS; i++) {
        reads += vcpu_of(i)->reads;
        writes += vcpu_of(i)->writes;
        waits += vcpu_of(i)->waits;
    }
    printf("figure: %u threads: %llu reads, %llu writes, %llu waits, %llu flushes, %llu kicks\n",
           CPUS, (unsigned long long)reads, (unsigned long long)writes, (unsigned long long)waits,
           (unsigned long long)flushes, (unsigned long long)kicks);
    printf("figure: merged %llu, found uniform %llu, compressed %llu, swapped %llu, read in %llu, "
           "given up %llu\n",
           (unsigned long long)v[MM_HOST_share_merged], (unsigned long long)v[MM_HOST_freed_zero],
           (unsigned long long)v[MM_HOST_freed_compress],
           (unsigned long long)v[MM_HOST_swap_pages_written],
           (unsigned long long)v[MM_HOST_swap_pages_read], (unsigned long long)moved);
    /* Everything happened. */
    assert_true(v[MM_HOST_share_merged] > 0 && v[MM_HOST_freed_compress] > 0);
    assert_true(v[MM_HOST_swap_pages_written] > 0 && v[MM_HOST_swap_pages_read] > 0);
    assert_true(v[MM_HOST_freed_zero] > 0 && moved > 0 && kicks > 0);
    stop();
}

/* With memory enough for large mappings, which balloons cut and the core makes again. */
static void large_mappings(void **state)
{
    uint64_t v[MM_HOST_COUNTER_COUNT];
    (void)state;
    ops = support_number("BALLAST_THREADS_OPS", 4000) / 4;
    frames = PLENTY;
    large_pages = true;
    run();
    assert_int_equal(wrong_pages, 0);
    mm_host_counters(v);
    printf("figure: large mappings: %llu made by a touch, %llu split, %llu coalesced\n",
           (unsigned long long)v[MM_HOST_large_made], (unsigned long long)v[MM_HOST_large_split],
           (unsigned long long)v[MM_HOST_large_coalesced]);
    assert_true(v[MM_HOST_large_made] > 0 && v[MM_HOST_large_split] > 0);
    stop();
    frames = FRAMES;
}

/* The same run on a machine that forgets something, in a process of its own: a
 * wrong page, an audit that finds something, or a panic. */
static const char *program;

static void broken_machine(const char *what)
{
    char command[512];
    snprintf(command, sizeof command, "BALLAST_BROKEN=%s '%s' >/dev/null 2>&1", what, program);
    assert_int_not_equal(system(command), 0);
}

static void without_the_flush(void **state)
{
    (void)state;
    broken_machine("flush");
}

static void without_the_kick(void **state)
{
    (void)state;
    broken_machine("kick");
}

static int run_broken(const char *what)
{
    leave_out_own = strcmp(what, "flush") == 0;
    leave_out_kick = strcmp(what, "kick") == 0;
    ops = 40000;
    if (leave_out_kick) {
        linger_share = 20;
        stay = 1000;
    }
    run();
    return wrong_pages > 0;
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(large_mappings),
        cmocka_unit_test(without_the_flush),
        cmocka_unit_test(without_the_kick),
    };
    const char *broken = getenv("BALLAST_BROKEN");
    (void)count;
    program = arguments[0];
    if (broken)
        return run_broken(broken);
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
