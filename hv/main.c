/*
 * The hypervisor, as a column of calls in boot order.
 */
#include "drivers/serial.h"
#include "hv/boot_info.h"
#include "hv/bootmem.h"
#include "hv/cpu.h"
#include "hv/main.h"
#include "hv/paging.h"
#include "hv/power.h"
#include "hv/symbols.h"
#include "lib/log.h"

_Noreturn void main(struct boot_info *info)
{
    cpu_init(); /* GDT, IDT, control registers: exceptions are reported */
    serial_init(SERIAL_CONSOLE);
    symbols_init(bootmem_map(hpa(info->hypervisor.address)), info->hypervisor.bytes);
    log_info("ballast: hypervisor entered");
    bootmem_init(info); /* memory of our own */
    paging_init(info);  /* page tables of our own */
    power_init(hpa(info->rsdp));
    log_info("ballast: result ok");
    serial_flush();
    power_off(0);
}
