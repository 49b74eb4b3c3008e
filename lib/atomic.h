/*
 * Relaxed atomics for counters and hints: values that several CPUs read and
 * write and that order nothing else. What orders other memory is a lock
 * (lib/lock.h), or spelled out where it is used.
 */
#ifndef LIB_ATOMIC_H
#define LIB_ATOMIC_H

#define atomic_get(object)         __atomic_load_n(&(object), __ATOMIC_RELAXED)
#define atomic_set(object, value)  __atomic_store_n(&(object), (value), __ATOMIC_RELAXED)
#define atomic_add(object, value)  __atomic_fetch_add(&(object), (value), __ATOMIC_RELAXED)
#define atomic_sub(object, value)  __atomic_fetch_sub(&(object), (value), __ATOMIC_RELAXED)
#define atomic_swap(object, value) __atomic_exchange_n(&(object), (value), __ATOMIC_RELAXED)

#endif
