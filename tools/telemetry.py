#!/usr/bin/python3
"""Reads and checks telemetry (docs/telemetry.md).

As a command: `telemetry.py FILE` says whether the file follows the schema.

A run that was cut off leaves a file without an end record, perhaps with half a
line at its end; read() copes with both and says so in `problems`.
"""
import json
import os
import re
import sys
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = 4096
HOST_STATES = ("high", "clear", "soft", "hard", "low")
TIERS = ("share", "balloon", "compress", "swap")
VM_STATES = ("running", "halted", "waiting", "ended")

NUMBER, TEXT, FLAG, OBJECT, LIST, NUMBER_OR_NULL, TEXT_OR_NULL = (
    "number", "text", "flag", "object", "list", "number or null", "text or null")

START = {"schema": NUMBER, "version": TEXT, "config_hash": TEXT, "seed": NUMBER_OR_NULL,
         "keys_secret": FLAG, "policy": TEXT, "tiers": LIST, "large_pages": FLAG,
         "swap_read_ahead": NUMBER, "sample_ms": NUMBER, "machine": OBJECT, "vms": LIST}
MACHINE = {"cpu": TEXT, "vendor": TEXT, "virtualization": TEXT, "physical_bits": NUMBER,
           "tsc_hz": NUMBER, "lapic_hz": NUMBER, "memory": NUMBER, "cpus": NUMBER}
START_VM = {"id": NUMBER, "name": TEXT, "memory": NUMBER, "reserve": NUMBER, "limit": NUMBER,
            "vcpus": NUMBER, "shares": NUMBER, "cpu_shares": NUMBER, "group": TEXT, "balloon": FLAG,
            "started": FLAG, "reason": TEXT}
SAMPLE = {"seq": NUMBER, "host": OBJECT, "vms": LIST}
SAMPLE_VM = {"id": NUMBER, "name": TEXT, "state": TEXT, "wait": TEXT, "exits": OBJECT,
             "device": OBJECT, "refused": OBJECT}
END = {"result": TEXT, "reason": TEXT, "audit": OBJECT, "net": OBJECT, "configured": NUMBER,
       "managed": NUMBER, "host": OBJECT, "peak": OBJECT, "samples_skipped": NUMBER,
       "events_skipped": NUMBER, "vms": LIST}
END_VM = {"id": NUMBER, "name": TEXT, "started": FLAG, "reason": TEXT,
          "status": NUMBER_OR_NULL, "exits": OBJECT, "device": OBJECT, "refused": OBJECT}
EVENTS = {
    "state": {"old": TEXT, "new": TEXT},
    "target": {"vm": TEXT, "old": NUMBER, "new": NUMBER},
    "balloon": {"vm": TEXT, "old": TEXT, "new": TEXT},
    "victim": {"vm": TEXT, "above": NUMBER},
    "swap_error": {"vm": TEXT_OR_NULL, "slot": NUMBER, "status": TEXT},
    "tier_off": {"tier": TEXT},
    "vm_start": {"vm": TEXT},
    "vm_end": {"vm": TEXT, "reason": TEXT},
    "device": {"vm": TEXT, "device": TEXT, "reason": TEXT},
}


@dataclass
class Telemetry:
    """A file's records, sorted by kind; problems: lines that break the schema."""
    start: dict = None
    samples: list = field(default_factory=list)
    events: list = field(default_factory=list)
    end: dict = None
    problems: list = field(default_factory=list)

    def vm_names(self):
        """Names of all configured VMs in the file's order."""
        if self.start:
            return [vm["name"] for vm in self.start.get("vms", [])]
        names = []
        for sample in self.samples:
            for vm in sample["vms"]:
                if vm["name"] not in names:
                    names.append(vm["name"])
        return names

    def end_vm(self, name):
        """A VM's part of the end record, or None."""
        vms = self.end["vms"] if self.end else []
        return next((vm for vm in vms if vm["name"] == name), None)

    def host_series(self, name):
        """Values of a host counter in all samples."""
        return [sample["host"].get(name, 0) for sample in self.samples]

    def vm_series(self, vm_name, name):
        """Values of a VM's counter in all samples, 0 before its start."""
        return [next((vm.get(name, 0) for vm in sample["vms"] if vm["name"] == vm_name), 0)
                for sample in self.samples]

    def seconds(self):
        return [sample["t"] / 1e6 for sample in self.samples]


def counter_names(path=os.path.join(ROOT, "mm", "counters.h")):
    """({host counters}, {VM counters}) as mm/counters.h lists them."""
    with open(path, encoding="utf-8") as file:
        host_part, vm_part = file.read().split("#define MM_VM_COUNTERS")
    pattern = re.compile(r"^\s*X\((\w+), [GC],", re.MULTILINE)
    return set(pattern.findall(host_part)), set(pattern.findall(vm_part))


