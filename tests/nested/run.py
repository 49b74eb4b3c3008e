#!/usr/bin/python3
"""Ballast under nested QEMU/KVM, without hardware for it: an emulator with
VT-x (Bochs) or AMD-V (QEMU TCG) runs a small Linux with KVM, which runs the
image in QEMU.

    run.py [--config FILE] [--limit SECONDS] [--folder FOLDER] [intel] [amd]

Prints one line a vendor, with the features the hypervisor found and what it
does instead of those it missed; --result FILE gets PASSED FAILED SKIPPED.
"""
import argparse
import os
import subprocess
import sys
from functools import partial

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tools"), os.path.join(ROOT, "tests", "boot")]
import linux
import machines
import outer
import runner
import telemetry

GRACE_SECONDS = 180   # for the Linux in the middle to leave the telemetry and stop
# QEMU 7.2 fails this assertion of its own now and then when it emulates AMD-V.
QEMU_DEFECT = b"tcg_handle_interrupt: assertion failed"
TRIES = 3

# Features a processor may lack, by the names in the start record, and what the
# hypervisor does then.
FALLBACKS = {
    "VT-x": {
        "preemption timer": "the host's timer interrupt bounds a stay in a guest",
        "VPID": "every entry and exit flushes",
        "RDTSCP": "hidden from guests",
        "INVPCID": "hidden from guests",
        "WBINVD exiting": "the guest executes it",
        "MWAIT exiting": "hidden from guests",
        "MONITOR exiting": "hidden from guests",
        "RDPMC exiting": "the guest executes it",
        "EPT A/D bits": "ages and writes are seen by narrowed mappings",
        "EPT 2 MiB pages": "guest memory is mapped by 4 KiB pages",
        "EPT 1 GiB pages": "not needed",
    },
    "AMD-V": {
        "next RIP": "the length of an instruction comes from decoding it",
        "decode assists": "instructions are fetched from guest memory and decoded",
        "flush by ASID": "a flush takes a fresh ASID, or flushes all",
    },
}
FEATURE_XSAVE = 1 << 26  # of CPUID leaf 1, ECX


def fetch_telemetry(folder):
    """From the exchange disk into telemetry.jsonl."""
    with open(os.path.join(folder, "exchange.img"), "rb") as disk:
        disk.seek(outer.MIB - 512)
        size = int(disk.read(512).strip(b"\0\n") or b"0")
        disk.seek(outer.MIB)
        content = disk.read(size)
    with open(os.path.join(folder, "telemetry.jsonl"), "wb") as file:
        file.write(content)
    runner.drop_firmware_text(os.path.join(folder, "telemetry.jsonl"))


def emulator_failed(folder):
    with open(os.path.join(folder, "machine.out"), "rb") as file:
        return QEMU_DEFECT in file.read()


def judge(folder, outcome):
    """[what is wrong], and the telemetry."""
    fetch_telemetry(folder)
    data = telemetry.read(os.path.join(folder, "telemetry.jsonl"))
    problems = list(data.problems[:3])
    if not outcome.ok:
        problems.append(f"last line of the console: {outcome.last_line!r}"
                        + (", time limit reached" if outcome.timed_out else ""))
    if not data.end:
        return problems + ["no end record"], data
    if data.end["audit"]["violations"]:
        problems.append(f"audit: {data.end['audit']}")
    for vm in data.end["vms"]:
        if vm["status"] != 0 or vm.get("mismatched", 0) or not vm.get("checked", 0):
            problems.append(f"{vm['name']}: {vm['reason']}, {vm.get('checked', 0)} pages checked, "
                            f"{vm.get('mismatched', 0)} differ")
    problems += [f"{tier} freed nothing, net"
                 for tier, count in data.end["net"].items() if count <= 0]
    return problems, data


def describe(data):
    """What the hypervisor found there and what it did without, in words."""
    lines = []
    if data.start:
        machine = data.start["machine"]
        features = machine["features"]
        lines.append(f"{machine['virtualization']}, {machine['cpu']}: {', '.join(features)}")
        lines += [f"no {name}: {instead}"
                  for name, instead in FALLBACKS[machine["virtualization"]].items()
                  if name not in features]
        if not machine["features_1_ecx"] & FEATURE_XSAVE:
            lines.append("no XSAVE: registers are saved by FXSAVE, guests have no AVX")
    if data.end:
        lines.append("pages checked: " + ", ".join(
            f"{vm['name']} {vm.get('checked', 0)}" for vm in data.end["vms"]))
        lines.append("frames freed, net: " + ", ".join(
            f"{tier} {count}" for tier, count in data.end["net"].items()))
    return lines


def show(line):
    print(f"      | {line}", flush=True)


def run_vendor(vendor, image, options):
    """(seconds, [what is wrong], telemetry)."""
    folder = os.path.join(options.folder, vendor)
    machines.MACHINES["nested-" + vendor] = partial(outer.VENDORS[vendor],
                                                    os.path.join(options.folder, "linux"))
    for _ in range(TRIES):
        outcome = runner.run(folder, image, "nested-" + vendor,
                             machines.Options(options.memory), options.limit, show,
                             grace_seconds=GRACE_SECONDS)
        if outcome.interrupted:
            sys.exit("nested: interrupted")
        if not emulator_failed(folder):
            break
        print("      the emulator failed an assertion of its own; once more", flush=True)
    return (outcome.seconds, *judge(folder, outcome))


def make_image(options):
    image = os.path.join(options.folder, "ballast.img")
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "mkimage.py"), "--config",
                           options.config, "--out", image], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    if done.returncode:
        sys.exit(f"mkimage: {done.stderr.strip()}")
    return image


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="Ballast under nested KVM.")
    parser.add_argument("--config", default=os.path.join(HERE, "nested.conf"))
    parser.add_argument("--folder", default=os.path.join(ROOT, "build", "nested"))
    parser.add_argument("--limit", type=int, default=3600, help="seconds for each vendor")
    parser.add_argument("--memory", type=int, default=192, help="MiB of the inner machine")
    parser.add_argument("--result")
    parser.add_argument("vendors", nargs="*", default=list(outer.VENDORS), metavar="intel|amd")
    options = parser.parse_args(arguments)
    for vendor in options.vendors:
        if vendor not in outer.VENDORS:
            parser.error(f"{vendor}: there are {', '.join(outer.VENDORS)}")
    return options


def main(arguments):
    options = parse_arguments(arguments)
    options.folder = os.path.abspath(options.folder)
    os.makedirs(options.folder, exist_ok=True)
    linux.build(os.path.join(options.folder, "linux"))
    image, failed = make_image(options), 0
    for vendor in options.vendors:
        seconds, problems, data = run_vendor(vendor, image, options)
        failed += bool(problems)
        print(f"{'FAIL' if problems else 'PASS'}  nested: {vendor}  ({seconds:.0f} s)", flush=True)
        for line in problems + describe(data):
            print(f"      {line}", flush=True)
    if options.result:
        with open(options.result, "w", encoding="ascii") as file:
            file.write(f"{len(options.vendors) - failed} {failed} 0\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
