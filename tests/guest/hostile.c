#include "tests/guest/hostile.h"

#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/content.h"
#include "guest-driver/page_alloc.h"
#include "lib/string.h"
#include "lib/types.h"

static const struct content_mix mix = { { 25, 55, 10, 10 } };

uint64_t hostile_number(const struct guest_boot *boot, const char *key, uint64_t otherwise)
{
    size_t length = strlen(key);
    for (const char *p = boot->cmdline; *p; p++) {
        bool starts = p == boot->cmdline || p[-1] == ' ';
        if (!starts || strncmp(p, key, length) || p[length] != '=')
            continue;
        uint64_t value = 0;
        for (p += length + 1; *p >= '0' && *p <= '9'; p++)
            value = value * 10 + (uint64_t)(*p - '0');
        return value;
    }
    return otherwise;
}

void hostile_memory_init(struct hostile_memory *memory, const struct guest_boot *boot)
{
    *memory = (struct hostile_memory){ .first = (uint32_t)(boot->image_end / PAGE_SIZE),
                                       .end = (uint32_t)(boot->memory_bytes / PAGE_SIZE),
                                       .seed = hostile_number(boot, "seed", 1) };
}

static void count(struct hostile_memory *memory, bool same, uint32_t page)
{
    memory->checked++;
    if (same)
        return;
    if (memory->mismatched++ < 4)
        console_line("page 0x%x does not hold what it should", page);
}

void hostile_memory_check_zero(struct hostile_memory *memory)
{
    static const struct content_mix zero = { { 0, 0, 100, 0 } };
    for (uint32_t page = memory->first; page < memory->end; page++)
        count(memory, content_verify(page_content(page), &zero, (struct content_id){ 0, page, 0 }),
              page);
}

void hostile_memory_fill(struct hostile_memory *memory)
{
    memory->version++;
    for (uint32_t page = memory->first; page < memory->end; page++)
        content_write(page_content(page), &mix,
                      (struct content_id){ memory->seed, page, memory->version });
}

void hostile_memory_verify(struct hostile_memory *memory)
{
    for (uint32_t page = memory->first; page < memory->end; page++)
        count(memory,
              content_verify(page_content(page), &mix,
                             (struct content_id){ memory->seed, page, memory->version }),
              page);
}

int hostile_memory_finish(struct hostile_memory *memory, const char *name)
{
    guest_report((uint32_t)memory->checked, (uint32_t)memory->mismatched);
    console_line("%s: %lu pages checked, %lu mismatches", name, memory->checked,
                 memory->mismatched);
    return memory->mismatched ? GUEST_STATUS_MISMATCH : GUEST_STATUS_OK;
}
