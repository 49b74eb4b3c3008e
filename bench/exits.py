#!/usr/bin/python3
"""What an exit costs, in instructions from the guest's instruction to its next one.

    exits.py [--machine bochs|tcg] [--cpu MODEL] [--mitigations auto|off] ...

Runs bench/guest/exits.c in the emulator, whose time stamp counter counts
instructions (Bochs: VT-x; QEMU with -icount: AMD-V), once plainly for the
instructions and, for VT-x, once on a hypervisor that counts its VMREADs and
VMWRITEs. Prints a table beside KVM's figures, those that bench/exits_kvm.py measured
where it has been run, and appends to exits.jsonl.
"""
import argparse
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import machines
import runner

BUILD = os.path.join(ROOT, "build")
WORK = os.path.join(BUILD, "bench", "exits")
# kvm-unit-tests' vmexit with KVM as the hypervisor in the same emulators, without
# mitigations: a third of these is the goal (docs/performance.md).
KVM = {"bochs": {"cpuid": 1121, "port_read": 1303, "tsc_adjust_write": 1697},
       "tcg": {"cpuid": 2839, "port_read": 1437, "tsc_adjust_write": 3318}}
KVM_VENDOR = {"bochs": "intel", "tcg": "amd"}
# What of a fault is the page's own work, also done in the guest.
OWN = {"zero_fault": "clear", "cow_fault": "copy", "takeback_fault": None,
       "pool_fault": "decompress"}
# Where pages differ, the difference was taken page by page.
BEYOND = {"pool_fault": "pool_beyond"}
FAULT_GOAL = 1500
KIND = {"cpuid": "cpuid", "port_read": "io", "tsc_adjust_write": "msr_write",
        "zero_fault": "nested_fault", "cow_fault": "nested_fault",
        "takeback_fault": "nested_fault", "pool_fault": "nested_fault"}
CONFIG = """\
[host]
memory = 30M
tiers = share compress swap
seed = 1
duration = 300s
share_pages = 32
large_pages = off
mitigations = {mitigations}

[vm exits]
memory = 20M
shares = 10
image = {exits}
cmdline = wait=2000

[vm pressure]
memory = 32M
shares = 100000
image = {exits}
cmdline = pages=5600 wait=600
"""


def prepare(arguments, hypervisor, name):
    """(folder, image) for a run of that hypervisor."""
    folder = os.path.join(WORK, name)
    os.makedirs(folder, exist_ok=True)
    config, image = os.path.join(folder, "exits.conf"), os.path.join(folder, "exits.img")
    with open(config, "w", encoding="ascii") as file:
        file.write(CONFIG.format(mitigations=arguments.mitigations,
                                 exits=os.path.join(BUILD, "bench", "exits.elf")))
    subprocess.run([sys.executable, os.path.join(ROOT, "tools", "mkimage.py"), "--config", config,
                    "--out", image, "--hypervisor", hypervisor], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    return folder, image


def measure(arguments, hypervisor, name):
    """{figure: (instructions, trips)} and {kind: (reads, writes)}."""
    folder, image = prepare(arguments, hypervisor, name)
    options = machines.Options(256, arguments.cpu)
    ticks = machines.tcg_tick_ns(options) if arguments.machine == "tcg" else 1
    lines = []
    outcome = runner.run(os.path.join(folder, "run"), image, arguments.machine, options,
                         arguments.limit, lines.append)
    if not outcome.ok:
        sys.exit(f"exits: the run ended with {outcome.last_line!r}, see {folder}")
    figures, fields = {}, {}
    for line in lines:
        found = re.search(r"exits: (\w+) (\d+) of (\d+)", line)
        if found:
            figures[found[1]] = round(int(found[2]) / ticks), int(found[3])
        found = re.search(r"vmcs: (\w+) reads (\d+) writes (\d+) of (\d+)", line)
        if found and found[1] not in fields: # the first VM to end is not asked twice
            fields[found[1]] = (int(found[2]) / int(found[4]), int(found[3]) / int(found[4]))
    return figures, fields


def measured_on_kvm(machine):
    """{figure: instructions}, the latest; empty when there is none."""
    path, vendor = os.path.join(BUILD, "bench", "kvm", "kvm.jsonl"), KVM_VENDOR[machine]
    figures = {}
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            for record in map(json.loads, file):
                if record["vendor"] == vendor:
                    figures = {name: ticks for name, (ticks, _) in record["figures"].items()}
    return figures


def goal(machine, name):
    """Instructions beyond the page's own work: a third of KVM's, or what faults may take."""
    kvm = KVM[machine].get(name)
    return kvm // 3 if kvm else FAULT_GOAL


def rows(arguments, figures, fields):
    peer = measured_on_kvm(arguments.machine)
    for name, (ticks, trips) in figures.items():
        if name in OWN.values() or name in BEYOND.values():
            continue
        own = figures.get(OWN.get(name), (0, 0))[0]
        beyond = figures.get(BEYOND.get(name), (ticks - own, 0))[0]
        most = goal(arguments.machine, name)
        kvm = peer[name] - own if name in peer else KVM[arguments.machine].get(name)
        yield {"figure": name, "instructions": ticks, "trips": trips, "own": own,
               "beyond": beyond, "kvm": kvm, "goal": most,
               "met": trips > 0 and beyond <= most,
               "vmreads": fields.get(KIND.get(name), (None, None))[0],
               "vmwrites": fields.get(KIND.get(name), (None, None))[1]}


def show(arguments, table):
    print(f"exit cost, {arguments.machine}"
          f"{' ' + arguments.cpu if arguments.machine == 'bochs' else ''}, "
          f"mitigations = {arguments.mitigations}; instructions a round trip, median")
    print(f"{'':18}{'all':>8}{'own':>8}{'beyond':>8}{'goal':>8}{'KVM':>8}{'reads':>7}"
          f"{'writes':>7}{'trips':>7}")
    for row in table:
        optional = [f"{row[key]:.1f}" if row[key] is not None else "-"
                    for key in ("vmreads", "vmwrites")]
        print(f"{row['figure']:18}{row['instructions']:8}{row['own']:8}{row['beyond']:8}"
              f"{row['goal']:8}{row['kvm'] or '-':>8}{optional[0]:>7}{optional[1]:>7}"
              f"{row['trips']:7}{'' if row['met'] else '  missed'}")


def main():
    parser = argparse.ArgumentParser(description="Cost of exits.")
    parser.add_argument("--machine", default="bochs", choices=sorted(KVM))
    parser.add_argument("--cpu", default="corei7_skylake_x", help="Bochs model")
    parser.add_argument("--mitigations", default="auto", choices=("auto", "off"))
    parser.add_argument("--limit", type=int, default=900)
    arguments = parser.parse_args()
    figures, fields = measure(arguments, os.path.join(BUILD, "release", "ballast.elf"), "plain")
    counting = os.path.join(BUILD, "count", "ballast.elf")
    if arguments.machine == "bochs" and os.path.exists(counting):
        fields = measure(arguments, counting, "count")[1]
    table = list(rows(arguments, figures, fields))
    show(arguments, table)
    with open(os.path.join(WORK, "exits.jsonl"), "a", encoding="ascii") as file:
        for row in table:
            file.write(json.dumps({"machine": arguments.machine, "cpu": arguments.cpu,
                                   "mitigations": arguments.mitigations, **row}) + "\n")


if __name__ == "__main__":
    main()
