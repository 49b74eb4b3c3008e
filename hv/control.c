#include "hv/control.h"
#include "hv/x86.h"

#define CR0_UPPER 0xffffffff00000000ull

bool control_cr0_is_allowed(const struct control_state *old, uint64_t value)
{
    bool on = !(old->cr0 & CR0_PG) && (value & CR0_PG);
    bool off = (old->cr0 & CR0_PG) && !(value & CR0_PG);
    if (value & CR0_UPPER)
        return false;
    if ((value & CR0_PG) && !(value & CR0_PE))
        return false;
    if ((value & CR0_NW) && !(value & CR0_CD))
        return false;
    if (on && (old->efer & EFER_LME) && (!(old->cr4 & CR4_PAE) || old->long_code))
        return false;
    if (off && ((old->cr4 & CR4_PCIDE) || ((old->efer & EFER_LMA) && old->long_code)))
        return false;
    return true;
}

bool control_cr4_is_allowed(const struct control_state *old, uint64_t value, uint64_t may_set)
{
    bool long_mode = old->efer & EFER_LMA;
    if (value & ~may_set)
        return false;
    if (long_mode && !(value & CR4_PAE))
        return false;
    if (!(old->cr4 & CR4_PCIDE) && (value & CR4_PCIDE) && (!long_mode || (old->cr3 & PAGE_MASK)))
        return false;
    return true;
}
