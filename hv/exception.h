/*
 * What becomes of an exception that is raised while another event is delivered
 * (Intel SDM volume 3, tables 6-4 and 6-5; AMD APM volume 2, table 8-5).
 */
#ifndef HV_EXCEPTION_H
#define HV_EXCEPTION_H

#include "hv/x86.h"

enum exception_outcome { EXCEPTION_ITSELF, EXCEPTION_DOUBLE_FAULT, EXCEPTION_TRIPLE_FAULT };

static inline bool exception_is_contributory(uint8_t vector)
{
    return vector == 0 || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/* first, second: vectors of exceptions; second is raised by delivering first. */
static inline enum exception_outcome exception_meets(uint8_t first, uint8_t second)
{
    bool grave = second == VECTOR_PF || exception_is_contributory(second);
    if (first == VECTOR_DF)
        return grave ? EXCEPTION_TRIPLE_FAULT : EXCEPTION_ITSELF;
    if (first == VECTOR_PF)
        return grave ? EXCEPTION_DOUBLE_FAULT : EXCEPTION_ITSELF;
    return exception_is_contributory(first) && exception_is_contributory(second)
               ? EXCEPTION_DOUBLE_FAULT
               : EXCEPTION_ITSELF;
}

#endif
