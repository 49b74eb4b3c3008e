#!/usr/bin/python3
"""Do the tests notice when the memory core is broken?

Applies one small change after the other (tests/mutants.txt) to a copy of the
tree, builds the host tests and runs them, the quick ones first, until one fails.
A change that no test notices is reported, and the exit status is then 1.

    tests/mutants.py [--only TEXT] [--jobs N] [--keep]

A mutant in the table is

    FILE: what is wrong now
    - the text to be replaced, verbatim, once in FILE (may be several lines)
    + what stands there instead (may be several lines, or none)

separated by empty lines; lines that begin with # are comments.
"""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Of the tests, these see the core; the order is the order of trying. A mutant of
# a file named here is first shown to that file's own tests.
TESTS = ["test_balloon", "test_share", "test_states", "test_faults", "test_pin", "test_reclaim",
         "test_admission", "test_swapping", "test_random"]
FIRST = {"mm/entry.c": ["test_entry"], "mm/frame.c": ["test_frame"], "mm/pool.c": ["test_pool"],
         "mm/pool_compact.c": ["test_pool"], "mm/swap.c": ["test_swap"],
         "mm/swap_read.c": ["test_swap", "test_swap_damage"], "mm/swap_write.c": ["test_swap"],
         "mm/pin.c": ["test_pin"], "mm/pagein.c": ["test_swapping"], "mm/vm.c": ["test_admission"],
         "mm/share_index.c": ["test_share"], "mm/touch.c": ["test_share", "test_states"]}


def read_table(path):
    mutants, current = [], None
    with open(path) as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("#") or not line.strip():
                current = None if not line.strip() else current
            elif line.startswith("- ") and current:
                current["old"].append(line[2:])
            elif line.startswith("+") and current:
                current["new"].append(line[2:])
            elif ": " in line:
                name, what = line.split(": ", 1)
                current = {"file": name, "what": what, "old": [], "new": [], "line": number}
                mutants.append(current)
            else:
                sys.exit("%s:%d: not understood" % (path, number))
    return mutants


def mutated(text, mutant):
    """The file with the change, or None when the old text is not there just once.
    Indentation in the table does not matter; that of the first line is taken over."""
    wanted = [line.strip() for line in mutant["old"]]
    lines = text.split("\n")
    places = [i for i in range(len(lines) - len(wanted) + 1)
              if [line.strip() for line in lines[i:i + len(wanted)]] == wanted]
    if len(places) != 1:
        return None
    at = places[0]
    return "\n".join(lines[:at] + mutant["new"] + lines[at + len(wanted):])


def run(command, directory, timeout, environment=None):
    try:
        done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              env=environment)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired:
        return "time", ""


def judge(mutant, tree, tests):
    path = os.path.join(tree, mutant["file"])
    with open(path) as file:
        original = file.read()
    changed = mutated(original, mutant)
    if changed is None:
        return "does not apply"
    environment = dict(os.environ, BALLAST_STEPS="8000", CMOCKA_MESSAGE_OUTPUT="stdout",
                       ASAN_OPTIONS="detect_leaks=0")
    try:
        with open(path, "w") as file:
            file.write(changed)
        mine = [t for t in FIRST.get(mutant["file"], []) if t not in tests[:1]]
        for test in mine + [t for t in tests if t not in mine]:
            status, output = run(["make", "-s", "build/tests/" + test], tree, 600)
            if status != 0:
                return "does not build: " + output[-300:]
            status, output = run(["build/tests/" + test], tree, 240, environment)
            if status != 0:
                return "killed by " + test + (" (no end)" if status == "time" else "")
        return "SURVIVED"
    finally:
        with open(path, "w") as file:
            file.write(original)


def make_tree(tests):
    tree = tempfile.mkdtemp(prefix="ballast-mutants-")
    for name in ["Makefile", "lib", "abi", "mm", "drivers", "hv", "boot", "guest-driver"]:
        source = os.path.join(ROOT, name)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(tree, name))
        elif os.path.exists(source):
            shutil.copy(source, tree)
    shutil.copytree(os.path.join(ROOT, "tests/host"), os.path.join(tree, "tests/host"))
    if os.path.isdir(os.path.join(ROOT, "build/tests/obj")): # what is built already
        shutil.copytree(os.path.join(ROOT, "build/tests/obj"), os.path.join(tree, "build/tests/obj"))
    status, output = run(["make", "-s"] + ["build/tests/" + t for t in tests], tree, 900)
    if status != 0:
        sys.exit("the tree itself does not build:\n" + output)
    return tree


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants whose file or text contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    mutants = [m for m in read_table(os.path.join(ROOT, "tests/mutants.txt"))
               if arguments.only in m["file"] + ": " + m["what"]]
    present = {os.path.basename(p)[:-2] for p in glob.glob(os.path.join(ROOT, "tests/host/*.c"))}
    tests = [t for t in TESTS if t in present]
    trees = Queue()
    made = []
    for _ in range(min(arguments.jobs, max(1, len(mutants)))):
        made.append(make_tree(tests))
        trees.put(made[-1])

    def one(mutant):
        tree, started = trees.get(), time.monotonic()
        try:
            verdict = judge(mutant, tree, tests)
        finally:
            trees.put(tree)
        print("%-24s %-62s %s (%.0f s)" % (mutant["file"], mutant["what"], verdict,
                                           time.monotonic() - started))
        sys.stdout.flush()
        return verdict

    with ThreadPoolExecutor(arguments.jobs) as pool:
        verdicts = list(pool.map(one, mutants))
    if not arguments.keep:
        for tree in made:
            shutil.rmtree(tree, ignore_errors=True)
    killed = sum(v.startswith("killed") for v in verdicts)
    survived = verdicts.count("SURVIVED")
    print("mutants: %d killed, %d survived, %d not applicable" %
          (killed, survived, len(verdicts) - killed - survived))
    return 0 if killed == len(verdicts) else 1


sys.exit(main())
