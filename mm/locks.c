/*
 * What lib/lock.h asks of the stage, for stages that run the core. A program
 * with more threads than processors brings its own lock_relax().
 */
#include "mm/locks.h"
#include "mm/machine.h"

unsigned lock_cpu(void)
{
    return machine_cpu();
}

__attribute__((weak)) void lock_relax(unsigned turns)
{
    (void)turns;
    __builtin_ia32_pause();
}
