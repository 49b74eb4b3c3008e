#include "hv/big_lock.h"
#include "hv/cpu.h"
#include "lib/assert.h"
#include "lib/lock.h"

#define NOBODY (~0u)

static struct spinlock lock = SPINLOCK(BIG_LOCK_RANK);
static unsigned holder = NOBODY; /* written by the holder alone */

bool big_lock_is_mine(void)
{
    return __atomic_load_n(&holder, __ATOMIC_RELAXED) == cpu_this()->index;
}

void big_lock_take(void)
{
    assert(!big_lock_is_mine());
    spin_lock(&lock);
    __atomic_store_n(&holder, cpu_this()->index, __ATOMIC_RELAXED);
}

void big_lock_release(void)
{
    assert(big_lock_is_mine());
    __atomic_store_n(&holder, NOBODY, __ATOMIC_RELAXED);
    spin_unlock(&lock);
}
