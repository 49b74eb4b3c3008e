#!/usr/bin/python3
"""Do the tests notice when the memory core is broken?

Applies one small change after the other (tests/mutants.txt) to a copy of the
tree, builds what the change touches and runs the host tests, those most likely
to notice first, until one fails. A change that no test notices has survived; the
table then has to say why. Exit status 0 when at least 95 % of all changes are
noticed and each of the others is explained.

    tests/mutants.py [--only TEXT] [--part FIRST-LAST] [--near] [--jobs N] [--keep]
                     [--result FILE]
    tests/mutants.py --check

--part takes so many of the table, counted from 1: a long run in parts. --near
tries each only with the tests named in it or for its file: what they let through
is for a run without it to judge. --check only asks whether each change of the
table fits the sources as they are; one that does not is an error here and in a
run.

A mutant in the table is

    FILE: what is wrong now
    - the text to be replaced, verbatim, once in FILE (may be several lines)
    + what stands there instead (may be several lines, or none)
    ~ test_NAME: the test to be tried first (optional); memcheck:NAME, with
      MemorySanitizer
    ! why no test can notice (optional: it may survive)

separated by empty lines; lines that begin with # are comments. The copies are
built without sanitizers, which find other faults than these and cost time.
"""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NEEDED = 95 # per cent
# Of the tests, these see the core; the order is the order of trying. A mutant of
# a file named here is first shown to that file's own tests.
TESTS = ["test_balloon", "test_states", "test_pin", "test_faults", "test_share", "test_admission",
         "test_reclaim", "test_swapping", "test_large", "test_clean", "test_edges", "test_random",
         "test_read_ahead", "test_fail_nth"]
FIRST = {"mm/entry.c": ["test_entry"], "mm/frame.c": ["test_frame"],
         "mm/frame_block.c": ["test_frame"], "mm/frame_init.c": ["test_frame"],
         "mm/large.c": ["test_large"], "mm/hash.c": ["test_hash"],
         "mm/pool.c": ["test_pool"], "mm/pool_log.c": ["test_pool"],
         "mm/pool_compact.c": ["test_pool"], "mm/codec.c": ["test_codec"],
         "mm/codec_decode.c": ["test_codec"], "mm/codec_decode_fast.c": ["test_codec"],
         "mm/aead.c": ["test_aead"], "mm/chacha20.c": ["test_aead"], "mm/poly1305.c": ["test_aead"],
         "mm/swap.c": ["test_swap"], "mm/swap_books.c": ["test_swap"],
         "mm/swap_open.c": ["test_swap_open"], "mm/clean.c": ["test_clean"],
         "mm/swap_read.c": ["test_swap", "test_swap_damage"],
         "mm/swap_write.c": ["test_swap", "test_swap_damage"],
         "mm/swap_ahead.c": ["test_read_ahead"], "mm/read_ahead.c": ["test_read_ahead"],
         "mm/large_room.c": ["test_large_room"], "mm/hash_bytes.c": ["test_hash", "test_pool"],
         "mm/balloon.c": ["test_balloon", "test_reclaim"], "mm/floor.c": ["test_faults"],
         "mm/pageout.c": ["test_states", "test_swapping", "test_reclaim"],
         "mm/inflight.c": ["test_edges", "test_swapping"], "mm/wait.c": ["test_faults"],
         "mm/counted.c": ["test_states", "test_share"], "mm/nested.c": ["test_faults"],
         "mm/pin.c": ["test_pin"], "mm/pagein.c": ["test_swapping"], "mm/vm.c": ["test_admission"],
         "mm/share_index.c": ["test_share"], "mm/share.c": ["test_share", "test_collisions"],
         "mm/touch.c": ["test_states", "test_share"], "mm/policy_esx.c": ["test_reclaim"],
         "mm/reclaim.c": ["test_reclaim"], "mm/age.c": ["test_reclaim"]}
