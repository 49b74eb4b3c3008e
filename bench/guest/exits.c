/*
 * exits: what a round trip into the hypervisor costs, in ticks of the TSC, which
 * are instructions under Bochs and QEMU's -icount. Every trip is timed by itself
 * and the median told: interrupts of the host fall out. bench/exits.py reads the
 * lines `exits: NAME TICKS`.
 *
 * Faults by themselves are told, and the copying, clearing or decompression of the
 * same page done here, so that what the hypervisor adds can be seen.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/content.h"
#include "guest-driver/cpu.h"
#include "guest-driver/lapic.h"
#include "guest-driver/page_alloc.h"
#include "lib/string.h"
#include "lib/types.h"
#include "mm/codec.h"
#include "tests/guest/hostile.h"

#define TRIPS          1000u
#define PAGES          512u
#define PORT           0x21u /* mask of an interrupt controller that is not used */
#define MSR_TSC_ADJUST 0x3bu
#define EXIT_TICKS     150u /* less was no exit */
#define BLOCK_MAX      4096u
#define MARKED         100u /* the trip of each kind that can be traced */

static const struct content_mix text = { { 0, 100, 0, 0 } };
static uint32_t samples[TRIPS];
static unsigned sample_count;
static uint32_t overhead, latest; /* ticks: of timing nothing; of the last trip */
static uint32_t pool_ticks[PAGES];
static uint8_t block[BLOCK_MAX];
static uint64_t work[16384 / 8];
static uint64_t copy[PAGE_SIZE / 8];

static inline uint64_t now(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static void insert(uint32_t value)
{
    unsigned i = sample_count;
    if (sample_count == TRIPS)
        return;
    for (; i && samples[i - 1] > value; i--) /* sorted */
        samples[i] = samples[i - 1];
    samples[i] = value;
    sample_count++;
}

static void sample(uint64_t ticks)
{
    latest = ticks > overhead ? (uint32_t)ticks - overhead : 0;
    insert(latest);
}

/* A magic breakpoint of Bochs', nothing elsewhere: here bench/exits_trace.py looks on. */
static void mark(void)
{
    if (sample_count == MARKED)
        __asm__ volatile("xchg %%bx, %%bx" : : : "memory");
}

#define TIME(code)                                                                                 \
    do {                                                                                           \
        mark();                                                                                    \
        uint64_t start_ = now();                                                                   \
        code;                                                                                      \
        sample(now() - start_);                                                                    \
    } while (0)

static uint32_t median(void)
{
    return sample_count ? samples[sample_count / 2] : 0;
}

/* least: what is below was no exit, the page was there. */
static void tell(const char *name, uint32_t least)
{
    unsigned first = 0;
    while (first < sample_count && samples[first] < least)
        first++;
    unsigned count = sample_count - first;
    console_line("exits: %s %u of %u", name, count ? samples[first + count / 2] : 0, count);
    sample_count = 0;
}

static void sleep(uint64_t ticks)
{
    for (uint64_t end = lapic_ticks() + ticks; lapic_ticks() < end;)
        cpu_halt();
    cpu_interrupts_off();
}

static void instructions(void)
{
    for (unsigned i = 0; i < TRIPS; i++)
        TIME(cpu_cpuid(0, 0));
    tell("cpuid", 0);
    for (unsigned i = 0; i < TRIPS; i++)
        TIME(port_read8(PORT));
    tell("port_read", 0);
    for (unsigned i = 0; i < TRIPS; i++)
        TIME(cpu_write_msr(MSR_TSC_ADJUST, 0));
    tell("tsc_adjust_write", 0);
}

static void page_work(uint32_t page)
{
    for (unsigned i = 0; i < TRIPS; i++)
        TIME(memset(copy, 0, PAGE_SIZE));
    tell("clear", 0);
    for (unsigned i = 0; i < TRIPS; i++)
        TIME(memcpy(copy, page_content(page), PAGE_SIZE));
    tell("copy", 0);
}

static void zero_faults(uint32_t first)
{
    for (uint32_t page = first; page < first + PAGES; page++)
        TIME(*(volatile uint64_t *)page_content(page) = 1);
    tell("zero_fault", EXIT_TICKS);
}

/* Pairs of equal pages: the first to be written is copied, the second taken back. */
static void shared_faults(uint32_t first, uint64_t wait)
{
    for (uint32_t i = 0; i < PAGES; i++)
        content_write(page_content(first + i), &text, (struct content_id){ 1, i / 2, 0 });
    sleep(wait);
    for (uint32_t i = 0; i < PAGES; i += 2)
        TIME(page_content(first + i)[1] = i);
    tell("cow_fault", EXIT_TICKS);
    for (uint32_t i = 1; i < PAGES; i += 2)
        TIME(page_content(first + i)[1] = i);
    tell("takeback_fault", EXIT_TICKS);
}

static void pool_faults(uint32_t first, uint64_t wait)
{
    for (uint32_t i = 0; i < PAGES; i++)
        content_write(page_content(first + i), &text, (struct content_id){ 2, i, 0 });
    sleep(wait);
    for (uint32_t i = 0; i < PAGES; i++) {
        TIME(*(volatile uint64_t *)page_content(first + i));
        pool_ticks[i] = latest;
    }
    tell("pool_fault", EXIT_TICKS);
    for (uint32_t i = 0; i < PAGES; i++) {
        uint32_t size = codec_compress(page_content(first + i), block, BLOCK_MAX, work);
        if (size)
            TIME(codec_decompress(block, size, copy));
        pool_ticks[i] -= size && latest < pool_ticks[i] ? latest : pool_ticks[i];
    }
    tell("decompress", 0);
    /* What the hypervisor added for one and the same page. */
    for (uint32_t i = 0; i < PAGES; i++)
        insert(pool_ticks[i]);
    tell("pool_beyond", EXIT_TICKS);
}

/* The other VM: takes pages= pages after a while, keeps them in use, and ends. */
static int press(const struct hostile_memory *memory, uint32_t pages, uint64_t until)
{
    sleep(500);
    for (uint32_t i = 0; i < pages; i++)
        content_write(page_content(memory->first + i), &text, (struct content_id){ 3, i, 0 });
    while (lapic_ticks() < until)
        for (uint32_t i = 0; i < pages; i++) {
            page_content(memory->first + i)[0]++;
            __asm__ volatile("sti; nop; cli" : : : "memory");
        }
    return GUEST_STATUS_OK;
}

int guest_main(const struct guest_boot *boot)
{
    struct hostile_memory memory;
    hostile_memory_init(&memory, boot);
    lapic_init();
    cpu_interrupts_off();
    uint32_t pages = (uint32_t)hostile_number(boot, "pages", 0);
    if (pages)
        return press(&memory, pages, hostile_number(boot, "wait", 1000));
    for (unsigned i = 0; i < TRIPS; i++)
        TIME((void)0);
    overhead = median();
    sample_count = 0;
    instructions();
    page_work(memory.first - 1);
    zero_faults(memory.first);
    shared_faults(memory.first + PAGES, hostile_number(boot, "share_wait", 300));
    uint64_t wait = hostile_number(boot, "wait", 0);
    if (wait)
        pool_faults(memory.first + 2 * PAGES, wait);
    guest_report(0, 0);
    return GUEST_STATUS_OK;
}
