#!/usr/bin/python3
"""make doctor: what this computer can do for Ballast, and what to change.

Exit status: 0 when `make run` works here (it installs packages by itself where
it may), 1 when something has to be changed first.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import computer
import machines

HERE = os.path.dirname(os.path.abspath(__file__))
DISK_MIB = 2048   # build, image, a few runs
MEMORY_MIB = 768  # an emulator with a machine of 256 MiB, and a compiler
WIDTH = 74

OK, NOTE, PROBLEM = "ok", "note", "PROBLEM"
MACHINE_IS = {"kvm": "the computer's own virtualization, the fastest",
              "bochs": "emulates VT-x with EPT; the same bytes on every run",
              "tcg": "QEMU without KVM: emulates AMD-V with nested paging"}


class Report:
    """Lines for a person, and whether any is a problem."""

    def __init__(self):
        self.lines, self.problems = [], 0

    def say(self, kind, text, advice=""):
        self.problems += kind == PROBLEM
        self.lines += wrap(f"{kind:<8}", text)
        if advice:
            self.lines += wrap("", "-> " + advice)


def wrap(head, text):
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [f"{head if not index else '':<8}  {line}" for index, line in
            enumerate(lines + [line])]


def wanted_packages(path=os.path.join(HERE, "packages.txt")):
    with open(path, encoding="ascii") as file:
        return [name for name in (line.split("#")[0].strip() for line in file) if name]


def examine_processor(this, report):
    name = this.cpu("model name") or "unknown processor"
    text = f"{name}, {this.cpu_count()} processor{'s' * (this.cpu_count() != 1)}"
    if "lm" not in this.flags():
        report.say(PROBLEM, f"{text}: not an x86-64", "Ballast is built and run on x86-64")
    else:
        report.say(OK, text)


def examine_resources(this, report, disk_mib):
    memory = this.memory_mib()
    if memory < MEMORY_MIB:
        report.say(PROBLEM, f"{memory} MiB of memory are available", f"{MEMORY_MIB} MiB are "
                   "needed: close something, or give the virtual machine more")
    else:
        report.say(OK, f"{memory} MiB of memory are available")
    if disk_mib < DISK_MIB:
        report.say(PROBLEM, f"{disk_mib} MiB are free on this disk", f"{DISK_MIB} MiB are needed "
                   "for the build and the results of runs; old ones lie in out/")
    else:
        report.say(OK, f"{disk_mib} MiB are free on this disk")


def examine_packages(this, report):
    """True when everything is there or make can install it."""
    if not this.is_debian():
        report.say(PROBLEM, "this is not Debian: nothing can be installed here",
                   "install what tools/packages.txt lists by hand, in the versions of Debian 12")
        return False
    missing = [name for name in wanted_packages() if name not in this.installed()]
    if not missing:
        report.say(OK, "all packages are installed")
    elif this.user == 0 or this.which("sudo"):
        report.say(NOTE, f"packages missing: {' '.join(missing)}",
                   "make installs them when it needs them")
    else:
        report.say(PROBLEM, f"packages missing: {' '.join(missing)}",
                   "install them as root: apt-get install " + " ".join(missing))
        return False
    return True


def examine_kvm(this, report):
    obstacle = this.why_not_nested()
    if not obstacle:
        report.say(OK, f"KVM offers nested {this.virtualization()} to its guests")
    else:
        report.say(NOTE, f"no KVM for Ballast: {obstacle.reason}", obstacle.advice)


def examine_machines(this, report, installable):
    """One line a machine; what `make run` takes."""
    for name, what in MACHINE_IS.items():
        problem = machines.why_not(name, this)
        report.say(OK if not problem else NOTE, f"MACHINE={name}: "
                   + (what if not problem else "not now: " + problem))
    chosen, reason = machines.choose("auto", this)
    if chosen:
        report.say(OK, f"make run takes {chosen} ({reason})")
    elif installable:
        report.say(NOTE, "make run takes bochs, once it has installed it")
    else:
        report.say(PROBLEM, "there is no machine to run on", "install bochs or qemu-system-x86")


def examine(this, disk_mib):
    report = Report()
    examine_processor(this, report)
    examine_resources(this, report, disk_mib)
    installable = examine_packages(this, report)
    examine_kvm(this, report)
    examine_machines(this, report, installable)
    return report


def main(arguments):
    parser = argparse.ArgumentParser(description="What this computer can do for Ballast.")
    parser.parse_args(arguments)
    this = computer.Computer()
    report = examine(this, this.disk_mib(os.path.dirname(HERE)))
    print("\n".join(report.lines))
    print(f"\n{report.problems} thing{'s' * (report.problems != 1)} to change first"
          if report.problems else "\nready: make run")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
