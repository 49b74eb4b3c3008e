#!/usr/bin/python3
"""What the host tests reach of mm/: every branch both ways, and MC/DC.

    tests/coverage.py [--no-run | --add NAME ...] [--result FILE]

Builds the host tests with clang-19's coverage into build/coverage, runs them, and prints
a table: a line for each file of mm/, with functions entered, outcomes of branches seen
(both of each condition) and conditions of compound decisions that were shown to decide
alone (MC/DC; a decision of one condition is its branch).

`--add test_share` builds and runs that program alone and adds what it reaches to the last
run; it is for writing a test, and only while nothing in mm/ changes.

What is open has to be listed in tests/coverage.txt under the reason why no test gets there;
exit status 0 only when it is. Races of real threads make some conditions come and go, so
what is listed and closed is told, and no failure. Left out are the conditions of assert(),
ensure() and panic(): the tests are to find none that fails. In the list, a line that begins
with `= ` is a reason; it holds for the entries that follow, up to the next one:

    FILE: FUNCTION: CONDITION: OUTCOMES
    FILE: FUNCTION: CONDITION: OUTCOMES: what is special about this one

with the condition as it stands in the source, or `entered`, and the outcomes that were not seen, of
`true`, `false` and `alone` (not shown to decide alone), separated by `+`.
"""
import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = "build/coverage"
PYTHON = "/usr/bin/python3"
LIST = "tests/coverage.txt"
FLAGS = ("-std=gnu11 -O1 -g -I. -MMD -MP -fno-strict-aliasing -Wno-everything "
         "-fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc -fprofile-update=atomic")
# The first runs the example programs, which are not built for this; the others know
# nothing of mm/.
WITHOUT = {"test_library", "test_acpi", "test_ahci", "test_balloon_driver", "test_config",
           "test_control", "test_decode", "test_elf", "test_fmt", "test_gpt", "test_guest_parts",
           "test_ide", "test_ide_registers", "test_mitigations", "test_nvme", "test_screen",
           "test_virtio", "test_virtio_blk"}
# Whatever walks nested tables, once more in the other format.
FORMATS = ("random", "faults", "states", "share", "pin", "balloon", "large")
CHECKS = re.compile(r"\b(?:assert|ensure|static_assert)\s*\(")


def build(programs):
    command = ["make", "-s", "--no-print-directory", "-j%d" % os.cpu_count(), "BUILD=" + BUILD,
               "CC=clang-19", "TSAN_CC=clang-19", "HOST_FLAGS=" + FLAGS, "TSAN_FLAGS=" + FLAGS]
    subprocess.run(command + programs, cwd=ROOT, check=True)


