/*
 * Source: Intel SDM volume 1, 13.2 and 13.3 (XSAVE enumeration and enabling),
 * 14.3 (detection of AVX), 10.2.3 (MXCSR).
 */
#include "guest-driver/fpu.h"

#include "guest-driver/cpu.h"
#include "lib/rng.h"

#define REGISTER_COUNT 16
#define REGISTER_WORDS 4 /* 256 bits; the high two are used with YMM only */

#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_AVX   (1u << 28)
#define CR4_OSXSAVE       (1ull << 18)
#define XCR0_X87_SSE_AVX  7u

/* All exceptions masked; the rounding mode tells guests apart. */
#define MXCSR_MASKED         0x1f80u
#define MXCSR_ROUNDING_SHIFT 13

void fpu_load_xmm(const uint64_t *values);
void fpu_store_xmm(uint64_t *values);
void fpu_load_ymm(const uint64_t *values);
void fpu_store_ymm(uint64_t *values);

static uint64_t expected[REGISTER_COUNT * REGISTER_WORDS];
static uint32_t expected_mxcsr;
static bool is_wide;

static bool enable_avx(void)
{
    uint32_t ecx = cpu_cpuid(1, 0).ecx;
    if (!(ecx & CPUID_1_ECX_XSAVE) || !(ecx & CPUID_1_ECX_AVX))
        return false;
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE));
    if ((cpu_cpuid(0xd, 0).eax & XCR0_X87_SSE_AVX) != XCR0_X87_SSE_AVX)
        return false;
    __asm__ volatile("xsetbv" : : "c"(0), "a"(XCR0_X87_SSE_AVX), "d"(0));
    return true;
}

void fpu_fill(uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    for (unsigned i = 0; i < REGISTER_COUNT * REGISTER_WORDS; i++)
        expected[i] = rng_next(&rng);
    expected_mxcsr = MXCSR_MASKED | (uint32_t)rng_below(&rng, 4) << MXCSR_ROUNDING_SHIFT;
    is_wide = enable_avx();
    __asm__ volatile("ldmxcsr %0" : : "m"(expected_mxcsr));
    (is_wide ? fpu_load_ymm : fpu_load_xmm)(expected);
}

bool fpu_verify(void)
{
    uint64_t found[REGISTER_COUNT * REGISTER_WORDS];
    uint32_t mxcsr;
    uint64_t difference = 0;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    (is_wide ? fpu_store_ymm : fpu_store_xmm)(found);
    for (unsigned i = 0; i < REGISTER_COUNT * REGISTER_WORDS; i++)
        if (is_wide || i % REGISTER_WORDS < 2)
            difference |= found[i] ^ expected[i];
    return !difference && mxcsr == expected_mxcsr;
}

const char *fpu_kind(void)
{
    return is_wide ? "YMM" : "XMM";
}
