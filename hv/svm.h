/* AMD-V behind struct vcpu_ops. Everything else about it is private to svm*. */
#ifndef HV_SVM_H
#define HV_SVM_H

#include "hv/vcpu.h"

extern const struct vcpu_ops svm_ops;

#endif
