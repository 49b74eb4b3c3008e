/*
 * Why an entry failed, in words: the rules of SDM volume 3, 26.2 (controls and
 * host state) and 26.3 (guest state), tried over the current VMCS in the
 * manual's order. Runs only after a failure. CPUs report that a rule was broken,
 * never which.
 *
 * A rule is a function that returns its text when it is broken.
 */
#include "hv/vmx_vcpu.h"

#define RULE(broken, text)                                                                         \
    do {                                                                                           \
        if (broken)                                                                                \
            return text;                                                                           \
    } while (0)

static bool is_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static unsigned physical_bits(void)
{
    return x86_cpuid(0x80000000u, 0).eax >= 0x80000008u ? x86_cpuid(0x80000008u, 0).eax & 0xff : 36;
}

static bool is_bad_page(uint64_t address)
{
    return (address & PAGE_MASK) || address >> physical_bits();
}

/* A control word against its capability MSR. */
static bool is_out_of_range(enum vmcs_field field, uint32_t msr, uint32_t true_msr)
{
    uint64_t allowed = x86_rdmsr(vmx_config.basic & VMX_BASIC_TRUE_CONTROLS ? true_msr : msr);
    uint32_t value = (uint32_t)vmread(field);
    return (value & (uint32_t)allowed) != (uint32_t)allowed || (value & ~(allowed >> 32));
}

static const char *check_controls(void)
{
    uint32_t proc = (uint32_t)vmread(VMCS_PROC_CONTROLS);
    uint32_t pin = (uint32_t)vmread(VMCS_PIN_CONTROLS);
    uint32_t proc2 = proc & PROC_SECONDARY ? (uint32_t)vmread(VMCS_PROC2_CONTROLS) : 0;
    RULE(is_out_of_range(VMCS_PIN_CONTROLS, MSR_VMX_PIN, MSR_VMX_TRUE_PIN),
         "26.2.1.1: pin-based controls do not fit the capability MSR");
    RULE(is_out_of_range(VMCS_PROC_CONTROLS, MSR_VMX_PROC, MSR_VMX_TRUE_PROC),
         "26.2.1.1: processor-based controls do not fit the capability MSR");
    RULE(proc2 && is_out_of_range(VMCS_PROC2_CONTROLS, MSR_VMX_PROC2, MSR_VMX_PROC2),
         "26.2.1.1: secondary controls do not fit the capability MSR");
    RULE(vmread(VMCS_CR3_TARGET_COUNT) > 4, "26.2.1.1: CR3-target count above 4");
    RULE((proc & PROC_MSR_BITMAPS) && is_bad_page(vmread(VMCS_MSR_BITMAP)),
         "26.2.1.1: MSR-bitmap address not page aligned or too high");
    RULE(!(pin & PIN_NMI) && (pin & PIN_VIRTUAL_NMI), "26.2.1.1: virtual NMIs without NMI exiting");
    RULE(!(pin & PIN_VIRTUAL_NMI) && (proc & PROC_NMI_WINDOW),
         "26.2.1.1: NMI-window exiting without virtual NMIs");
    RULE((proc2 & PROC2_VPID) && vmread(VMCS_VPID) == 0, "26.2.1.1: VPID is 0");
    RULE((proc2 & PROC2_UNRESTRICTED) && !(proc2 & PROC2_EPT),
         "26.2.1.1: unrestricted guest without EPT");
    return NULL;
}

static const char *check_eptp(void)
{
    uint64_t eptp = vmread(VMCS_EPTP), caps = vmx_config.capabilities;
    unsigned type = eptp & 7;
    RULE(!(type == EPTP_MEMORY_WB && (caps & EPT_CAP_WB)) &&
             !(type == EPTP_MEMORY_UC && (caps & EPT_CAP_UC)),
         "26.2.1.1: EPTP memory type not supported");
    RULE((eptp & 0x38) != EPTP_WALK_4, "26.2.1.1: EPTP page-walk length is not 4");
    RULE((eptp & EPTP_ACCESSED_DIRTY) && !(caps & EPT_CAP_ACCESSED_DIRTY),
         "26.2.1.1: EPTP asks for accessed and dirty bits the CPU does not have");
    RULE((eptp & 0xf80) || eptp >> physical_bits(), "26.2.1.1: EPTP reserved bits set");
    return NULL;
}

