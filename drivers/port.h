/*
 * Access to I/O ports and to device registers in memory. The volatile accesses
 * are of exactly the width named, which devices insist on.
 */
#ifndef DRIVERS_PORT_H
#define DRIVERS_PORT_H

#include "lib/types.h"

static inline void port_write8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void port_write16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void port_write32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint8_t port_read8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline uint16_t port_read16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
static inline uint32_t port_read32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}
/* count 16-bit words, from or to consecutive memory. */
static inline void port_read16_many(uint16_t port, void *to, size_t count)
{
    __asm__ volatile("rep insw" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}
static inline void port_write16_many(uint16_t port, const void *from, size_t count)
{
    __asm__ volatile("rep outsw" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

static inline uint32_t mmio_read32(const volatile void *base, unsigned offset)
{
    return *(const volatile uint32_t *)((const volatile char *)base + offset);
}
static inline void mmio_write32(volatile void *base, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)((volatile char *)base + offset) = value;
}

static inline uint8_t mmio_read8(const volatile void *base, unsigned offset)
{
    return *((const volatile uint8_t *)base + offset);
}
static inline void mmio_write8(volatile void *base, unsigned offset, uint8_t value)
{
    *((volatile uint8_t *)base + offset) = value;
}
static inline uint16_t mmio_read16(const volatile void *base, unsigned offset)
{
    return *(const volatile uint16_t *)((const volatile char *)base + offset);
}
static inline void mmio_write16(volatile void *base, unsigned offset, uint16_t value)
{
    *(volatile uint16_t *)((volatile char *)base + offset) = value;
}
/* What was written to memory so far is there before a device is told about it,
 * and what a device has written is read only after it said so. */
static inline void dma_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline uint64_t msr_read(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}
static inline void msr_write(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}
static inline uint64_t tsc_read(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

#endif
