/*
 * XSAVE (SDM volume 1, chapter 13), or FXSAVE on CPUs without it. Only components
 * whose instructions cannot reach beyond the vector registers are given to
 * guests: x87, SSE, AVX, AVX-512.
 */
#include "hv/fpu.h"
#include "hv/bootmem.h"
#include "hv/vcpu.h"
#include "hv/x86.h"
#include "lib/assert.h"
#include "lib/string.h"

#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_XSAVE       0xdu

#define XCR0_X87    (1ull << 0)
#define XCR0_SSE    (1ull << 1)
#define XCR0_AVX    (1ull << 2)
#define XCR0_AVX512 (7ull << 5)

/* Legacy region (SDM volume 1, table 13-1) after reset. */
#define FXSAVE_BYTES 512u
#define FCW_RESET    0x037fu
#define MXCSR_RESET  0x1f80u

static uint64_t components; /* 0: FXSAVE */
static size_t area_bytes = FXSAVE_BYTES;
/* Areas of vCPUs that are gone, linked through their first word. */
static void *spare_areas;

void fpu_init(void)
{
    if (!(x86_cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE))
        return;
    components = x86_cpuid(CPUID_XSAVE, 0).eax & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512);
    if ((components & XCR0_AVX512) != XCR0_AVX512)
        components &= ~XCR0_AVX512;
    x86_xsetbv(components);
    area_bytes = x86_cpuid(CPUID_XSAVE, 0).ebx; /* for what XCR0 holds now */
    ensure(area_bytes >= FXSAVE_BYTES && area_bytes <= 4 * PAGE_SIZE);
}

uint64_t fpu_xcr0_mask(void)
{
    return components;
}

bool fpu_create(struct vcpu *vcpu)
{
    uint8_t *area = spare_areas;
    if (area) {
        memcpy(&spare_areas, area, sizeof(spare_areas));
        memset(area, 0, area_bytes);
    } else {
        area = bootmem_alloc(area_bytes, NULL);
    }
    if (!area)
        return false;
    uint16_t fcw = FCW_RESET;
    uint32_t mxcsr = MXCSR_RESET;
    memcpy(area, &fcw, sizeof(fcw));
    memcpy(area + 24, &mxcsr, sizeof(mxcsr));
    vcpu->fpu = area;
    vcpu->xcr0 = XCR0_X87;
    return true;
}

void fpu_destroy(struct vcpu *vcpu)
{
    memcpy(vcpu->fpu, &spare_areas, sizeof(spare_areas));
    spare_areas = vcpu->fpu;
    vcpu->fpu = NULL;
}

void fpu_xcr0_look(struct vcpu *vcpu)
{
    if (components)
        vcpu->xcr0 = x86_xgetbv() & components;
}

void fpu_save(struct vcpu *vcpu)
{
    if (!components) {
        __asm__ volatile("fxsave64 (%0)" : : "r"(vcpu->fpu) : "memory");
        return;
    }
    fpu_xcr0_look(vcpu);
    x86_xsetbv(components);
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(vcpu->fpu), "a"((uint32_t)components), "d"((uint32_t)(components >> 32))
                     : "memory");
}

void fpu_load(struct vcpu *vcpu)
{
    if (!components) {
        __asm__ volatile("fxrstor64 (%0)" : : "r"(vcpu->fpu) : "memory");
        return;
    }
    x86_xsetbv(components);
    __asm__ volatile("xrstor64 (%0)"
                     :
                     : "r"(vcpu->fpu), "a"((uint32_t)components), "d"((uint32_t)(components >> 32))
                     : "memory");
    x86_xsetbv(vcpu->xcr0);
}

/* SDM volume 2, XSETBV: x87 always; AVX needs SSE; AVX-512 whole and with AVX. */
static bool xcr0_is_valid(uint64_t value)
{
    if ((value & ~components) || !(value & XCR0_X87))
        return false;
    if ((value & XCR0_AVX) && !(value & XCR0_SSE))
        return false;
    uint64_t avx512 = value & XCR0_AVX512;
    return avx512 == 0 || (avx512 == XCR0_AVX512 && (value & XCR0_AVX));
}

bool fpu_set_xcr0(struct vcpu *vcpu, uint64_t value)
{
    if (!xcr0_is_valid(value))
        return false;
    vcpu->xcr0 = value;
    x86_xsetbv(value);
    return true;
}
