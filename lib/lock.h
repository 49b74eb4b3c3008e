/*
 * Spin locks: a ticket lock made of compiler atomics, so the same code runs in
 * the hypervisor and under threads in the host library.
 *
 * Lock order: a lock has a rank, and a CPU may take one only above every rank
 * it holds; among locks of one rank, in the order of their addresses. Rank 0
 * is not checked. mm/locks.h names the ranks of the memory core; ranks from
 * LOCK_RANK_BELOW on are those of the machine below, which the core may call
 * with its own locks held (docs/locking.md). Every build but RELEASE=1 checks
 * the order at each taking and panics at the first inversion, whether or not a
 * second CPU was there to make a deadlock of it.
 *
 * Interrupt handlers of the hypervisor only record a vector, so no lock is ever
 * taken in one.
 */
#ifndef LIB_LOCK_H
#define LIB_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct spinlock {
    uint16_t next;    /* the ticket the next taker draws */
    uint16_t serving; /* the ticket that holds the lock */
    uint16_t rank;
};

#define SPINLOCK(order) ((struct spinlock){ .rank = (order) })
#define LOCK_RANK_BELOW 64u

/* What the stage supplies: the index of the executing CPU or thread, below
 * LOCK_CPU_MAX, and what to do in each turn of a wait (mm/locks.c). */
#define LOCK_CPU_MAX 64u
unsigned lock_cpu(void);
void lock_relax(unsigned turns);

#ifdef RELEASE
static inline void lock_check(const struct spinlock *lock)
{
    (void)lock;
}
static inline void lock_note(const struct spinlock *lock)
{
    (void)lock;
}
static inline void lock_forget(const struct spinlock *lock)
{
    (void)lock;
}
#else
/* May this CPU take the lock now? Panics when not. */
void lock_check(const struct spinlock *lock);
void lock_note(const struct spinlock *lock);
void lock_forget(const struct spinlock *lock);
#endif
/* Locks this CPU holds; 0 in release builds. */
unsigned lock_held_count(void);
/* Forgets them: for tests that survive a panic. */
void lock_forget_all(void);

static inline void spin_lock(struct spinlock *lock)
{
    lock_check(lock);
    uint16_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);
    for (unsigned turns = 0; __atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != ticket; turns++)
        lock_relax(turns);
    lock_note(lock);
}

/* Takes the lock when it is free at once: for takers against the lock order. */
static inline bool spin_try_lock(struct spinlock *lock)
{
    /* The last holder's release is of `serving`, so that is what to acquire. */
    uint16_t serving = __atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE);
    uint16_t expected = serving;
    bool took = __atomic_compare_exchange_n(&lock->next, &expected, (uint16_t)(serving + 1), false,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    if (took)
        lock_note(lock);
    return took;
}

static inline void spin_unlock(struct spinlock *lock)
{
    lock_forget(lock);
    uint16_t serving = __atomic_load_n(&lock->serving, __ATOMIC_RELAXED);
    __atomic_store_n(&lock->serving, (uint16_t)(serving + 1), __ATOMIC_RELEASE);
}

static inline bool spin_is_held(const struct spinlock *lock)
{
    return __atomic_load_n(&lock->next, __ATOMIC_RELAXED) !=
           __atomic_load_n(&lock->serving, __ATOMIC_RELAXED);
}

#endif
