#!/usr/bin/python3
"""What an exit costs under KVM, beside bench/exits.py: the same guest in the same
emulator, with Debian's kernel as the hypervisor.

    exits_kvm.py [--folder FOLDER] [--limit SECONDS] [intel] [amd]

Bochs (VT-x) or QEMU TCG (AMD-V) runs the small Linux of tests/nested, with the
mitigations its kernel chooses; that merges equal pages (KSM) and sends QEMU's
memory to compressed swap (zram, lz4). Its QEMU runs bench/guest/exits.c.
Appends to kvm.jsonl what bench/exits.py then shows.
"""
import argparse
import json
import os
import re
import sys
from functools import partial

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.join(ROOT, "tests", "nested")]
import linux
import machines
import outer
import runner

BUILD = os.path.join(ROOT, "build")
GUEST = os.path.join(BUILD, "bench", "exits.elf")
GUEST_MIB = 24
SECTOR = 512
# Long enough for two rounds of KSM, and for all pages to go to swap after it.
ARGUMENTS = "share_wait=2000 wait=2500"
UNTIL = "takeback_fault"
TICKS = {"intel": 1, "amd": 2}  # of the time stamp counter, an instruction


def make_payload(folder):
    """The guest as a disk of whole sectors."""
    path = os.path.join(folder, "exits.img")
    with open(GUEST, "rb") as guest, open(path, "wb") as disk:
        content = guest.read()
        disk.write(content.ljust(-(-len(content) // SECTOR) * SECTOR, b"\0"))
    return path, len(content)


def measure(vendor, options):
    """{figure: (instructions, trips)}"""
    folder, lines = os.path.join(options.folder, vendor), []
    payload, size = make_payload(options.folder)
    more = {"settings": f"program={size}\narguments='{ARGUMENTS}'\nuntil={UNTIL}\n"}
    if vendor == "amd":
        more["command_line"] = linux.COMMAND_LINE
    machines.MACHINES["kvm-" + vendor] = partial(
        outer.VENDORS[vendor], os.path.join(options.folder, "linux"), **more)
    runner.run(folder, payload, "kvm-" + vendor, machines.Options(GUEST_MIB), options.limit,
               lines.append)
    figures = {}
    for line in lines:
        found = re.search(r"exits: (\w+) (\d+) of (\d+)", line)
        if found and int(found[3]):
            figures[found[1]] = round(int(found[2]) / TICKS[vendor]), int(found[3])
    if "decompress" not in figures:
        sys.exit(f"exits_kvm: the guest did not come to its end, see {folder}")
    return figures


def main():
    parser = argparse.ArgumentParser(description="Cost of exits under KVM.")
    parser.add_argument("--folder", default=os.path.join(BUILD, "bench", "kvm"))
    parser.add_argument("--limit", type=int, default=1800, help="seconds for each")
    parser.add_argument("vendors", nargs="*", default=list(TICKS), metavar="intel|amd")
    options = parser.parse_args()
    options.folder = os.path.abspath(options.folder)
    os.makedirs(options.folder, exist_ok=True)
    linux.build(os.path.join(options.folder, "linux"), linux.COMMAND_LINE)
    for vendor in options.vendors:
        figures = measure(vendor, options)
        print(f"exit cost under KVM, {vendor}; instructions a round trip, median")
        for name, (ticks, trips) in figures.items():
            print(f"{name:18}{ticks:8}{trips:7}")
        with open(os.path.join(options.folder, "kvm.jsonl"), "a", encoding="ascii") as file:
            file.write(json.dumps({"vendor": vendor, "figures": figures}) + "\n")


if __name__ == "__main__":
    main()
