"""Guests that misbehave, each beside one that must not notice (tests/guest).

A hostile guest that is given rounds= comes to an end and verifies its own
memory; one that goes on for ever is ended by the run's duration. Either way the
guest beside it must finish verified.
"""
import os

from harness import BUILD, Case, ended, host, verified, vm, vm_counter

GUESTS = os.path.join(BUILD, "guests")
VICTIM = vm("victim", "workload=fill seed=1 ws=14M", memory="20M", reserve="4M")


def image(name):
    return os.path.join(GUESTS, name + ".elf")


def hostile(name, cmdline="", memory="16M"):
    return vm("hostile", cmdline, memory=memory, image=image(name))


def stopped(name, reason, cmdline="", title="", duration="60s", checks=()):
    """The hostile guest's VM has to end for that reason."""
    return Case(f"hostile guest: {title or name}",
                host("28M", duration=duration) + VICTIM + hostile(name, cmdline),
                [verified("victim", pages=3000), ended("hostile", reason), *checks],
                result="failed: .*hostile.*")


def harmless(name, cmdline="", title="", checks=(), memory="16M"):
    """The hostile guest comes to its end, its memory as intact as the victim's."""
    return Case(f"hostile guest: {title or name}",
                host("28M", duration="240s") + VICTIM + hostile(name, cmdline, memory),
                [verified("victim", "hostile"), verified("victim", pages=3000), *checks])


CASES = [
    stopped("triple", r"(?i)triple fault", title="triple fault"),
    stopped("noint", r"(?i)halt", title="halts with interrupts off"),
    stopped("exit7", r"(?i)status 7", title="a status that is no success"),
    stopped("spin", r"(?i)duration|time", title="endless loop"),
    stopped("doorbell", r"(?i)duration|time|doorbell|errors", "rounds=0",
            title="rings the doorbell for ever"),
    stopped("resetter", r"(?i)reset the device 10000 times", title="resets its device for ever"),
    harmless("doorbell", "rounds=20000", title="rings the doorbell often"),
    harmless("mute", "rounds=2", title="never answers the balloon"),
    harmless("silent", "rounds=2", title="has no balloon driver"),
    harmless("retouch", "rounds=2", title="uses what it gave up"),
    harmless("mmio", title="odd accesses to devices"),
    harmless("garbage", title="senseless queues"),
    Case("hostile guest: senseless instructions, ports, MSRs and device accesses",
         host("28M") + VICTIM + hostile("wild", "seed=11 rounds=500 kinds=127"),
         [verified("victim", pages=3000), verified("hostile", pages=0)]),
    stopped("wild", r"(?i)instruction|outside of memory|triple fault|status 5|halted|duration",
            "seed=1 rounds=1000", title="random code"),
    Case("traps and registers as on a processor", host("64M") +
         vm("traps", "emulated=0", memory="16M", image=image("traps")) + VICTIM,
         [verified("traps", pages=57), verified("victim", pages=3000)],
         differs={"tcg": ("emulated=0", "emulated=1")}, alike=("victim",)),
    Case("vector registers of two guests", host("64M") +
         vm("one", "seed=1 rounds=200", memory="16M", image=image("fpu")) +
         vm("two", "seed=2 rounds=200", memory="16M", image=image("fpu")),
         [verified("one", "two", pages=0)]),
    Case("vector registers while pages come back from the pool", host("28M", "compress") +
         vm("one", "seed=1 rounds=1 pages=3000", memory="16M", image=image("fpu")) +
         vm("two", "seed=2 rounds=1 pages=3000", memory="16M", image=image("fpu")),
         [verified("one", "two", pages=0),
          vm_counter("one", "faults_pool", lambda value: value > 500, "above 500"),
          vm_counter("two", "faults_pool", lambda value: value > 500, "above 500")]),
]
