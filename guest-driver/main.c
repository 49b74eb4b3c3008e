/*
 * The minimal guest: its boot in order, then the workload of the command line.
 */
#include "abi/machine.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/guest.h"
#include "guest-driver/kernel.h"
#include "guest-driver/lapic.h"
#include "guest-driver/page_alloc.h"
#include "guest-driver/workload.h"
#include "lib/types.h"

void kernel_poll(void) {}

void kernel_sleep(uint64_t ticks)
{
    for (uint64_t end = lapic_ticks() + ticks; lapic_ticks() < end;) {
        kernel_poll();
        cpu_halt();
    }
}

int guest_main(const struct guest_boot *boot)
{
    struct options options;
    char message[CONSOLE_LINE_MAX];
    if (!options_parse(&options, boot->cmdline, message, sizeof(message))) {
        console_line("guest: command line: %s", message);
        return GUEST_STATUS_USAGE;
    }
    const struct workload *workload = workload_find(options.workload);
    if (!workload) {
        console_line("guest: command line: no workload '%s'", options.workload);
        return GUEST_STATUS_USAGE;
    }
    page_alloc_init(boot);
    lapic_init();
    console_line("guest: %llu MiB, %u pages free, workload %s, seed %lu", boot->memory_bytes / MIB,
                 page_alloc_free_count(), workload->name, options.seed);
    cpu_interrupts_on();
    return workload->run(&options);
}
