"""Several processors: guests run beside each other and on several at once, and a
flush that does not reach the other processor is noticed.
"""
import os

from cases_hostile import image
from harness import (Case, console_says, ended, host, host_counter, verified, vm, vm_counter)

FLUSH = host("32M", duration="60s") + vm("flush", "rounds=100", memory="8M", vcpus=2,
                                         image=image("smp_flush"))
RETURN = b"\xc3"
# mov $0x10, %ecx; xor %edx, %edx; mov $0x1000000, %eax; wrmsr; ret: sets the time stamp
# counter of whatever processor executes it.
SET_TSC = b"\xb9\x10\x00\x00\x00\x31\xd2\xb8\x00\x00\x00\x01\x0f\x30\xc3"
POSITIVE = lambda value: value > 0
# More content than memory, of every kind, in guests on two processors; one has two itself.
ALL_TIERS = (host("19M") +
             vm("clone1", "workload=clones seed=1 ws=4M rounds=1", memory="12M", share_group="g") +
             vm("clone2", "workload=clones seed=2 ws=4M rounds=1", memory="12M", share_group="g") +
             vm("fill", "workload=fill seed=4 ws=7M rounds=1", memory="12M") +
             vm("both", "vcpus=2 rounds=1 seed=3", memory="8M", vcpus=2, image=image("smp")))
# The loop's memory is taken while it executes: only a kick makes its processor flush.
LOOP = (host("20M", "compress", duration="12s") +
        vm("spin", "fill=1", memory="8M", image=image("spin")) +
        vm("victim", "workload=fill seed=1 ws=8M rounds=1", memory="12M"))


def kicked(run):
    """A processor was made to leave its guest for a flush."""
    kicks = sum(cpu["kicks"] for cpu in run.data.samples[-1]["host"]["cpus"])
    return "" if kicks > 0 else "no processor was ever kicked"


def two_smis_refused(run):
    """Both are counted."""
    count = run.vm("nmi")["refused"].get("smi", 0)
    return "" if count == 2 else f"{count} SMIs were refused"


def all_entered(run):
    """Every processor has run guests."""
    cpus = run.data.samples[-1]["host"]["cpus"]
    started = run.data.start["machine"]["cpus"]
    return "" if len(cpus) == started == run.case.cpus and all(
        cpu["entries"] for cpu in cpus) else f"processors {cpus}, {started} in the start record"


CASES = [
    Case("two processors, all tiers", ALL_TIERS,
         [verified("clone1", "clone2", "fill", "both"), all_entered, kicked] +
         [host_counter(f"freed_{tier}", POSITIVE, "positive")
          for tier in ("share", "compress", "swap")], cpus=2),
    # In QEMU only: Bochs takes turns of its processors, and minutes for this.
    Case("four processors, all tiers", ALL_TIERS,
         [verified("clone1", "clone2", "fill", "both"), all_entered, kicked] +
         [host_counter(f"freed_{tier}", POSITIVE, "positive")
          for tier in ("share", "compress", "swap")], cpus=4, disk="nvme"),
    Case("two processors, a loop with interrupts off", LOOP,
         [verified("victim", pages=2000), ended("spin", "duration"), all_entered, kicked,
          vm_counter("spin", "pool", POSITIVE, "positive")],
         result="failed: .*spin.*", cpus=2),
    Case("NMIs between processors", host("32M", duration="60s") +
         vm("nmi", memory="8M", vcpus=2, image=image("nmi")),
         [verified("nmi", pages=25), all_entered, console_says(r"nmi: .* 0 wrong"),
          console_says(r"an SMI was sent"), two_smis_refused], cpus=2),
    Case("time stamp counters out of step", host("32M") +
         vm("fill", "workload=fill seed=1 ws=2M rounds=1", memory="8M") +
         vm("other", "workload=fill seed=1 ws=2M rounds=1", memory="8M"),
         [verified("fill", "other"), all_entered,
          console_says(r"time stamp counter of CPU 1 is -\d+ to -\d+ ticks ahead: set")],
         cpus=2, cpu="corei7_haswell_4770", planted=("mitigations_cpu_init", SET_TSC)),
    Case("a guest on two processors",
         host("19M", "compress swap") + vm("both", "vcpus=2 rounds=1 seed=3", memory="16M", vcpus=2,
                                           image=image("smp")),
         [verified("both", pages=3000), all_entered, console_says(r"smp: 2 processors")], cpus=2),
    Case("two processors of a guest on one", host("32M") +
         vm("both", "vcpus=2 rounds=1 seed=3", memory="8M", vcpus=2, image=image("smp")),
         [verified("both", pages=1000)]),
    Case("a page given up while another processor writes", FLUSH,
         [verified("flush", pages=100), all_entered, kicked], cpus=2),
    Case("the same without the kick", FLUSH, [ended("flush", "status 1", status=1)],
         result="failed: .*mismatched", cpus=2, planted=("guest_evict", RETURN), mismatches=True),
]
