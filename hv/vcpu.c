/*
 * The choice of the vendor, once at boot.
 */
#include "hv/vcpu.h"
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

/* VT-x is asked first on every CPU but AMD's: its own check names what is
 * missing. */
bool vcpu_select(void)
{
    static const uint32_t amd_ebx = 0x68747541; /* "Auth"enticAMD, CPUID leaf 0 */
    if (x86_cpuid(0, 0).ebx == amd_ebx)
        return vcpu_refuse("AMD-V is not supported by this version; VT-x is needed");
    vcpu_ops = &vmx_ops;
    return vcpu_ops->cpu_enable();
}
