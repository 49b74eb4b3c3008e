/*
 * The choice of the vendor, once at boot.
 */
#include "hv/vcpu.h"
#include "hv/svm.h"
#include "hv/vmx.h"
#include "hv/x86.h"
#include "lib/fmt.h"
#include "lib/log.h"

#include <stdarg.h>

const struct vcpu_ops *vcpu_ops;
struct vcpu_features vcpu_features;
static char problem[160];

bool vcpu_refuse(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fmt_vprint(problem, sizeof(problem), format, args);
    va_end(args);
    log_error("%s", problem);
    return false;
}

const char *vcpu_problem(void)
{
    return problem;
}

/* Both vendors' own checks name what is missing. Leaf 0 spells the maker in EBX,
 * EDX, ECX: "AuthenticAMD", "HygonGenuine"; their processors have AMD-V, all others
 * are asked for VT-x. */
bool vcpu_select(void)
{
    static const uint32_t amd_ebx = 0x68747541, hygon_ebx = 0x6f677948;
    uint32_t maker = x86_cpuid(0, 0).ebx;
    vcpu_ops = maker == amd_ebx || maker == hygon_ebx ? &svm_ops : &vmx_ops;
    return vcpu_ops->cpu_enable();
}
