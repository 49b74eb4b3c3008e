/*
 * Guard pages by mmap; see fake_guard.h. Never given back: a test makes a few.
 */
#include "tests/host/fake_guard.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define GUARD 4096u

static uint8_t *between_guards(size_t size, size_t *room)
{
    *room = (size + GUARD - 1) / GUARD * GUARD;
    uint8_t *base = mmap(NULL, *room + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || (*room && mprotect(base + GUARD, *room, PROT_READ | PROT_WRITE)))
        abort();
    return base + GUARD;
}

void *fake_guard_end(size_t size)
{
    size_t room;
    uint8_t *start = between_guards(size, &room);
    return start + room - size;
}

void *fake_guard_start(size_t size)
{
    size_t room;
    return between_guards(size, &room);
}
