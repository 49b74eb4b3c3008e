/* VT-x behind struct vcpu_ops. Everything else about it is private to vmx*. */
#ifndef HV_VMX_H
#define HV_VMX_H

#include "hv/vcpu.h"

extern const struct vcpu_ops vmx_ops;

#endif
