#include "hv/park.h"
#include "hv/cpu.h"
#include "lib/assert.h"
#include "lib/lock.h"

#define NOBODY (~0u)

static unsigned parker = NOBODY; /* the CPU that has stopped the world */

static bool is_parked(void)
{
    unsigned who = __atomic_load_n(&parker, __ATOMIC_SEQ_CST);
    return who != NOBODY && who != cpu_this()->index;
}

void park_leave(void)
{
    assert(lock_held_count() == 0);
    __atomic_store_n(&cpu_this()->outside, true, __ATOMIC_RELEASE);
}

/* Whichever comes first, this store or the parker's: one of the two sees the other's. */
void park_enter(void)
{
    struct cpu *cpu = cpu_this();
    for (;;) {
        __atomic_store_n(&cpu->outside, false, __ATOMIC_SEQ_CST);
        if (!is_parked())
            return;
        __atomic_store_n(&cpu->outside, true, __ATOMIC_RELEASE);
        while (is_parked())
            __builtin_ia32_pause();
    }
}

void park_here(void)
{
    if (!is_parked())
        return;
    park_leave();
    park_enter();
}

void park_others(void)
{
    ensure(__atomic_load_n(&parker, __ATOMIC_RELAXED) == NOBODY);
    __atomic_store_n(&parker, cpu_this()->index, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < cpu_count(); i++)
        while (cpu_get(i) != cpu_this() && !__atomic_load_n(&cpu_get(i)->outside, __ATOMIC_SEQ_CST))
            __builtin_ia32_pause();
}

void park_release(void)
{
    __atomic_store_n(&parker, NOBODY, __ATOMIC_RELEASE);
}
