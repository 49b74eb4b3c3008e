"""What the boot tests are made of: a case, its runs in Bochs (VT-x) and in QEMU
without KVM (AMD-V), and the questions one can ask of what a run left.

A check is a function of a Run that returns "" or one line saying what is wrong.
Nothing here looks at the time: a case has a limit only to end a run that hangs.
"""
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import elfpatch
import gpt
import machines
import mkswap
import runner
import swapformat
import telemetry

BUILD = os.path.join(ROOT, "build")
WORK = os.path.join(BUILD, "tests", "boot")
GUEST = os.path.join(BUILD, "guest.elf")
PAGES_PER_MIB = 256
DEFAULT_CPU = "corei7_skylake_x"
MACHINES = ("bochs", "tcg")  # VT-x, AMD-V
TRIES = 2  # of a run in which the emulator itself failed


@dataclass
class Case:
    """One image, a run on each vendor's machine, and what must be true of it."""
    name: str
    config: str                      # text of the configuration
    checks: list                     # functions of a Run
    result: str = "ok"               # regular expression for what follows `result `
    image: list = field(default_factory=list)  # more options of mkimage.py
    cpu: str = DEFAULT_CPU           # another one: in Bochs only
    differs: dict = field(default_factory=dict)  # machine: (text, text instead) in config
    memory: int = 256                # MiB of the machine
    cpus: int = 1
    limit: int = 600                 # seconds before it counts as hanging
    telemetry: bool = True           # whether the hypervisor comes so far
    repeat: bool = False             # run twice in Bochs, telemetry must be the same bytes
    mismatches: bool = False         # whether a guest may find pages that differ
    alike: tuple | None = None       # VMs that end alike on both vendors; None: all
    planted: tuple = ()              # (function, machine code put over its beginning)
    disk: str = ""                   # kind of disk, of machines.DISKS: in QEMU only
    faults: tuple = ()               # of that disk, Fault
    iops: int = 0                    # requests a second it serves; 0: any

    @property
    def machines(self):
        if self.disk:
            return ("tcg",)
        return MACHINES if self.cpu == DEFAULT_CPU else ("bochs",)


@dataclass
class Fault:
    """Requests that touch a cell of the swap area fail (blkdebug)."""
    operation: str                   # read, write
    cell: int
    errno: int
    times: int = 0                   # then no more; 0: always


@dataclass
class Run:
    """What a run left."""
    case: Case
    folder: str
    image: str
    machine: str
    outcome: runner.Outcome
    data: telemetry.Telemetry
    console: list

    def path(self, name):
        return os.path.join(self.folder, name)

    def vm(self, name):
        """The VM's part of the end record."""
        found = self.data.end_vm(name)
        if found is None:
            raise LookupError(f"the end record has no VM {name}")
        return found


# ---- configurations -------------------------------------------------------

def host(memory="64M", tiers="share balloon compress swap", **more):
    """The [host] section."""
    values = {"memory": memory, "tiers": tiers, "seed": 1, "duration": "400s",
              "sample": "500ms", **more}
    return "[host]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def vm(name, cmdline="", memory="32M", image=GUEST, **more):
    """A [vm] section."""
    lines = [f"\n[vm {name}]", f"memory = {memory}", f"image = {image}"]
    if cmdline:
        lines.append(f"cmdline = {cmdline}")
    lines += [f"{key} = {value}" for key, value in more.items()]
    return "\n".join(lines) + "\n"


# ---- running --------------------------------------------------------------

class CaseFailed(Exception):
    """One line that says what is wrong."""


def plant(folder, function, code):
    """A hypervisor whose function is broken on purpose."""
    path = os.path.join(folder, "planted.elf")
    with open(os.path.join(BUILD, "ballast.elf"), "rb") as file:
        content = elfpatch.patched(file.read(), function, code)
    with open(path, "wb") as file:
        file.write(content)
    return path


def make_image(case, folder, machine):
    """An image for that machine: the same for all where the configuration is."""
    kind = machine if machine in case.differs else "test"
    config, image = os.path.join(folder, kind + ".conf"), os.path.join(folder, kind + ".img")
    if os.path.exists(image):
        return image
    with open(config, "w", encoding="ascii") as file:
        file.write(case.config.replace(*case.differs.get(machine, ("", ""))))
    more = list(case.image)
    if case.planted:
        more += ["--hypervisor", plant(folder, *case.planted)]
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "mkimage.py"), "--config",
                           config, "--out", image, *more], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise CaseFailed(f"mkimage: {done.stderr.strip()}")
    return image


def fault_rules(faults, image):
    """What blkdebug reads. A rule that holds once is used up; the next one is of use
    then."""
    if not faults:
        return ""
    first = gpt.find_partition(image, gpt.TYPE_SWAP).offset // swapformat.SECTOR
    return "".join(
        f'[inject-error]\nevent = "{one.operation}_aio"\niotype = "{one.operation}"\n'
        f'errno = "{one.errno}"\nonce = "{"on" if one.times else "off"}"\n'
        f'sector = "{first + mkswap.DATA_SECTOR + one.cell * mkswap.CELL_SECTORS}"\n\n'
        for one in faults for _ in range(one.times or 1))


