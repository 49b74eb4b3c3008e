/*
 * In place of drivers/port.h for the drivers of disks under test: every access to
 * a port or a device register goes to the device that a test has made of variables
 * (tests/host/fake_pci.h). Included before everything else, by host.mk.
 */
#ifndef DRIVERS_PORT_H
#define DRIVERS_PORT_H

#include "lib/types.h"

uint32_t fake_port_read(uint16_t port, unsigned bytes);
void fake_port_write(uint16_t port, unsigned bytes, uint32_t value);
uint32_t fake_mmio_read(uint64_t address, unsigned bytes);
void fake_mmio_write(uint64_t address, unsigned bytes, uint32_t value);

#define FAKE_PORT(bits)                                                                            \
    static inline uint##bits##_t port_read##bits(uint16_t port)                                    \
    {                                                                                              \
        return (uint##bits##_t)fake_port_read(port, bits / 8);                                     \
    }                                                                                              \
    static inline void port_write##bits(uint16_t port, uint##bits##_t value)                       \
    {                                                                                              \
        fake_port_write(port, bits / 8, value);                                                    \
    }                                                                                              \
    static inline uint##bits##_t mmio_read##bits(const volatile void *base, unsigned offset)       \
    {                                                                                              \
        return (uint##bits##_t)fake_mmio_read((uintptr_t)base + offset, bits / 8);                 \
    }                                                                                              \
    static inline void mmio_write##bits(volatile void *base, unsigned offset,                      \
                                        uint##bits##_t value)                                      \
    {                                                                                              \
        fake_mmio_write((uintptr_t)base + offset, bits / 8, value);                                \
    }
FAKE_PORT(8)
FAKE_PORT(16)
FAKE_PORT(32)

static inline void port_read16_many(uint16_t port, void *to, size_t count)
{
    for (uint16_t *at = to; count--; at++)
        *at = port_read16(port);
}
static inline void port_write16_many(uint16_t port, const void *from, size_t count)
{
    for (const uint16_t *at = from; count--; at++)
        port_write16(port, *at);
}
static inline void dma_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
