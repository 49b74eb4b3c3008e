#include "hv/dev_exit.h"
#include "abi/machine.h"
#include "hv/vm.h"

/* A byte to the exit port, words to the report ports; anything else is ignored. */
void dev_exit_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    if (port == GUEST_EXIT_PORT && size == 1) {
        if (vm_is_running(vm))
            vm->status = (uint8_t)value;
        vm_end(vm, VM_END_STATUS, "status %u", value);
    } else if (port == GUEST_REPORT_CHECKED_PORT && size == 4) {
        vm->checked += value;
    } else if (port == GUEST_REPORT_MISMATCHED_PORT && size == 4) {
        vm->mismatched += value;
    }
}
