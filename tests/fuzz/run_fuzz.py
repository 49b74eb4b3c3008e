#!/usr/bin/python3
"""Runs the fuzzers: a few seconds each (as in make test), or for as long as is asked.

The bounded run begins with the seeds alone and always goes the same way; it ends after
RUNS inputs, or after BOUND seconds on a computer that is slow or busy.

    run_fuzz.py [--seconds N] [--result FILE] [NAME ...]

Skips with the reason where clang is not installed. An input that fails is left in
build/fuzz, and `build/fuzz/fuzz_NAME INPUT` shows it again.
"""
import argparse
import glob
import os
import re
import shutil
import struct
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUZZ = os.path.join(ROOT, "build/fuzz")
BOUND = 6
# Seconds a fuzzer may take beyond its time: one input may, by -timeout.
GRACE = 120
# Inputs each in the bounded run, and the longest of them.
RUNS = {"codec": 30000, "config": 20000, "elf": 50000, "acpi": 20000, "gpt": 2000, "decode": 100000,
        "swap": 3000, "virtio": 2000, "core": 40}
LENGTH = {"codec": 8192, "elf": 4096, "core": 2048, "virtio": 4096, "swap": 513, "decode": 16}
SEEDS = {"config": ["experiments/*.conf"]}


def elf_seed():
    """A small ELF file with what a guest's has: a segment, the PVH note, symbols."""
    header = struct.pack("<4sBBB9x", b"\x7fELF", 2, 1, 1) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0x100000, 64, 512, 0, 64, 56, 2, 64, 3, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 256, 0x100000, 0x100000, 64, 128, 1)
    note = struct.pack("<IIQQQQQQ", 4, 4, 320, 0, 0, 20, 20, 4)
    body = bytes(64) + struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x100000)
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 0x100000, 16)
    names = b"\0_start\0"
    sections = bytes(64)
    for kind, offset, size, link, entry in ((2, 384, 48, 2, 24), (3, 432, len(names), 0, 0)):
        sections += struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, offset, size, link, 1, 8, entry)
    file = (header + load + note).ljust(256, b"\0") + body
    file = (file.ljust(384, b"\0") + symbols + names).ljust(512, b"\0")
    return file + sections


def seeds(name):
    """A directory of first inputs, made when there are any."""
    directory = os.path.join(FUZZ, "seeds", name)
    os.makedirs(directory, exist_ok=True)
    if name == "codec":
        subprocess.run([os.path.join(FUZZ, "make_seeds"), directory], check=True)
    if name == "elf":
        with open(os.path.join(directory, "small"), "wb") as file:
            file.write(elf_seed())
    for pattern in SEEDS.get(name, []):
        for path in glob.glob(os.path.join(ROOT, pattern)):
            shutil.copy(path, directory)
    return directory


def run(name, seconds):
    """(passed, note)."""
    corpus = os.path.join(FUZZ, "corpus", name)
    os.makedirs(corpus, exist_ok=True)
    bound = ["-max_total_time=%d" % (seconds or BOUND)]
    if not seconds:
        bound += ["-runs=%d" % RUNS.get(name, 1000), "-seed=1"]
    # Bounded runs start from the seeds alone, to be the same everywhere.
    inputs = [corpus, seeds(name)] if seconds else [seeds(name)]
    command = [os.path.join(FUZZ, "fuzz_" + name), "-max_len=%d" % LENGTH.get(name, 1024),
               "-timeout=60", "-print_final_stats=1", "-close_fd_mask=1", "-detect_leaks=0"]
    started = time.monotonic()
    try:
        done = subprocess.run(command + bound + inputs, cwd=FUZZ, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=(seconds or BOUND) + GRACE,
                              env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    except subprocess.TimeoutExpired as late:
        print((late.stdout or b"").decode(errors="replace")[-2000:])
        return False, "no end within %d s" % ((seconds or BOUND) + GRACE)
    output = done.stdout.decode(errors="replace")
    executed = re.search(r"number_of_executed_units: (\d+)", output)
    covered = re.findall(r"cov: (\d+)", output)
    note = "%s inputs, %s edges, %.0f s" % (executed.group(1) if executed else "?",
                                            covered[-1] if covered else "?",
                                            time.monotonic() - started)
    if done.returncode != 0:
        print(output[-4000:])
    return done.returncode == 0, note


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--result")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    names = arguments.names or sorted(os.path.basename(p)[5:-2] for p in
                                      glob.glob(os.path.join(ROOT, "tests/fuzz/fuzz_*.c")))
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    built = shutil.which("clang") and subprocess.run(
        ["make", "-s", "--no-print-directory", "-j%d" % os.cpu_count(), "fuzzers",
         "FUZZERS=" + " ".join(names)], cwd=ROOT, check=False).returncode == 0
    for name in names:
        if not shutil.which("clang"):
            verdict, note = "SKIP", "clang not installed"
        elif not built:
            verdict, note = "FAIL", "does not build"
        else:
            good, note = run(name, arguments.seconds)
            verdict = "PASS" if good else "FAIL"
        counts[verdict] += 1
        print("%-4s  fuzz: %s  (%s)" % (verdict, name, note), flush=True)
    print("fuzz: %(PASS)d passed, %(FAIL)d failed, %(SKIP)d skipped" % counts)
    if arguments.result:
        os.makedirs(os.path.dirname(arguments.result), exist_ok=True)
        with open(arguments.result, "w") as file:
            file.write("%(PASS)d %(FAIL)d %(SKIP)d\n" % counts)
    return 1 if counts["FAIL"] else 0


sys.exit(main())
