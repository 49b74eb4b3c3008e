/*
 * The check of the lock order: per CPU, the locks it holds. Only the CPU itself
 * reads and writes its record, so this needs no lock of its own.
 */
#include "lib/lock.h"
#include "lib/assert.h"

#ifdef RELEASE

unsigned lock_held_count(void)
{
    return 0;
}

void lock_forget_all(void)
{
}

#else

#define DEPTH 12u

static struct held {
    const struct spinlock *locks[DEPTH];
    unsigned count;
} __attribute__((aligned(64))) records[LOCK_CPU_MAX];

static struct held *mine(void)
{
    unsigned cpu = lock_cpu();
    ensure(cpu < LOCK_CPU_MAX);
    return &records[cpu];
}

void lock_check(const struct spinlock *lock)
{
    const struct held *held = mine();
    for (unsigned i = 0; i < held->count; i++) {
        const struct spinlock *other = held->locks[i];
        if (other == lock)
            panic("lock of rank %u taken twice by CPU %u", lock->rank, lock_cpu());
        if (lock->rank == 0 || other->rank == 0)
            continue;
        if (other->rank > lock->rank || (other->rank == lock->rank && other > lock))
            panic("lock order: CPU %u takes rank %u while it holds rank %u", lock_cpu(), lock->rank,
                  other->rank);
    }
}

void lock_note(const struct spinlock *lock)
{
    struct held *held = mine();
    ensure(held->count < DEPTH);
    held->locks[held->count++] = lock;
}

void lock_forget(const struct spinlock *lock)
{
    struct held *held = mine();
    for (unsigned i = held->count; i-- > 0;)
        if (held->locks[i] == lock) {
            held->locks[i] = held->locks[--held->count];
            return;
        }
    panic("CPU %u gives up a lock of rank %u that it does not hold", lock_cpu(), lock->rank);
}

unsigned lock_held_count(void)
{
    return mine()->count;
}

void lock_forget_all(void)
{
    mine()->count = 0;
}

#endif
