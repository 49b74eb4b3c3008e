/*
 * Spin locks: a ticket lock made of compiler atomics, so the same code runs in
 * the hypervisor and under threads in the host library.
 *
 * Lock order (outer first): vm lock, leaf-table locks in frame-number order,
 * share index, pool, swap, frame allocator, log. Interrupt handlers of the
 * hypervisor only record a vector, so no lock is ever taken in one.
 */
#ifndef LIB_LOCK_H
#define LIB_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct spinlock {
    uint16_t next;    /* the ticket the next taker draws */
    uint16_t serving; /* the ticket that holds the lock */
};

static inline void spin_lock(struct spinlock *lock)
{
    uint16_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != ticket)
        __builtin_ia32_pause();
}

/* Takes the lock when it is free at once: for takers against the lock order. */
static inline bool spin_try_lock(struct spinlock *lock)
{
    uint16_t serving = __atomic_load_n(&lock->serving, __ATOMIC_RELAXED);
    uint16_t expected = serving;
    return __atomic_compare_exchange_n(&lock->next, &expected, (uint16_t)(serving + 1), false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void spin_unlock(struct spinlock *lock)
{
    uint16_t serving = __atomic_load_n(&lock->serving, __ATOMIC_RELAXED);
    __atomic_store_n(&lock->serving, (uint16_t)(serving + 1), __ATOMIC_RELEASE);
}

static inline bool spin_is_held(const struct spinlock *lock)
{
    return __atomic_load_n(&lock->next, __ATOMIC_RELAXED) !=
           __atomic_load_n(&lock->serving, __ATOMIC_RELAXED);
}

#endif
