#include "hv/vmx_count.h"

#ifdef VMX_COUNT
#include "hv/vcpu.h"
#include "lib/log.h"

unsigned long vmx_count_reads, vmx_count_writes;
static unsigned long reads[EXIT_KIND_COUNT], writes[EXIT_KIND_COUNT], entries[EXIT_KIND_COUNT];

void vmx_count_entry(unsigned kind)
{
    reads[kind] += vmx_count_reads;
    writes[kind] += vmx_count_writes;
    entries[kind]++;
    vmx_count_reads = vmx_count_writes = 0;
}

void vmx_count_tell(void)
{
    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++)
        if (entries[i])
            log_info("vmcs: %s reads %lu writes %lu of %lu", exit_kind_name((enum exit_kind)i),
                     reads[i], writes[i], entries[i]);
}
#else
typedef int vmx_count_nothing;
#endif
