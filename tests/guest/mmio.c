/*
 * mmio: touches the balloon's registers, the APICs and the hole between them with
 * accesses of every size and place. Registers answer aligned 32-bit accesses only;
 * others read as 0 and change nothing. hard=1 adds instructions that are no plain
 * moves, of which one ends the VM if they cannot be emulated.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "tests/guest/hostile.h"
#include "tests/guest/raw_virtio.h"

static uint32_t bad_count;

static void expect(const char *what, uint64_t found, uint64_t expected)
{
    if (found == expected)
        return;
    bad_count++;
    console_line("mmio: %s: 0x%lx, not 0x%lx", what, found, expected);
}

#define DEFINE_ACCESS(bits)                                                                        \
    static uint64_t read##bits(uint64_t address)                                                   \
    {                                                                                              \
        return *(volatile uint##bits##_t *)address;                                                \
    }                                                                                              \
    static void write##bits(uint64_t address, uint64_t value)                                      \
    {                                                                                              \
        *(volatile uint##bits##_t *)address = (uint##bits##_t)value;                               \
    }
DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

static const struct {
    uint64_t (*read)(uint64_t address);
    void (*write)(uint64_t address, uint64_t value);
    unsigned bytes;
} accesses[] = {
    { read8, write8, 1 }, { read16, write16, 2 }, { read32, write32, 4 }, { read64, write64, 8 }
};
#define ACCESS_COUNT (sizeof(accesses) / sizeof(accesses[0]))

/* Every offset of the window and a little beyond it, in every size. */
static void sweep_reads(uint64_t base, uint32_t bytes)
{
    for (unsigned i = 0; i < ACCESS_COUNT; i++)
        for (uint32_t offset = 0; offset < bytes; offset++)
            accesses[i].read(base + offset);
}

/* Odd writes must not have changed what the device is. */
static void sweep_writes(uint64_t base)
{
    for (unsigned i = 0; i < ACCESS_COUNT; i++)
        for (uint32_t offset = 0; offset < GUEST_VIRTIO_SIZE; offset++)
            if (accesses[i].bytes != 4 || offset % 4 != 0)
                accesses[i].write(base + offset, 0xa5a5a5a5a5a5a5a5ull);
}

static void check_device(const char *when)
{
    expect(when, raw_read(VIRTIO_MMIO_MAGIC), VIRTIO_MMIO_MAGIC_VALUE);
    expect(when, raw_read(VIRTIO_MMIO_VERSION), VIRTIO_MMIO_VERSION_VALUE);
    expect(when, raw_read(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BALLOON);
}

static void odd_registers(void)
{
    expect("1 byte of the magic", read8(GUEST_VIRTIO_BASE), 0);
    expect("2 bytes of the magic", read16(GUEST_VIRTIO_BASE), 0);
    expect("8 bytes of the magic", read64(GUEST_VIRTIO_BASE), 0);
    expect("straddling two registers", read32(GUEST_VIRTIO_BASE + 2), 0);
    expect("an unknown register", read32(GUEST_VIRTIO_BASE + 0x0d0), 0);
    expect("a register that is only written", read32(GUEST_VIRTIO_BASE + 0x050), 0);
    raw_write(VIRTIO_MMIO_QUEUE_SEL, 0xffffffffu);
    expect("the size of a queue that does not exist", raw_read(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    raw_write(VIRTIO_MMIO_QUEUE_SEL, 0);
}

static void hard_instructions(void)
{
    uint64_t buffer[4] = { 0 }, base = GUEST_VIRTIO_BASE;
    void *to = buffer;
    uint64_t count = 4;
    __asm__ volatile("lock incl 0x14(%0)" : : "r"(base) : "memory");
    __asm__ volatile("xchgl %%eax, 0x14(%0)" : : "r"(base) : "rax", "memory");
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(base), "+c"(count) : : "memory");
    __asm__ volatile("movdqu (%0), %%xmm0" : : "r"(GUEST_VIRTIO_BASE) : "memory");
    console_line("mmio: hard instructions survived");
}

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    if (!raw_find(boot))
        return GUEST_STATUS_DRIVER;
    hostile_memory_init(&memory, boot);
    hostile_memory_fill(&memory);
    odd_registers();
    sweep_reads(GUEST_VIRTIO_BASE, GUEST_VIRTIO_SIZE + 16);
    check_device("after odd reads");
    sweep_writes(GUEST_VIRTIO_BASE);
    check_device("after odd writes");
    expect("status after odd writes", raw_read(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_DRIVER_OK, 0);
    sweep_reads(GUEST_VIRTIO_BASE - 8, 16);
    sweep_reads(GUEST_VIRTIO_BASE + GUEST_VIRTIO_SIZE - 8, 16);
    sweep_reads(GUEST_IOAPIC_BASE, 0x40);
    sweep_reads(GUEST_LAPIC_BASE, 0x400);
    if (hostile_number(boot, "hard", 0))
        hard_instructions();
    hostile_memory_verify(&memory);
    console_line("mmio: %u surprises", bad_count);
    int status = hostile_memory_finish(&memory, "mmio");
    return bad_count && !status ? GUEST_STATUS_DRIVER : status;
}
