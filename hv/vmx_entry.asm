; enum vmx_result vmx_enter(uint64_t *regs, bool resume, uint64_t *host_rsp)
;
; Loads the guest's general registers (in the order of enum vcpu_register; RSP
; comes from the VMCS) and enters. The next exit arrives at vmx_exit_point with
; RSP as it was here, because VMCS_HOST_RSP is kept equal to it.
;
; Returns 0 after an exit, 1 or 2 when the entry failed (enum vmx_result).

%include "hv/mitigations.inc"

HOST_RSP equ 0x6c14

%define R(n) [rdi + 8 * n]

global vmx_enter:function, vmx_exit_point:function

section .text
vmx_enter:
    push rbp
    mov rbp, rsp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi
    cmp rsp, [rdx]
    je .rsp_known
    mov eax, HOST_RSP
    vmwrite rax, rsp
    jc .invalid
    jz .valid
    mov [rdx], rsp
.rsp_known:
    MITIGATE_ENTRY
    MITIGATE_BUFFERS        ; what is loaded from here on is the guest's own
    test sil, sil           ; MOV leaves the flags alone
    mov rax, R(0)
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
    jnz .resume
    vmlaunch
    jmp .failed
.resume:
    vmresume
.failed:
    jc .invalid
.valid:
    mov ebx, 2
    jmp .not_entered
.invalid:
    mov ebx, 1
.not_entered:
    MITIGATE_EXIT
    mov eax, ebx
    jmp enter_return

vmx_exit_point:
    xchg rdi, [rsp]         ; RDI = regs, the guest's RDI on the stack
    mov R(0), rax
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
    xor eax, eax
enter_return:
    ; nothing of the guest's stays in a register a callee could leak
    xor ecx, ecx
    xor edx, edx
    xor esi, esi
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    xor edi, edi
    cld
    ret