def has_type(value, wanted):
    if isinstance(value, bool):
        return wanted == FLAG
    if value is None:
        return wanted in (NUMBER_OR_NULL, TEXT_OR_NULL)
    if isinstance(value, (int, float)):
        return wanted in (NUMBER, NUMBER_OR_NULL)
    if isinstance(value, str):
        return wanted in (TEXT, TEXT_OR_NULL)
    return wanted == (OBJECT if isinstance(value, dict) else LIST)


class Checker:
    """Judges records one after another; collects what is wrong."""

    def __init__(self):
        self.problems = []
        self.host_names, self.vm_names = counter_names()
        self.last_t = 0
        self.next_seq = 0
        self.line = 0

    def say(self, text):
        self.problems.append(f"line {self.line}: {text}")

    def fields(self, what, record, wanted):
        for name, kind in wanted.items():
            if name not in record:
                self.say(f"{what}: {name} is missing")
            elif not has_type(record[name], kind):
                self.say(f"{what}: {name} is no {kind}")

    def counters(self, what, record, names):
        for name in names & record.keys():
            if not has_type(record[name], NUMBER) or record[name] != int(record[name]):
                self.say(f"{what}: {name} is no whole number")

    def record(self, record):
        kind = record.get("record")
        if not has_type(record.get("t"), NUMBER):
            self.say("t is missing")
        elif record["t"] < self.last_t:
            self.say("time runs backwards")
        else:
            self.last_t = record["t"]
        check = {"start": self.start, "sample": self.sample, "event": self.event,
                 "end": self.end}.get(kind)
        if check is None:
            self.say(f"unknown record {kind!r}")
        else:
            check(record)

    def start(self, record):
        self.fields("start", record, START)
        self.fields("machine", record.get("machine", {}), MACHINE)
        for vm in record.get("vms", []):
            self.fields("vm", vm, START_VM)
        for tier in record.get("tiers", []):
            if tier not in TIERS:
                self.say(f"unknown tier {tier!r}")

    def sample(self, record):
        self.fields("sample", record, SAMPLE)
        if record.get("seq", self.next_seq) != self.next_seq:
            self.say(f"seq is {record['seq']} instead of {self.next_seq}")
        self.next_seq += 1
        host = record.get("host", {})
        if host.get("state") not in HOST_STATES:
            self.say(f"unknown host state {host.get('state')!r}")
        self.counters("host", host, self.host_names)
        for vm in record.get("vms", []):
            self.fields("vm", vm, SAMPLE_VM)
            self.counters("vm", vm, self.vm_names)
            if vm.get("state") not in VM_STATES:
                self.say(f"unknown VM state {vm.get('state')!r}")

    def event(self, record):
        wanted = EVENTS.get(record.get("event"))
        if wanted is None:
            self.say(f"unknown event {record.get('event')!r}")
        else:
            self.fields(record["event"], record, wanted)

    def end(self, record):
        self.fields("end", record, END)
        if record.get("result") not in ("ok", "failed"):
            self.say(f"unknown result {record.get('result')!r}")
        for tier in TIERS:
            if tier not in record.get("net", {}):
                self.say(f"net: {tier} is missing")
        self.counters("host", record.get("host", {}), self.host_names)
        for vm in record.get("vms", []):
            self.fields("vm", vm, END_VM)
            self.counters("vm", vm, self.vm_names)


def read(path):
    """The telemetry in a file; what is wrong with it is in .problems."""
    result, checker = Telemetry(), Checker()
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    cut = lines.pop()
    for number, line in enumerate(lines, 1):
        checker.line = number
        take_line(result, checker, line)
    if cut:
        checker.problems.append(f"line {len(lines) + 1}: cut off")
    if result.end is None:
        checker.problems.append("no end record")
    result.problems = checker.problems
    return result


def take_line(result, checker, line):
    try:
        record = json.loads(line)
    except ValueError:
        checker.say("no JSON")
        return
    if not isinstance(record, dict):
        checker.say("no object")
        return
    kind = record.get("record")
    if (kind == "start") != (checker.line == 1):
        checker.say("the start record is the first, and only the first")
    if result.end is not None:
        checker.say("something after the end record")
    checker.record(record)
    if kind in ("start", "end"):
        setattr(result, kind, record)
    elif kind == "sample" and isinstance(record.get("host"), dict):
        result.samples.append(record)
    elif kind == "event":
        result.events.append(record)


def main(arguments):
    if len(arguments) != 1:
        print("usage: telemetry.py FILE", file=sys.stderr)
        return 2
    data = read(arguments[0])
    for problem in data.problems:
        print(f"{arguments[0]}: {problem}")
    print(f"{len(data.samples)} samples, {len(data.events)} events, "
          f"{len(data.problems)} problems")
    return 1 if data.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
