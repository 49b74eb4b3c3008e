/*
 * The hypervisor, as a column of calls in boot order. Each refuses to go on by
 * returning false with a logged line, or panics where nothing can be said yet.
 */
#include "hv/main.h"
#include "drivers/clock.h"
#include "drivers/disk.h"
#include "drivers/irq.h"
#include "drivers/serial.h"
#include "hv/boot_info.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/display.h"
#include "hv/cpus.h"
#include "hv/fpu.h"
#include "hv/loop.h"
#include "hv/machine.h"
#include "hv/mitigations.h"
#include "hv/paging.h"
#include "hv/power.h"
#include "hv/report.h"
#include "hv/sched.h"
#include "hv/symbols.h"
#include "hv/telemetry.h"
#include "hv/vcpu.h"
#include "hv/version.h"
#include "hv/vm.h"
#include "hv/x86.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/swap.h"

#define REGION_MAX 64u

static uint64_t core_bytes; /* host memory handed to the memory core */

static _Noreturn void stop(const char *reason)
{
    report_failed(reason);
    serial_flush();
    display_linger();
    power_off(1);
}

static void console_start(const struct boot_info *info)
{
    serial_init(SERIAL_CONSOLE);
    serial_init(SERIAL_TELEMETRY);
    symbols_init(bootmem_map(hpa(info->hypervisor.address)), info->hypervisor.bytes);
    log_info("ballast: version %s", BALLAST_VERSION);
}

static void interrupts_start(const struct boot_info *info)
{
    if (!irq_init(hpa(info->rsdp), paging_map_device))
        stop("no interrupt controller");
    cpu_interrupt_handler(loop_interrupt);
    clock_init();
}

static void virtualization_start(const struct config_host *host)
{
    fpu_init();
    if (!vcpu_select())
        stop(vcpu_problem());
    log_info("ballast: %s", vcpu_ops->name);
    mitigations_init(!host->mitigations);
    mitigations_cpu_init();
}

static void core_config(const struct config_host *host, struct mm_config *config)
{
    mm_config_default(config);
    memcpy(config->tiers, host->tiers, sizeof(config->tiers));
    config->policy = host->policy;
    config->seeded = host->seeded;
    config->seed = host->seed;
    config->min_free_permille = host->min_free_permille;
    config->soft_percent = host->soft_percent;
    config->hard_percent = host->hard_percent;
    config->low_percent = host->low_percent;
    config->idle_tax_percent = host->idle_tax_percent;
    config->pool_percent = host->pool_percent;
    config->share_pages = host->share_pages;
    config->swap_read_ahead = host->swap_read_ahead;
    config->max_physical_bits = x86_cpuid(0x80000008u, 0).eax & 0xff;
    config->accessed_dirty = vcpu_features.accessed_dirty;
    config->format = vcpu_features.format;
    config->large_pages = host->large_pages && vcpu_features.large_pages;
    config->large_execute = vcpu_features.large_execute;
    config->discreet = mitigations.on[MITIGATION_L1D_FLUSH] || mitigations.on[MITIGATION_L1D_FILL];
}

static void memory_start(const struct config_host *host)
{
    static struct frame_region regions[REGION_MAX];
    struct mm_config config;
    machine_init(host->seeded, host->seed);
    unsigned count = bootmem_regions(regions, REGION_MAX, host->memory);
    for (unsigned i = 0; i < count; i++)
        core_bytes += regions[i].bytes;
    core_config(host, &config);
    if (!mm_init(&config, regions, count))
        stop("too little host memory");
    log_info("ballast: memory: %llu M for guests, %llu K own",
             (unsigned long long)(core_bytes / MIB),
             (unsigned long long)(bootmem_own_bytes() / KIB));
}

/* Offers every partition and disk; the first that carries our signature is used. */
static void swap_start(const struct config_host *host)
{
    static struct disk_range ranges[DISK_RANGE_MAX];
    if (!host->swap || !host->tiers[MM_TIER_SWAP]) {
        log_info("ballast: swap: switched off");
        return;
    }
    unsigned count = disk_init(machine_dma_alloc, paging_map_device, ranges, DISK_RANGE_MAX);
    bool found = false;
    for (unsigned i = 0; i < count; i++) {
        const struct disk_range *r = &ranges[i];
        int result = mm_swap_attach(r->device, r->first_sector, r->sector_count);
        if (result == SWAP_OPEN_NO_SIGNATURE)
            continue;
        found = true;
        log_info("ballast: swap: %s, partition %u: %s", r->device->name, r->partition,
                 swap_open_result_name((enum swap_open_result)result));
        if (result == SWAP_OPEN_OK)
            break;
    }
    if (!found)
        log_info("ballast: swap: none: no disk or partition carries our signature");
    for (unsigned i = 0; i < host->disk_fault_count; i++)
        disk_fault_set(host->disk_faults[i].write, host->disk_faults[i].first,
                       host->disk_faults[i].count);
}

_Noreturn void main(struct boot_info *info)
{
    const struct config_host *host = &info->config.host;
    cpu_init();          /* GDT, IDT, control registers: exceptions are reported */
    console_start(info); /* serial ports, symbols, banner */
    bootmem_init(info);  /* memory of our own */
    paging_init(info);   /* page tables of our own */
    display_start(info); /* the screen, beside the serial console */
    power_init(hpa(info->rsdp));
    virtualization_start(host); /* the vendor's, or a line naming what is missing */
    interrupts_start(info);     /* APICs and clock */
    cpus_start(info);           /* the other CPUs, which wait for loop_run() */
    memory_start(host);         /* the memory core takes over what is left */
    swap_start(host);           /* disks, swap area */
    sched_init(host->slice_ms);
    loop_init(host);     /* tick, duration */
    vm_create_all(info); /* guests, loaded and ready */
    telemetry_start(info, core_bytes);
    report_start();
    loop_run(); /* until all VMs have ended */
    bool ok = report_finish();
    serial_flush();
    display_linger();
    power_off(ok ? 0 : 1);
}
