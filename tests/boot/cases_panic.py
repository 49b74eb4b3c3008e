"""Faults of the hypervisor itself, planted into its code: a register dump, a
backtrace with names, one last line, and the machine is off.
"""
import re

from cases_hostile import image
from harness import Case, console_says, host, vm

CONFIG = host("48M") + vm("fill", "workload=fill seed=1 ws=4M rounds=1", memory="16M")
UD2 = b"\x0f\x0b"
# push %rax; jmp to it: runs over the end of the stack
PUSH_FOREVER = b"\x50\xeb\xfd"
# mov %al, this instruction: the text cannot be written
WRITE_TEXT = b"\x88\x05\xfa\xff\xff\xff"
# jump to the stack: data is never executed
RUN_STACK = b"\xff\xe4"


# Both processors are in guests nearly all the time, with interrupts off.
BUSY = host("48M") + vm("spin1", memory="8M", image=image("spin")) + vm(
    "spin2", memory="8M", image=image("spin"))


def panics(name, code, reason, checks=(), where="loop_run", config=CONFIG, cpus=1):
    return Case(f"panic: {name}", config,
                [console_says(r"error:   rax [0-9a-f]{16}  rcx"), *checks],
                result=f"failed: panic: {reason}", telemetry=False, planted=(where, code),
                cpus=cpus)


def once(*patterns):
    """Exactly one line of the console matches, of each."""
    def check(run):
        for pattern in patterns:
            count = sum(bool(re.search(pattern, line)) for line in run.console)
            if count != 1:
                return f"{count} lines say {pattern!r}"
        return ""
    return check


ONE_REPORT = once(r"error: panic: ", r"ballast: result ", r"1 of 1 other CPUs have stopped")


CASES = [
    panics("bad instruction", UD2, r"invalid opcode .* loop_run\+0x0",
           [console_says(r"error:   at [0-9a-f]{16} loop_run\+0x0"),
            console_says(r"error:   at [0-9a-f]{16} main\+0x")]),
    panics("stack overflow", PUSH_FOREVER, r"double fault \(.*stack overflow\) .* loop_run\+0x.*"),
    panics("write to text", WRITE_TEXT, r"page fault \(vector 14, error 0x3\) .* loop_run\+0x0"),
    # The second processor; whichever comes first; the first one, the second in a guest.
    panics("one of two processors", UD2, r"invalid opcode .* loop_join\+0x0",
           [ONE_REPORT, console_says(r"cpu 1$")], "loop_join", cpus=2),
    panics("two processors at once", UD2, r"invalid opcode .* sched_pick\+0x0",
           [ONE_REPORT], "sched_pick", cpus=2),
    panics("while the other processor is in a guest", UD2, r"invalid opcode .* dev_uart_tick\+0x0",
           [ONE_REPORT, console_says(r"cpu 0$")], "dev_uart_tick", BUSY, 2),
    panics("execution of data", RUN_STACK, r"page fault \(vector 14, error 0x11\) .*"),
]
