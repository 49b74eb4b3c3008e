#include "guest-driver/smp.h"

#include "abi/machine.h"
#include "guest-driver/cpu.h"
#include "lib/string.h"
#include "lib/types.h"

#define SMP_PAGE     0x8000u /* smp_start.asm */
#define STACK_BYTES  8192u
#define COMMAND      0x300u
#define ALL_OTHERS   0xc0000u
#define SEND_INIT    0x4500u
#define SEND_STARTUP 0x4600u
#define WAIT_TURNS   20000000u

extern const char smp_start_code[], smp_start_end[];
extern volatile uint32_t smp_drawn;
uint8_t smp_stacks[(SMP_CPU_MAX + 1) * STACK_BYTES] __attribute__((aligned(16)));
void smp_arrive(unsigned number);

static void (*volatile work)(unsigned number);

void smp_arrive(unsigned number)
{
    if (number < SMP_CPU_MAX)
        work(number);
}

unsigned smp_start(unsigned count, void (*function)(unsigned number))
{
    work = function;
    memcpy((void *)(uint64_t)SMP_PAGE, smp_start_code, (size_t)(smp_start_end - smp_start_code));
    mmio_write32(GUEST_LAPIC_BASE + COMMAND, ALL_OTHERS | SEND_INIT);
    mmio_write32(GUEST_LAPIC_BASE + COMMAND, ALL_OTHERS | SEND_STARTUP | SMP_PAGE >> 12);
    for (unsigned i = 0; smp_drawn < count && i < WAIT_TURNS; i++)
        __asm__ volatile("pause");
    return smp_drawn;
}
