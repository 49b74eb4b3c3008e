"""Several processors: guests run beside each other and on several at once, and a
flush that does not reach the other processor is noticed.
"""
import os

from cases_hostile import image
from harness import Case, console_says, ended, host, verified, vm

FLUSH = host("32M", duration="60s") + vm("flush", "rounds=100", memory="8M", vcpus=2,
                                         image=image("smp_flush"))
RETURN = b"\xc3"


def kicked(run):
    """A processor was made to leave its guest for a flush."""
    kicks = sum(cpu["kicks"] for cpu in run.data.samples[-1]["host"]["cpus"])
    return "" if kicks > 0 else "no processor was ever kicked"


def all_entered(run):
    """Every processor has run guests."""
    cpus = run.data.samples[-1]["host"]["cpus"]
    started = run.data.start["machine"]["cpus"]
    return "" if len(cpus) == started == run.case.cpus and all(
        cpu["entries"] for cpu in cpus) else f"processors {cpus}, {started} in the start record"


CASES = [
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
