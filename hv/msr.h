/*
 * Model-specific registers as guests see them: Intel SDM volume 4. A table says
 * what each does; one that is not in it gives #GP and is counted.
 */
#ifndef HV_MSR_H
#define HV_MSR_H

#include "hv/vcpu.h"

void msr_handle_read(struct vcpu *vcpu);
void msr_handle_write(struct vcpu *vcpu);

#endif
