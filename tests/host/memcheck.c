/*
 * Which bytes of frames mean something (P4), for the build with MemorySanitizer:
 * none of a frame that nobody was given yet, none of one that was given back, until
 * they are written. Whoever decides by such a byte, or hands it to the disk, ends
 * the run with the place where the frame was given back.
 *
 * The linker puts the wrapped functions in place (host.mk). Unlike the poison of
 * sim_oracle.c this sees a frame that is freed and given out within one step.
 */
#include <sanitizer/msan_interface.h>

#include "mm/frame.h"
#include "tests/host/sim.h"

void __real_frame_free(pfn_t number);
void __wrap_frame_free(pfn_t number);
void __real_sim_memory_start(const struct sim_settings *settings);
void __wrap_sim_memory_start(const struct sim_settings *settings);

static void forget(void *page)
{
    __msan_allocated_memory(page, PAGE_SIZE);
}

static void written_out(const void *bytes, size_t size)
{
    __msan_check_mem_is_initialized(bytes, size);
}

void __wrap_frame_free(pfn_t number)
{
    if (sim.arena && sim_frame_valid(number.v))
        forget(sim_frame(number.v));
    __real_frame_free(number);
}

void __wrap_sim_memory_start(const struct sim_settings *settings)
{
    __real_sim_memory_start(settings);
    __msan_poison(sim.arena, (size_t)settings->frames * PAGE_SIZE);
    sim_hooks.forget = forget;
    sim_hooks.written_out = written_out;
}
