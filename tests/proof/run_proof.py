#!/usr/bin/python3
"""Proofs: Frama-C WP of the plain decoder (P9) and of the encoder of away entries
(P15), and Spin's search through the model of the page states (P1, P2, P3, P5),
clean and with each planted fault.

    run_proof.py [--quick] [--result FILE]

Without Frama-C, its provers or Spin the parts that need them are skipped, with
the reason. --quick leaves out the large instance of the model.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "tests/proof/pages.pml")
PACKAGES = {"frama-c": "frama-c-base", "why3": "why3", "z3": "z3", "spin": "spin", "gcc": "gcc"}
# What is proved: name, file, options.
GOALS = [
    ("P9: the plain decoder stays inside its buffers and ends", "mm/codec_decode.c",
     ["-wp-fct", "read_length,copy_literals,copy_match,codec_decompress_plain"]),
    ("P15: no away entry is an address of memory", "mm/entry.c", ["-wp-fct", "away_bits"]),
]
WP = ["frama-c", "-c11", "-machdep", "gcc_x86_64", "-cpp-extra-args=-I.", "-wp", "-wp-rte",
      "-warn-unsigned-overflow", "-wp-prover", "z3", "-wp-timeout", "120", "-wp-par", "2"]
# Instances of the model: name, defines, only at length.
INSTANCES = [("one page, both CPUs write", ["ONE_PAGE"], False),
             ("two pages, one CPU reads, one writes", ["READER"], True)]
SEARCH_SECONDS = 1800
counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}


def say(verdict, what, note=""):
    counts[verdict] += 1
    print("%-4s  proof: %s%s" % (verdict, what, "  (%s)" % note if note else ""), flush=True)


def missing(*tools):
    """The packages that are not there."""
    return ["%s not installed" % PACKAGES[t] for t in tools if not shutil.which(t)]


def run(command, directory, seconds):
    try:
        done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return "no end within %d s" % seconds, (late.stdout or b"").decode(errors="replace")


def prove(why3_configuration):
    for what, path, options in GOALS:
        lacking = missing("frama-c", "why3", "z3")
        if lacking:
            say("SKIP", what, ", ".join(lacking))
            continue
        started = time.monotonic()
        status, output = run(["env", "WHY3CONFIG=" + why3_configuration] + WP + [path] + options,
                             ROOT, 900)
        found = re.search(r"Proved goals:\s*(\d+) / (\d+)", output)
        good = status == 0 and found and found.group(1) == found.group(2)
        if not good:
            print(output)
        say("PASS" if good else "FAIL", what,
            "%s of %s goals, %.0f s" % (found.group(1), found.group(2), time.monotonic() - started)
            if found else "status %s" % status)


def search(directory, defines, seconds):
    """(errors, states, note) of a search, None for errors when it did not end."""
    status, output = run(["spin", "-a"] + ["-D" + d for d in defines] + [MODEL], directory, 60)
    if status == 0:
        status, output = run(["gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=4000",
                              "pan.c", "-o", "pan"], directory, 120)
    if status != 0:
        return None, 0, output[-500:]
    status, output = run(["./pan", "-m5000000"], directory, seconds)
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    whole = errors and "Search not completed" not in output and "too small" not in output
    if not errors or (errors.group(1) == "0" and not whole):
        return None, 0, "the search did not end: %s" % status
    first = re.search(r"pan:1: (.*) \(at depth", output)
    return int(errors.group(1)), int(states.group(1)), first.group(1) if first else ""


def check_model(quick):
    lacking = missing("spin", "gcc")
    if lacking:
        say("SKIP", "model of the page states", ", ".join(lacking))
        return
    with open(MODEL) as file:
        bugs = sorted(set(re.findall(r"^#ifn?def (BUG_\w+)", file.read(), re.M)))
    with tempfile.TemporaryDirectory(prefix="ballast-proof-") as directory:
        for name, defines, long in INSTANCES:
            if long and quick:
                continue
            errors, states, note = search(directory, defines, SEARCH_SECONDS)
            say("PASS" if errors == 0 else "FAIL", "page states, " + name,
                note or "%d states, no violation" % states)
        for bug in bugs:
            # In an instance that is clean without it.
            for instance in ["ONE_PAGE", "READER"]:
                errors, states, note = search(directory, [bug, instance], 120)
                if errors:
                    break
            say("PASS" if errors else "FAIL", "page states, planted " + bug,
                ("found after %d states: %s" % (states, note)) if errors else "not found: " + note)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--result")
    arguments = parser.parse_args()
    configuration = os.path.join(tempfile.mkdtemp(prefix="ballast-why3-"), "why3.conf")
    if shutil.which("why3"):
        run(["why3", "-C", configuration, "config", "detect"], ROOT, 120)
    prove(configuration)
    check_model(arguments.quick)
    print("proof: %(PASS)d passed, %(FAIL)d failed, %(SKIP)d skipped" % counts)
    if arguments.result:
        os.makedirs(os.path.dirname(arguments.result) or ".", exist_ok=True)
        with open(arguments.result, "w") as file:
            file.write("%(PASS)d %(FAIL)d %(SKIP)d\n" % counts)
    return 1 if counts["FAIL"] else 0


sys.exit(main())