static const char *check_exit_entry_controls(void)
{
    RULE(is_out_of_range(VMCS_EXIT_CONTROLS, MSR_VMX_EXIT, MSR_VMX_TRUE_EXIT),
         "26.2.1.2: exit controls do not fit the capability MSR");
    RULE(is_out_of_range(VMCS_ENTRY_CONTROLS, MSR_VMX_ENTRY, MSR_VMX_TRUE_ENTRY),
         "26.2.1.3: entry controls do not fit the capability MSR");
    return NULL;
}

static const char *check_event(void)
{
    uint32_t event = (uint32_t)vmread(VMCS_ENTRY_EVENT), type = EVENT_TYPE(event);
    uint8_t vector = EVENT_VECTOR(event);
    if (!(event & EVENT_VALID))
        return NULL;
    bool has_error =
        vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) || vector == VECTOR_AC;
    bool protected = vmread(VMCS_GUEST_CR0) & CR0_PE;
    RULE(type == 1 || type == EVENT_TYPE_OTHER, "26.2.1.3: event type reserved");
    RULE(type == EVENT_TYPE_NMI && vector != VECTOR_NMI, "26.2.1.3: NMI with another vector");
    RULE(type == EVENT_TYPE_EXCEPTION && vector > 31, "26.2.1.3: exception vector above 31");
    RULE((event & EVENT_ERROR_CODE) && !(type == EVENT_TYPE_EXCEPTION && has_error && protected),
         "26.2.1.3: error code for an event that has none");
    RULE(!(event & EVENT_ERROR_CODE) && type == EVENT_TYPE_EXCEPTION && has_error && protected,
         "26.2.1.3: exception without its error code");
    RULE(event & 0x7ffff000u, "26.2.1.3: event reserved bits set");
    RULE((event & EVENT_ERROR_CODE) && (vmread(VMCS_ENTRY_ERROR_CODE) & 0xffff8000u),
         "26.2.1.3: event error code too large");
    RULE(type >= EVENT_TYPE_SOFT_INT && vmread(VMCS_ENTRY_LENGTH) - 1 > 14,
         "26.2.1.3: instruction length of a software event not 1 to 15");
    return NULL;
}

static const char *check_host(void)
{
    uint64_t cr0 = vmread(VMCS_HOST_CR0), cr4 = vmread(VMCS_HOST_CR4);
    RULE((cr0 & vmx_config.cr0_fixed0) != vmx_config.cr0_fixed0 || (cr0 & ~vmx_config.cr0_fixed1),
         "26.2.2: host CR0 has bits not allowed in VMX operation");
    RULE((cr4 & vmx_config.cr4_fixed0) != vmx_config.cr4_fixed0 || (cr4 & ~vmx_config.cr4_fixed1),
         "26.2.2: host CR4 has bits not allowed in VMX operation");
    RULE(vmread(VMCS_HOST_CR3) >> physical_bits(), "26.2.2: host CR3 too high");
    RULE(!is_canonical(vmread(VMCS_HOST_SYSENTER_ESP)) ||
             !is_canonical(vmread(VMCS_HOST_SYSENTER_EIP)),
         "26.2.2: host SYSENTER address not canonical");
    RULE(vmread(VMCS_HOST_CS_SELECTOR) == 0 || vmread(VMCS_HOST_TR_SELECTOR) == 0,
         "26.2.3: host CS or TR selector is 0");
    RULE((vmread(VMCS_HOST_CS_SELECTOR) | vmread(VMCS_HOST_SS_SELECTOR) |
          vmread(VMCS_HOST_DS_SELECTOR) | vmread(VMCS_HOST_ES_SELECTOR) |
          vmread(VMCS_HOST_FS_SELECTOR) | vmread(VMCS_HOST_GS_SELECTOR) |
          vmread(VMCS_HOST_TR_SELECTOR)) &
             7,
         "26.2.3: host selector with RPL or TI set");
    RULE(!is_canonical(vmread(VMCS_HOST_FS_BASE)) || !is_canonical(vmread(VMCS_HOST_GS_BASE)) ||
             !is_canonical(vmread(VMCS_HOST_TR_BASE)) ||
             !is_canonical(vmread(VMCS_HOST_GDTR_BASE)) ||
             !is_canonical(vmread(VMCS_HOST_IDTR_BASE)),
         "26.2.3: host base not canonical");
    RULE(!(vmread(VMCS_EXIT_CONTROLS) & EXIT_CTL_HOST_64) || !(cr4 & CR4_PAE) ||
             !is_canonical(vmread(VMCS_HOST_RIP)),
         "26.2.4: host is not set up for 64-bit mode");
    return NULL;
}