FLAGS = "-std=gnu11 -O1 -I. -MMD -MP -w -fno-strict-aliasing"
MSAN = "memcheck:" # memcheck:swap is test_swap with MemorySanitizer
BUILD_SECONDS, TEST_SECONDS = 600, 240
# A working test is stopped when it takes this many times what it took on the tree
# as it is, and that much longer: the mutant then hangs.
PATIENCE, GRACE = 8, 20


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
            elif line.startswith("~ ") and current:
                current["first"] += line[2:].split()
            elif line.startswith("! ") and current:
                current["why"] += line[1:]
            elif ": " in line:
                name, what = line.split(": ", 1)
                current = {"file": name, "what": what, "old": [], "new": [], "first": [],
                           "why": "", "line": number}
                mutants.append(current)
            else:
                sys.exit("%s:%d: not understood" % (path, number))
    return mutants


def mutated(text, mutant):
    """The file with the change, or None when the old text is not there just once.
    Indentation in the table does not matter."""
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


def build(tree, tests):
    memchecked = [t[len(MSAN):] for t in tests if t.startswith(MSAN)]
    if memchecked:
        status, output = run(["make", "-s", "memcheck-parts", "MEMCHECKED=" + " ".join(memchecked)],
                             tree, BUILD_SECONDS)
        if status != 0:
            return status, output
    targets = ["build/tests/" + t for t in tests if not t.startswith(MSAN)]
    return run(["make", "-s", "HOST_FLAGS=" + FLAGS] + targets, tree,
               BUILD_SECONDS) if targets else (0, "")


def program_of(test):
    return "build/msan/tests/test_" + test[len(MSAN):] if test.startswith(MSAN) else \
        "build/tests/" + test


def run_test(tree, test, timeout):
    """(status, output); ends with the first case that fails."""
    environment = dict(os.environ, BALLAST_STEPS="12000", CMOCKA_MESSAGE_OUTPUT="stdout")
    running = subprocess.Popen([program_of(test)], cwd=tree, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    late = []
    clock = threading.Timer(timeout, lambda: (late.append(True), running.kill()))
    clock.start()
    output = b""
    try:
        for line in running.stdout:
            output += line
            if b"[  FAILED  ]" in line:
                running.kill()
        status = running.wait()
    finally:
        clock.cancel()
        running.stdout.close()
    return "time" if late else status, output.decode(errors="replace")


def order_of(mutant, tests, near):
    """Without any test of its own, a mutant has them all."""
    own = mutant["first"] + FIRST.get(mutant["file"], [])
    if near and own:
        return own
    order = []
    for test in own + tests:
        if test not in order:
            order.append(test)
    return order


def judge(mutant, tree, tests, usual, near):
    path = os.path.join(tree, mutant["file"])
    if not os.path.exists(path):
        return "does not apply: no such file"
    with open(path) as file:
        original = file.read()
    changed = mutated(original, mutant)
    if changed is None:
        return "does not apply: line %d" % mutant["line"]
    try:
        with open(path, "w") as file:
            file.write(changed)
        for test in order_of(mutant, tests, near):
            status, output = build(tree, [test])
            if status != 0:
                return "does not build: " + output[-300:]
            limit = min(TEST_SECONDS, GRACE + PATIENCE * usual(test))
            status, output = run_test(tree, test, limit)
            if status != 0:
                return "killed by " + test + (" (no end)" if status == "time" else "")
        return "SURVIVED"
    finally:
        with open(path, "w") as file:
            file.write(original)


def make_tree():
    tree = tempfile.mkdtemp(prefix="ballast-mutants-")
    for name in ["Makefile", "lib", "abi", "mm", "drivers", "hv", "boot", "guest-driver"]:
        source = os.path.join(ROOT, name)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(tree, name))
        elif os.path.exists(source):
            shutil.copy2(source, tree)
    shutil.copytree(os.path.join(ROOT, "tests/host"), os.path.join(tree, "tests/host"))
    return tree