def swaps(case):
    """Whether a disk works in it: QEMU's clock must not jump ahead then while all wait
    for a disk, past its time limit."""
    tiers = re.search(r"^tiers = (.*)$", case.config, re.MULTILINE)
    return bool(case.disk) or not tiers or "swap" in tiers[1]


def run_once(case, folder, image, machine):
    options = machines.Options(case.memory, case.cpu, cpus=case.cpus, disk=case.disk or "ide",
                               disk_faults=fault_rules(case.faults, image), disk_iops=case.iops,
                               idles_really=swaps(case))
    for _ in range(TRIES):
        console = []
        outcome = runner.run(folder, image, machine, options, case.limit, console.append)
        if not outcome.aborted:
            break
    data = telemetry.read(os.path.join(folder, "telemetry.jsonl"))
    return Run(case, folder, image, machine, outcome, data, console)


def run_case(case, wanted=MACHINES):
    """({machine: seconds}, [what is wrong])."""
    folder = os.path.join(WORK, re.sub(r"\W+", "-", case.name))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    try:
        runs, problems = run_machines(case, folder, [one for one in case.machines if one in wanted])
    except CaseFailed as problem:
        return {}, [str(problem)]
    if not problems:
        tidy(folder)
    return {run.machine: run.outcome.seconds for run in runs}, problems


def run_machines(case, folder, names):
    """([Run], [what is wrong])."""
    runs, problems = [], []
    for name in names:
        image = make_image(case, folder, name)
        run = run_once(case, os.path.join(folder, name), image, name)
        runs.append(run)
        wrong = judge(run)
        if case.repeat and name == "bochs" and not wrong:
            wrong = same_telemetry(run, run_once(case, os.path.join(folder, "again"), image, name))
        problems += [f"{name}: {problem}" for problem in wrong]
    if len(runs) > 1 and not problems and case.telemetry:
        problems += run_checks(runs, [vendors_agree])
    return runs, problems


def tidy(folder):
    """Disks are large and of no use after a pass."""
    for base, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".img"):
                os.remove(os.path.join(base, name))


def judge(run):
    """Everything that is wrong with a run."""
    case, outcome = run.case, run.outcome
    if outcome.timed_out:
        return [f"no end within {case.limit} s; last line: {outcome.last_line!r}"]
    wanted = f"ballast: result {case.result}"
    problems = []
    if not re.fullmatch(wanted, outcome.last_line):
        problems.append(f"last line is {outcome.last_line!r}, not {wanted!r}")
    problems += run_checks(run, (standard_checks if case.telemetry else []) + case.checks)
    return problems


def run_checks(run, checks):
    problems = []
    for check in checks:
        try:
            problem = check(run)
        except (LookupError, ValueError, TypeError, OSError) as error:
            problem = f"{getattr(check, '__name__', 'check')}: {error}"
        if problem:
            problems.append(problem)
    return problems


def same_telemetry(run, again):
    contents = []
    for one in (run, again):
        with open(one.path("telemetry.jsonl"), "rb") as file:
            contents.append(file.read())
    if contents[0] == contents[1]:
        return []
    first = next((i for i, (a, b) in enumerate(zip(*(c.split(b"\n") for c in contents)), 1)
                  if a != b), "the end")
    return [f"telemetry.jsonl differs between two runs from line {first} on"]


# ---- two vendors ----------------------------------------------------------

# Of the end record, per VM: what a guest's content is and how it ended.
ALIKE = ("started", "status", "mismatched", "configured")


def content(run):
    """{VM: what must not depend on the processor}. How many pages a guest checks is
    its seed's affair, except where its workload goes by the clock."""
    timed = re.findall(r"\[vm (\S+)\](?:(?!\[vm).)*?ticks=", run.case.config, re.S)
    table = {}
    for one in run.data.end["vms"]:
        if run.case.alike is not None and one["name"] not in run.case.alike:
            continue
        table[one["name"]] = {key: one.get(key) for key in ALIKE}
        if one["status"] == 0 and one["name"] not in timed:
            table[one["name"]]["checked"] = one.get("checked")
    return table


def vendors_agree(runs):
    """The end records of all machines tell the same of every VM."""
    first = content(runs[0])
    for run in runs[1:]:
        for name, values in content(run).items():
            if values != first.get(name):
                return (f"{name}: {runs[0].machine} ends with {first.get(name)}, "
                        f"{run.machine} with {values}")
    return ""


# ---- checks ---------------------------------------------------------------

def telemetry_valid(run):
    return f"telemetry: {run.data.problems[0]}" if run.data.problems else ""


def audit_clean(run):
    audit = run.data.end["audit"]
    return f"audit: {audit['violations']} violations: {audit.get('first')}" if (
        audit["violations"]) else ""


