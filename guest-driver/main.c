/*
 * The minimal guest: its boot in order, then the workload of the command line.
 */
#include "abi/machine.h"
#include "guest-driver/balloon.h"
#include "guest-driver/console.h"
#include "guest-driver/cpu.h"
#include "guest-driver/fpu.h"
#include "guest-driver/guest.h"
#include "guest-driver/kernel.h"
#include "guest-driver/lapic.h"
#include "guest-driver/page_alloc.h"
#include "guest-driver/workload.h"
#include "lib/types.h"

void kernel_poll(void)
{
    balloon_poll();
}

void kernel_sleep(uint64_t ticks)
{
    for (uint64_t end = lapic_ticks() + ticks; lapic_ticks() < end;) {
        kernel_poll();
        cpu_halt();
    }
}

/* NULL: the command line was not understood, a line said why. */
static const struct workload *read_cmdline(struct options *options, const char *cmdline)
{
    char message[CONSOLE_LINE_MAX];
    if (!options_parse(options, cmdline, message, sizeof(message))) {
        console_line("guest: command line: %s", message);
        return NULL;
    }
    const struct workload *workload = workload_find(options->workload);
    if (!workload)
        console_line("guest: command line: no workload '%s'", options->workload);
    return workload;
}

static int run_workload(const struct workload *workload, const struct options *options)
{
    int status = workload->run(options);
    if (!balloon_finish() && status == GUEST_STATUS_OK)
        status = GUEST_STATUS_DRIVER;
    if (!options->fpu || fpu_verify())
        return status;
    console_line("guest: %s registers do not hold what was loaded", fpu_kind());
    return GUEST_STATUS_MISMATCH;
}

int guest_main(const struct guest_boot *boot)
{
    struct options options;
    const struct workload *workload = read_cmdline(&options, boot->cmdline);
    if (!workload)
        return GUEST_STATUS_USAGE;
    page_alloc_init(boot);
    lapic_init();
    if (options.fpu)
        fpu_fill(options.seed);
    console_line("guest: %llu MiB, %u pages free, workload %s, seed %lu", boot->memory_bytes / MIB,
                 page_alloc_free_count(), workload->name, options.seed);
    if (options.balloon)
        balloon_init(options.virtio, (unsigned)options.gsi);
    cpu_interrupts_on();
    return run_workload(workload, &options);
}