def run(programs, formats, add):
    """Every program, and those of the other table format; leaves one profile."""
    profiles = os.path.join(ROOT, BUILD, "profiles")
    whole = os.path.join(ROOT, BUILD, "profile")
    shutil.rmtree(profiles, ignore_errors=True)
    environment = dict(os.environ, LLVM_PROFILE_FILE=os.path.join(profiles, "%p.profraw"))
    done = subprocess.run([PYTHON, "tests/host/run.py", "--timeout", "1200"] + programs + formats,
                          cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        sys.exit("coverage: the tests fail")
    inputs = glob.glob(profiles + "/*.profraw") + ([whole] if add else [])
    subprocess.run(["llvm-profdata-19", "merge", "-o", whole + ".new"] + inputs, check=True)
    os.replace(whole + ".new", whole)


def export(programs):
    """{file below mm/: its record, {(first line, last line, name): entered}}."""
    objects = [argument for program in programs[1:] for argument in ("-object", program)]
    done = subprocess.run(["llvm-cov-19", "export", "-instr-profile", BUILD + "/profile",
                           programs[0]] + objects + ["-sources", "mm/"],
                          cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    data = json.loads(done.stdout)["data"][0]
    files = {}
    for record in data["files"]:
        name = os.path.relpath(record["filename"], ROOT)
        if name.startswith("mm/"):
            files[name] = (record, {})
    for function in data["functions"]:
        name = os.path.relpath(function["filenames"][0], ROOT)
        if name in files:
            body = function["regions"][0]
            place = body[0], body[2], function["name"].split(":")[-1]
            entered = files[name][1]
            entered[place] = entered.get(place, False) or function["count"] > 0
    return files


class Source:
    """The text of a file, by the line and column llvm-cov gives, and its checks."""

    def __init__(self, path):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            self.text = file.read()
        self.starts = [0]
        for line in self.text.split("\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.checks = [(match.start(), self.closing(match.end()))
                       for match in CHECKS.finditer(self.text)]

    def closing(self, at):
        depth = 1
        while depth and at < len(self.text):
            depth += {"(": 1, ")": -1}.get(self.text[at], 0)
            at += 1
        return at

    def place(self, line, column):
        return self.starts[line - 1] + column - 1

    def is_check(self, line, column):
        at = self.place(line, column)
        return any(first <= at < last for first, last in self.checks)

    def words(self, first_line, first_column, last_line, last_column):
        text = self.text[self.place(first_line, first_column):self.place(last_line, last_column)]
        return " ".join(text.split())


def outcomes_of(record, source):
    """{(where, condition): [seen true, seen false]} of a file."""
    found = {}
    for entry in record["branches"]:
        where, true, false = tuple(entry[:4]), entry[4], entry[5]
        if source.is_check(*where[:2]):
            continue
        seen = found.setdefault(where, [0, 0])
        seen[0] += true
        seen[1] += false
    return found


def decisions_of(record, source):
    """{where: [decided alone, for each condition]} of a file."""
    found = {}
    for entry in record["mcdc_records"]:
        where, alone = tuple(entry[:4]), entry[-1]
        if source.is_check(*where[:2]):
            continue
        before = found.get(where, [False] * len(alone))
        found[where] = [a or b for a, b in zip(before, alone)]
    return found


def conditions_in(where, outcomes):
    """The conditions of a decision, in the order of the source: the innermost ones."""
    first, last = where[:2], where[2:]
    inside = [w for w in outcomes if w[:2] >= first and w[2:] <= last]
    return sorted(w for w in inside
                  if not any(o != w and o[:2] >= w[:2] and o[2:] <= w[2:] for o in inside))


def function_at(functions, line):
    return next((name for first, last, name in functions if first <= line <= last), "-")


def examine(name, record, names):
    """(row of the table, {(function, condition): {outcome: line}} of what is open)."""
    source = Source(name)
    outcomes, decisions = outcomes_of(record, source), decisions_of(record, source)
    opened = {}

    def leave_open(where, outcome):
        key = function_at(names, where[0]), source.words(*where)
        opened.setdefault(key, {}).setdefault(outcome, where[0])

    for (line, _, function), entered in names.items():
        if not entered:
            opened[function, "entered"] = {"true": line}
    for where, (true, false) in outcomes.items():
        if not true:
            leave_open(where, "true")
        if not false:
            leave_open(where, "false")
    alone = total = 0
    for where, shown in decisions.items():
        conditions = conditions_in(where, outcomes)
        total += len(shown)
        alone += sum(shown)
        for i, decided in enumerate(shown):
            place = conditions[i] if len(conditions) == len(shown) else where
            if not decided and all(outcomes.get(place, (1, 1))):
                leave_open(place, "alone")
    functions = record["summary"]["functions"]
    seen = sum((a > 0) + (b > 0) for a, b in outcomes.values())
    return ([functions["covered"], functions["count"], seen, 2 * len(outcomes), alone, total],
            opened)


def read_list():
    """{(file, function, condition): (set of outcomes, line)}."""
    listed, reason = {}, None
    with open(os.path.join(ROOT, LIST), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("= "):
                reason = line
                continue
            match = re.fullmatch(r"(\S+): (\S+): (.*?): "
                                 r"((?:true|false|alone)(?:\+(?:true|false|alone))*)(?:: .*)?\n?", line)
            if not match or not reason or match.groups()[:3] in listed:
                sys.exit("%s:%d: not understood, or there twice" % (LIST, number))
            listed[match.groups()[:3]] = (set(match[4].split("+")), number)
    return listed


def compare(opened, listed):
    """Prints what is open and not explained, and explained and not open; how many."""
    wrong = 0
    for key, outcomes in sorted(opened.items()):
        missing = set(outcomes) - listed.get(key, (set(), 0))[0]
        if missing:
            print("open: %s:%d: %s" % (key[0], min(outcomes[o] for o in missing),
                                       ": ".join(key[1:] + ("+".join(sorted(missing)),))))
            wrong += 1
    for key, (outcomes, number) in sorted(listed.items()):
        extra = outcomes - set(opened.get(key, {}))
        if extra:
            print("%s:%d: closed, or not there: %s" %
                  (LIST, number, ": ".join(key + ("+".join(sorted(extra)),))))
    return wrong


def share(part, whole):
    return "%5d /%5d %6s" % (part, whole, "%.1f %%" % (100 * part / whole) if whole else "-")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-run", action="store_true", help="look at the last run again")
    parser.add_argument("--add", nargs="+", metavar="NAME", help="run these beside the last run")
    parser.add_argument("--result")
    arguments = parser.parse_args()
    names = {os.path.basename(path)[:-2] for path in glob.glob(ROOT + "/tests/host/test_*.c")}
    programs = ["%s/tests/%s" % (BUILD, name) for name in sorted(names - WITHOUT)]
    formats = ["npt:%s/tests/test_%s" % (BUILD, name) for name in FORMATS]
    if arguments.no_run: # those that were there then
        programs = [path for path in programs if os.path.exists(os.path.join(ROOT, path))]
    elif arguments.add:
        some = ["%s/tests/%s" % (BUILD, name) for name in arguments.add]
        build(some)
        run(some, [], True)
    else:
        build(programs)
        run(programs, formats, False)
    totals, opened = [0] * 6, {}
    line = "%-28s %-20s %-20s %-20s"
    print(line % ("file", "functions", "outcomes of branches", "MC/DC conditions"))
    for name, (record, names) in sorted(export(programs).items()):
        row, gaps = examine(name, record, names)
        totals = [a + b for a, b in zip(totals, row)]
        opened.update({(name,) + key: outcomes for key, outcomes in gaps.items()})
        print(line % (name, share(*row[:2]), share(*row[2:4]), share(*row[4:])))
    print(line % ("all", share(*totals[:2]), share(*totals[2:4]), share(*totals[4:])))
    wrong = compare(opened, read_list())
    print("coverage: %d conditions open and listed in %s, %d to be looked at" %
          (len(opened) - wrong if wrong < len(opened) else 0, LIST, wrong))
    if arguments.result:
        with open(arguments.result, "w", encoding="ascii") as file:
            file.write("%d %d 0\n" % (0 if wrong else 1, wrong))
    return 1 if wrong else 0


sys.exit(main())