static const char *check_guest_control_registers(void)
{
    uint64_t cr0 = vmread(VMCS_GUEST_CR0), cr4 = vmread(VMCS_GUEST_CR4);
    uint64_t efer = vmread(VMCS_GUEST_EFER);
    bool unrestricted = vmread(VMCS_PROC2_CONTROLS) & PROC2_UNRESTRICTED;
    bool ia32e = vmread(VMCS_ENTRY_CONTROLS) & ENTRY_CTL_IA32E;
    uint64_t fixed0 = vmx_config.cr0_fixed0 & ~(unrestricted ? CR0_PE | CR0_PG : 0);
    RULE((cr0 & fixed0) != fixed0 || (cr0 & ~vmx_config.cr0_fixed1),
         "26.3.1.1: guest CR0 has bits not allowed in VMX operation");
    RULE((cr0 & CR0_PG) && !(cr0 & CR0_PE), "26.3.1.1: guest CR0.PG without PE");
    RULE((cr4 & vmx_config.cr4_fixed0) != vmx_config.cr4_fixed0 || (cr4 & ~vmx_config.cr4_fixed1),
         "26.3.1.1: guest CR4 has bits not allowed in VMX operation");
    RULE(ia32e && (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE)),
         "26.3.1.1: IA-32e mode guest without CR0.PG and CR4.PAE");
    RULE(!ia32e && (cr4 & CR4_PCIDE), "26.3.1.1: guest CR4.PCIDE outside of IA-32e mode");
    RULE(vmread(VMCS_GUEST_CR3) >> physical_bits(), "26.3.1.1: guest CR3 too high");
    RULE(vmread(VMCS_GUEST_DEBUGCTL) & ~0xdfc3ull, "26.3.1.1: guest DEBUGCTL reserved bits");
    RULE(vmread(VMCS_GUEST_DR7) >> 32, "26.3.1.1: guest DR7 upper half not 0");
    RULE(!is_canonical(vmread(VMCS_GUEST_SYSENTER_ESP)) ||
             !is_canonical(vmread(VMCS_GUEST_SYSENTER_EIP)),
         "26.3.1.1: guest SYSENTER address not canonical");
    RULE(efer & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE),
         "26.3.1.1: guest EFER reserved bits set");
    RULE(!!(efer & EFER_LMA) != ia32e, "26.3.1.1: guest EFER.LMA is not IA-32e mode guest");
    RULE((cr0 & CR0_PG) && !!(efer & EFER_LMA) != !!(efer & EFER_LME),
         "26.3.1.1: guest EFER.LMA is not LME while paging is on");
    return NULL;
}

static const char *check_guest_pat(void)
{
    uint64_t pat = vmread(VMCS_GUEST_PAT);
    for (unsigned i = 0; i < 8; i++, pat >>= 8)
        RULE((pat & 0xff) > 7 || (pat & 0xff) == 2 || (pat & 0xff) == 3,
             "26.3.1.1: guest PAT has a reserved type");
    return NULL;
}

static bool is_usable(enum vcpu_segment segment)
{
    return !(vmread(VMCS_RIGHTS(segment)) & RIGHTS_UNUSABLE);
}

