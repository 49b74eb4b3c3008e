; void svm_enter(uint64_t *regs, uint64_t vmcb, uint64_t host_vmcb)
;
; Loads the guest's general registers (in the order of enum vcpu_register; RAX and
; RSP come from the VMCB), the hidden state VMLOAD knows, and enters. VMRUN goes on
; after itself at the next exit, with RAX, RSP and RFLAGS as they were.
;
; From CLGI to STGI no interrupt and no NMI is taken. IF is 1 at VMRUN: interrupts
; of the host then end the guest's stay whatever the guest's own IF is (APM volume
; 2, 15.21.1). It is 0 again before STGI, which lets a pending NMI in.
;
; void svm_save_host(uint64_t vmcb)

%include "hv/mitigations.inc"

%define R(n) [rdi + 8 * n]

global svm_enter:function, svm_save_host:function

section .text
svm_enter:
    push rbp
    mov rbp, rsp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdx
    push rdi
    clgi
    sti
    MITIGATE_ENTRY
    MITIGATE_BUFFERS        ; what is loaded from here on is the guest's own
    mov rax, rsi
    vmload
    mov rcx, R(1)
    mov rdx, R(2)
    mov rbx, R(3)
    mov rbp, R(5)
    mov rsi, R(6)
    mov r8,  R(8)
    mov r9,  R(9)
    mov r10, R(10)
    mov r11, R(11)
    mov r12, R(12)
    mov r13, R(13)
    mov r14, R(14)
    mov r15, R(15)
    mov rdi, R(7)
    vmrun
    vmsave
    xchg rdi, [rsp]         ; RDI = regs, the guest's RDI on the stack
    mov R(1), rcx
    mov R(2), rdx
    mov R(3), rbx
    mov R(5), rbp
    mov R(6), rsi
    mov R(8), r8
    mov R(9), r9
    mov R(10), r10
    mov R(11), r11
    mov R(12), r12
    mov R(13), r13
    mov R(14), r14
    mov R(15), r15
    mov rax, [rsp]
    mov R(7), rax
    MITIGATE_EXIT
    mov rax, [rsp + 8]
    vmload                  ; FS, GS, TR and more: the hypervisor's own again
    cli
    stgi
    ; nothing of the guest's stays in a register a callee could leak
    xor eax, eax
    xor ecx, ecx
    xor edx, edx
    xor esi, esi
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    add rsp, 16
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    xor edi, edi
    cld
    ret

svm_save_host:
    mov rax, rdi
    vmsave
    ret
