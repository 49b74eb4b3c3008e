; void fpu_{load,store}_{xmm,ymm}(uint64_t values[16 * 4]): all vector registers
; from and to memory, 32 bytes apart.

section .text
bits 64

%macro MOVE_ALL 3               ; name, instruction, register prefix
global fpu_load_%1
fpu_load_%1:
  %assign i 0
  %rep 16
    %2 %3 %+ i, [rdi + i * 32]
    %assign i i + 1
  %endrep
    ret

global fpu_store_%1
fpu_store_%1:
  %assign i 0
  %rep 16
    %2 [rdi + i * 32], %3 %+ i
    %assign i i + 1
  %endrep
    ret
%endmacro

MOVE_ALL xmm, movdqu, xmm
MOVE_ALL ymm, vmovdqu, ymm

section .note.GNU-stack noalloc noexec nowrite progbits