/* 26.3.1.2, one segment; virtual-8086 mode has rules of its own. */
static const char *check_segment(enum vcpu_segment segment)
{
    uint32_t rights = (uint32_t)vmread(VMCS_RIGHTS(segment));
    uint32_t limit = (uint32_t)vmread(VMCS_LIMIT(segment));
    bool is_system = segment == SEG_LDTR || segment == SEG_TR;
    if (!is_usable(segment))
        return segment == SEG_TR || segment == SEG_CS ? "26.3.1.2: guest CS or TR marked unusable"
                                                      : NULL;
    RULE(!(rights & 0x80), "26.3.1.2: usable guest segment not present");
    RULE(rights & 0xfffe0f00u, "26.3.1.2: guest access rights reserved bits set");
    RULE(!!(rights & 0x10) == is_system, "26.3.1.2: guest segment of the wrong descriptor type");
    RULE((limit & 0xfff) != 0xfff && (rights & 0x8000), "26.3.1.2: limit not of page granularity");
    RULE((limit & 0xfff00000u) && !(rights & 0x8000), "26.3.1.2: large limit without granularity");
    RULE(!is_system && !(rights & 1), "26.3.1.2: usable guest segment not accessed");
    RULE(segment == SEG_CS && (rights & 0x4000) && (rights & RIGHTS_LONG) &&
             (vmread(VMCS_ENTRY_CONTROLS) & ENTRY_CTL_IA32E),
         "26.3.1.2: guest CS has both D and L set");
    RULE(segment == SEG_LDTR && (rights & 15) != 2, "26.3.1.2: guest LDTR is no LDT");
    RULE(segment == SEG_TR && (rights & 15) != 11 && (rights & 15) != 3,
         "26.3.1.2: guest TR is no busy TSS");
    return NULL;
}

static const char *check_guest_segments(void)
{
    if (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_VM)
        return NULL;
    for (enum vcpu_segment segment = SEG_ES; segment < SEG_COUNT; segment++) {
        const char *rule = check_segment(segment);
        RULE(rule, rule);
        RULE((segment == SEG_FS || segment == SEG_GS || segment == SEG_TR ||
              (segment == SEG_LDTR && is_usable(segment))) &&
                 !is_canonical(vmread(VMCS_BASE(segment))),
             "26.3.1.2: guest segment base not canonical");
        RULE((segment <= SEG_DS) && is_usable(segment) && vmread(VMCS_BASE(segment)) >> 32,
             "26.3.1.2: guest segment base above 4 GiB");
    }
    RULE(vmread(VMCS_GUEST_TR_SELECTOR) & 4, "26.3.1.2: guest TR selector points into the LDT");
    RULE(!is_canonical(vmread(VMCS_GUEST_GDTR_BASE)) || !is_canonical(vmread(VMCS_GUEST_IDTR_BASE)),
         "26.3.1.3: guest GDTR or IDTR base not canonical");
    RULE(vmread(VMCS_GUEST_GDTR_LIMIT) >> 16 || vmread(VMCS_GUEST_IDTR_LIMIT) >> 16,
         "26.3.1.3: guest GDTR or IDTR limit above 16 bits");
    return NULL;
}

static const char *check_guest_flags(void)
{
    uint64_t rip = vmread(VMCS_GUEST_RIP), flags = vmread(VMCS_GUEST_RFLAGS);
    bool ia32e = vmread(VMCS_ENTRY_CONTROLS) & ENTRY_CTL_IA32E;
    bool long_code = ia32e && (vmread(VMCS_GUEST_CS_RIGHTS) & RIGHTS_LONG);
    uint32_t event = (uint32_t)vmread(VMCS_ENTRY_EVENT);
    bool interrupt = (event & EVENT_VALID) && EVENT_TYPE(event) == EVENT_TYPE_INTERRUPT;
    RULE(!long_code && rip >> 32, "26.3.1.4: guest RIP above 4 GiB outside of 64-bit mode");
    RULE(long_code && !is_canonical(rip), "26.3.1.4: guest RIP not canonical");
    RULE((flags & 0xffffffffffc08028ull) || !(flags & RFLAGS_FIXED),
         "26.3.1.4: guest RFLAGS reserved bits");
    RULE((flags & RFLAGS_VM) && (ia32e || !(vmread(VMCS_GUEST_CR0) & CR0_PE)),
         "26.3.1.4: guest RFLAGS.VM outside of protected mode");
    RULE(interrupt && !(flags & RFLAGS_IF), "26.3.1.4: interrupt injected while RFLAGS.IF is 0");
    return NULL;
}