def usual_seconds(tree):
    """A function that says what a test takes in this tree, which nobody changes; it
    has to pass there. Only what is asked for is built and run."""
    known, lock = {}, threading.Lock()

    def usual(test):
        with lock:
            if test not in known:
                status, output = build(tree, [test])
                started = time.monotonic()
                if status == 0:
                    status, output = run_test(tree, test, TEST_SECONDS)
                if status != 0:
                    sys.exit("%s fails without any change:\n%s" % (test, output[-2000:]))
                known[test] = time.monotonic() - started
            return known[test]
    return usual


def check(mutants):
    """Does each change fit the sources, and change them?"""
    bad = 0
    for mutant in mutants:
        path = os.path.join(ROOT, mutant["file"])
        text = open(path).read() if os.path.exists(path) else ""
        changed = mutated(text, mutant)
        if changed is None or changed == text:
            print("tests/mutants.txt:%d: does not apply to %s: %s" %
                  (mutant["line"], mutant["file"], mutant["what"]))
            bad += 1
    print("mutants: %d, %d do not apply" % (len(mutants), bad))
    return 1 if bad else 0


def report(mutants, verdicts, result):
    killed = sum(v.startswith("killed") for v in verdicts)
    survivors = [m for m, v in zip(mutants, verdicts) if v == "SURVIVED"]
    explained = [m for m in survivors if m["why"]]
    other = len(verdicts) - killed - len(survivors)
    score = 100 * killed / max(1, len(verdicts))
    for mutant in survivors:
        print("survivor: %s: %s:%s" % (mutant["file"], mutant["what"],
                                       mutant["why"] or " NOT EXPLAINED"))
    print("mutants: %d, %d killed (%.1f %%), %d survived (%d of them explained), "
          "%d could not be tried" % (len(verdicts), killed, score, len(survivors), len(explained),
                                 other))
    good = score >= NEEDED and len(explained) == len(survivors) and not other
    if result:
        with open(result, "w") as file:
            file.write("%d %d 0\n" % (killed + len(explained), len(verdicts) - killed -
                                      len(explained)))
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants whose file or text contains this")
    parser.add_argument("--part", default="1-9999", help="FIRST-LAST, counted from 1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--near", action="store_true", help="only the tests near the change")
    parser.add_argument("--check", action="store_true", help="only: does each change fit?")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--result")
    arguments = parser.parse_args()
    mutants = [m for m in read_table(os.path.join(ROOT, "tests/mutants.txt"))
               if arguments.only in m["file"] + ": " + m["what"]]
    first, last = map(int, arguments.part.split("-"))
    mutants = mutants[first - 1:last]
    if arguments.check:
        return check(mutants)
    present = {os.path.basename(p)[:-2] for p in glob.glob(os.path.join(ROOT, "tests/host/*.c"))}
    tests = [t for t in TESTS if t in present]
    made = [make_tree()]
    status, output = build(made[0], tests)
    if status != 0:
        sys.exit("the tree itself does not build:\n" + output)
    print("%d mutants" % len(mutants), flush=True)
    trees = Queue()
    for _ in range(min(arguments.jobs, max(1, len(mutants)))):
        made.append(tempfile.mkdtemp(prefix="ballast-mutants-"))
        shutil.copytree(made[0], made[-1], dirs_exist_ok=True)
        trees.put(made[-1])
    usual = usual_seconds(made[0])

    def one(mutant):
        tree, started = trees.get(), time.monotonic()
        try:
            verdict = judge(mutant, tree, tests, usual, arguments.near)
        finally:
            trees.put(tree)
        print("%-22s %-66s %s (%.0f s)" % (mutant["file"], mutant["what"], verdict,
                                           time.monotonic() - started), flush=True)
        return verdict

    try:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            verdicts = list(pool.map(one, mutants))
    finally:
        for tree in [] if arguments.keep else made:
            shutil.rmtree(tree, ignore_errors=True)
    return report(mutants, verdicts, arguments.result)


sys.exit(main())
