/*
 * VMX instructions (SDM volume 3, chapter 30), each with its result: CF means
 * there is no current VMCS, ZF that its VM-instruction error field says why.
 * vmread() and vmwrite() of a field that does not exist is our bug: they panic.
 */
#ifndef HV_VMX_INSN_H
#define HV_VMX_INSN_H

#include "hv/vmx_count.h"
#include "hv/vmx_defs.h"
#include "lib/assert.h"

enum vmx_result { VMX_OK, VMX_FAIL_INVALID, VMX_FAIL_VALID };

#define VMX_RESULT(cf, zf) ((cf) ? VMX_FAIL_INVALID : (zf) ? VMX_FAIL_VALID : VMX_OK)

static inline enum vmx_result vmx_on(uint64_t address)
{
    bool cf, zf;
    __asm__ volatile("vmxon %2" : "=@ccc"(cf), "=@ccz"(zf) : "m"(address) : "memory");
    return VMX_RESULT(cf, zf);
}

static inline enum vmx_result vmx_clear(uint64_t address)
{
    bool cf, zf;
    __asm__ volatile("vmclear %2" : "=@ccc"(cf), "=@ccz"(zf) : "m"(address) : "memory");
    return VMX_RESULT(cf, zf);
}

static inline enum vmx_result vmx_pointer_load(uint64_t address)
{
    bool cf, zf;
    __asm__ volatile("vmptrld %2" : "=@ccc"(cf), "=@ccz"(zf) : "m"(address) : "memory");
    return VMX_RESULT(cf, zf);
}

struct vmx_descriptor {
    uint64_t low, high;
};

static inline enum vmx_result vmx_invept(uint64_t type, uint64_t eptp)
{
    struct vmx_descriptor descriptor = { eptp, 0 };
    bool cf, zf;
    __asm__ volatile("invept %2, %3"
                     : "=@ccc"(cf), "=@ccz"(zf)
                     : "m"(descriptor), "r"(type)
                     : "memory");
    return VMX_RESULT(cf, zf);
}

static inline enum vmx_result vmx_invvpid(uint64_t type, uint16_t vpid)
{
    struct vmx_descriptor descriptor = { vpid, 0 };
    bool cf, zf;
    __asm__ volatile("invvpid %2, %3"
                     : "=@ccc"(cf), "=@ccz"(zf)
                     : "m"(descriptor), "r"(type)
                     : "memory");
    return VMX_RESULT(cf, zf);
}

static inline uint64_t vmread(enum vmcs_field field)
{
    uint64_t value;
    VMX_COUNT_READ();
    __asm__ goto volatile("vmread %1, %0\n\t"
                          "jbe %l[failed]" /* CF or ZF */
                          : "=r"(value)
                          : "r"((uint64_t)field)
                          : "cc"
                          : failed);
    return value;
failed:
    panic("vmread of field 0x%x failed", field);
}

static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
    VMX_COUNT_WRITE();
    __asm__ goto volatile("vmwrite %0, %1\n\t"
                          "jbe %l[failed]"
                          :
                          : "r"(value), "r"((uint64_t)field)
                          : "cc"
                          : failed);
    return;
failed:
    panic("vmwrite of field 0x%x failed", field);
}

#endif
