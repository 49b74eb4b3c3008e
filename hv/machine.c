/*
 * What the memory core asks of the machine below it (mm/machine.h), on bare
 * metal.
 */
#include "mm/machine.h"
#include "drivers/clock.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/guest.h"
#include "hv/locks.h"
#include "hv/machine.h"
#include "hv/sched.h"
#include "hv/telemetry.h"
#include "hv/vm.h"
#include "hv/x86.h"
#include "lib/rng.h"
#include "lib/string.h"
#include "mm/aead.h"

#define CPUID_1_ECX_RDRAND (1u << 30)
#define CPUID_7_EBX_RDSEED (1u << 18)
#define HARDWARE_TRIES     16
/* Key and nonce of the generator: drawn anew for every request. */
#define POOL_WORDS 4u

static struct {
    struct spinlock lock;
    bool seeded;
    struct rng rng;            /* seeded runs */
    uint64_t pool[POOL_WORDS]; /* the others: everything drawn so far, mixed */
    uint64_t draws;
} entropy = { .lock = SPINLOCK(RANK_ENTROPY) };

void *machine_frame_map(pfn_t frame)
{
    return bootmem_map(pfn_to_hpa(frame));
}

void machine_flush_vm(struct mm_vm *mm)
{
    struct vm *vm = mm_vm_context(mm);
    if (!vm)
        return; /* has never been entered */
    __atomic_fetch_add(&vm->flush_generation, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    guest_evict(vm);
}

uint64_t machine_time_ns(void)
{
    return clock_now_ns();
}

unsigned machine_cpu(void)
{
    return cpu_this()->index;
}

void *machine_dma_alloc(size_t size, hpa_t *address)
{
    return bootmem_alloc(size, address);
}

void machine_vcpu_wake(struct mm_vcpu *vcpu)
{
    sched_wake((struct vcpu *)vcpu);
}

void machine_vm_stop(struct mm_vm *mm, enum mm_stop_reason reason)
{
    struct vm *vm = mm_vm_context(mm);
    if (vm)
        vm_end(vm, VM_END_MEMORY, "%s", mm_stop_reason_name(reason));
}

void machine_event(enum mm_event_kind kind, struct mm_vm *mm, uint64_t a, uint64_t b)
{
    telemetry_memory_event(kind, mm ? mm_vm_name(mm) : NULL, a, b);
}

/* ---- entropy -------------------------------------------------------------- */

static bool hardware_random(uint64_t *value)
{
    bool ok = false;
    bool seed = x86_cpuid(0, 0).eax >= 7 && (x86_cpuid(7, 0).ebx & CPUID_7_EBX_RDSEED);
    bool rand = x86_cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND;
    for (int i = 0; seed && !ok && i < HARDWARE_TRIES; i++)
        __asm__ volatile("rdseed %0" : "=r"(*value), "=@ccc"(ok));
    for (int i = 0; rand && !ok && i < HARDWARE_TRIES; i++)
        __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(ok));
    return ok;
}

/* One word from the CPU's generator where it has one, the time stamp anyway. */
static void pool_stir(void)
{
    for (unsigned i = 0; i < POOL_WORDS; i++) {
        uint64_t word = 0;
        hardware_random(&word);
        entropy.pool[i] ^= word ^ (x86_rdtsc() * 0x9e3779b97f4a7c15ull);
    }
}

/* ChaCha20 keyed with the pool; the first block replaces the pool, so what was
 * given out earlier cannot be computed from what is in memory later. */
static void pool_draw(uint8_t *bytes, size_t size)
{
    uint8_t tag[AEAD_TAG_BYTES];
    struct aead_key key;
    pool_stir();
    aead_key_load(&key, (const uint8_t *)entropy.pool);
    memset(entropy.pool, 0, sizeof(entropy.pool));
    aead_seal(&key, entropy.draws++, NULL, 0, entropy.pool, entropy.pool, sizeof(entropy.pool),
              tag);
    memset(bytes, 0, size);
    aead_seal(&key, entropy.draws++, NULL, 0, bytes, bytes, size, tag);
    memset(&key, 0, sizeof(key));
}

static void seeded_draw(uint8_t *at, size_t size)
{
    while (size) {
        uint64_t word = rng_next(&entropy.rng);
        size_t part = size < sizeof(word) ? size : sizeof(word);
        memcpy(at, &word, part);
        at += part;
        size -= part;
    }
}

void machine_entropy(void *bytes, size_t size)
{
    spin_lock(&entropy.lock);
    if (entropy.seeded)
        seeded_draw(bytes, size);
    else
        pool_draw(bytes, size);
    spin_unlock(&entropy.lock);
}

void machine_init(bool seeded, uint64_t seed)
{
    entropy.seeded = seeded;
    rng_seed(&entropy.rng, seed);
}