def no_mismatch(run):
    if run.case.mismatches:
        return ""
    bad = [vm["name"] for vm in run.data.end["vms"] if vm.get("mismatched", 0)]
    return f"mismatches in {', '.join(bad)}" if bad else ""


standard_checks = [telemetry_valid, audit_clean, no_mismatch]


def verified(*names, pages=1):
    """Those VMs ended with status 0 and had at least that many pages checked."""
    def check(run):
        for name in names:
            vm_end = run.vm(name)
            if vm_end["status"] != 0:
                return f"{name}: status {vm_end['status']}, {vm_end['reason']}"
            if vm_end.get("checked", 0) < pages or vm_end.get("mismatched", 0):
                return (f"{name}: {vm_end.get('checked', 0)} pages checked, "
                        f"{vm_end.get('mismatched', 0)} differ")
        return ""
    return check


def ended(name, reason, status=None):
    """That VM ended for a reason that matches, not by its own success."""
    def check(run):
        vm_end = run.vm(name)
        if vm_end["status"] == 0:
            return f"{name} ended well"
        if status is not None and vm_end["status"] != status:
            return f"{name}: status {vm_end['status']}, not {status}"
        return "" if re.search(reason, vm_end["reason"]) else (
            f"{name}: ended for {vm_end['reason']!r}, not {reason!r}")
    return check


def not_started(name, reason):
    def check(run):
        vm_end = run.vm(name)
        if vm_end["started"]:
            return f"{name} was started"
        return "" if re.search(reason, vm_end["reason"]) else (
            f"{name}: not started for {vm_end['reason']!r}, not {reason!r}")
    return check


def host_counter(name, test, what):
    """A host counter at the end (after the VMs' last sample) passes a test."""
    def check(run):
        value = max(run.data.host_series(name) + [run.data.end["host"].get(name, 0)])
        return "" if test(value) else f"host {name} is {value}, should be {what}"
    return check


def vm_counter(name, counter, test, what):
    def check(run):
        value = max([run.vm(name).get(counter, 0)] + run.data.vm_series(name, counter))
        return "" if test(value) else f"{name} {counter} is {value}, should be {what}"
    return check


def net(tier, wanted=True):
    """That tier freed frames, net (or none, when not wanted)."""
    def check(run):
        value = run.data.end["net"][tier]
        return "" if (value > 0) == wanted else f"net {tier} is {value}"
    return check


def only_tiers(*tiers):
    """Frames were freed, gross, by those tiers and no other."""
    def check(run):
        freed = {tier: run.data.end["host"].get(f"freed_{tier}", 0) for tier in telemetry.TIERS}
        wrong = [tier for tier, value in freed.items() if (value > 0) != (tier in tiers)]
        return f"tiers freed {freed}; wanted only {', '.join(tiers)}" if wrong else ""
    return check


def below_ppm(counter, most):
    """A share of memory stays below a bound in every sample."""
    def check(run):
        value = max(run.data.host_series(counter))
        return "" if value < most else f"{counter} reached {value}, should stay below {most}"
    return check


def overcommitted(ratio):
    def check(run):
        end = run.data.end
        value = end["configured"] / end["managed"]
        return "" if value >= ratio else f"overcommitted {value:.2f} times, not {ratio}"
    return check


def console_says(pattern):
    def check(run):
        return "" if any(re.search(pattern, line) for line in run.console) else (
            f"the console never says {pattern!r}")
    return check


def console_never_says(pattern):
    def check(run):
        hit = next((line for line in run.console if re.search(pattern, line)), None)
        return f"the console says {hit!r}" if hit else ""
    return check


def event(kind, **wanted):
    """The telemetry has an event with those values."""
    def check(run):
        for record in run.data.events:
            if record["event"] == kind and all(record.get(key) == value
                                               for key, value in wanted.items()):
                return ""
        return f"no event {kind} {wanted or ''}"
    return check


def swap_bytes(path, kind=gpt.TYPE_SWAP):
    part = gpt.find_partition(path, kind)
    with open(path, "rb") as disk:
        disk.seek(part.offset)
        return disk.read(part.size)


def swap_untouched(run):
    """The swap partition holds what the image had."""
    before, after = swap_bytes(run.image), swap_bytes(run.path("disk.img"))
    return "" if before == after else "the swap partition was written"


def disk_untouched_outside_swap(run):
    """Nothing but the swap partition was written."""
    with open(run.image, "rb") as a, open(run.path("disk.img"), "rb") as b:
        before, after = a.read(), b.read()
    part = gpt.find_partition(run.image, gpt.TYPE_SWAP)
    for start, end in ((0, part.offset), (part.offset + part.size, len(before))):
        if before[start:end] != after[start:end]:
            return "the disk was written outside of the swap partition"
    return ""


def swap_written(run):
    """The swap partition was really used."""
    before, after = swap_bytes(run.image), swap_bytes(run.path("disk.img"))
    return "" if before != after else "the swap partition was never written"