static const char *check_guest_activity(void)
{
    uint32_t blocking = (uint32_t)vmread(VMCS_GUEST_BLOCKING);
    uint64_t activity = vmread(VMCS_GUEST_ACTIVITY), flags = vmread(VMCS_GUEST_RFLAGS);
    uint32_t event = (uint32_t)vmread(VMCS_ENTRY_EVENT);
    bool shadow = blocking & (BLOCKING_STI | BLOCKING_MOV_SS);
    bool step = (flags & RFLAGS_TF) && !(vmread(VMCS_GUEST_DEBUGCTL) & 2);
    bool pending = vmread(VMCS_GUEST_PENDING_DEBUG) & PENDING_DEBUG_BS;
    RULE(activity > 3, "26.3.1.5: guest activity state unknown");
    RULE(activity != ACTIVITY_ACTIVE && shadow, "26.3.1.5: guest not active under a shadow");
    RULE(blocking >> 5, "26.3.1.5: guest interruptibility reserved bits");
    RULE((blocking & BLOCKING_STI) && (blocking & BLOCKING_MOV_SS),
         "26.3.1.5: blocking by STI and by MOV SS at once");
    RULE((blocking & BLOCKING_STI) && !(flags & RFLAGS_IF),
         "26.3.1.5: blocking by STI while RFLAGS.IF is 0");
    RULE((event & EVENT_VALID) && EVENT_TYPE(event) == EVENT_TYPE_INTERRUPT && shadow,
         "26.3.1.5: interrupt injected under a shadow");
    RULE((event & EVENT_VALID) && EVENT_TYPE(event) == EVENT_TYPE_NMI &&
             (blocking & (BLOCKING_MOV_SS | BLOCKING_NMI)),
         "26.3.1.5: NMI injected while blocked");
    RULE((shadow || activity == ACTIVITY_HLT) && step != pending,
         "26.3.1.5: pending debug exception does not fit RFLAGS.TF");
    RULE(vmread(VMCS_LINK_POINTER) != UINT64_MAX, "26.3.1.5: VMCS link pointer is not all ones");
    return NULL;
}

const char *vmx_check_entry(void)
{
    static const char *(*const groups[])(void) = {
        check_controls,       check_eptp,           check_exit_entry_controls,
        check_event,          check_host,           check_guest_control_registers,
        check_guest_pat,      check_guest_segments, check_guest_flags,
        check_guest_activity,
    };
    for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        const char *rule = groups[i]();
        if (rule)
            return rule;
    }
    return NULL;
}

/* SDM volume 3, 30.4. */
const char *vmx_error_name(uint32_t number)
{
    static const char *const names[] = {
        "no current VMCS",
        "VMCALL in VMX root operation",
        "VMCLEAR with an invalid address",
        "VMCLEAR with the VMXON pointer",
        "VMLAUNCH with a VMCS that is not clear",
        "VMRESUME with a VMCS that is not launched",
        "VMRESUME after VMXOFF",
        "VM entry with invalid control fields",
        "VM entry with invalid host state",
        "VMPTRLD with an invalid address",
        "VMPTRLD with the VMXON pointer",
        "VMPTRLD with another revision",
        "VMREAD or VMWRITE of an unknown field",
        "VMWRITE of a read-only field",
        NULL,
        "VMXON in VMX root operation",
        "VM entry with an invalid executive VMCS",
        "VM entry with an executive VMCS that is not launched",
        "VM entry with an executive VMCS that is not the VMXON pointer",
        "VMCALL with a VMCS that is not clear",
        "VMCALL with invalid exit controls",
        NULL,
        "VMCALL with a wrong MSEG revision",
        "VMXOFF under dual-monitor treatment",
        "VMCALL with invalid SMM-monitor features",
        "VM entry with invalid execution controls in the executive VMCS",
        "VM entry with events blocked by MOV SS",
        NULL,
        "INVEPT or INVVPID with an invalid operand",
    };
    return number < sizeof(names) / sizeof(names[0]) && names[number] ? names[number]
                                                                      : "unknown error";
}
