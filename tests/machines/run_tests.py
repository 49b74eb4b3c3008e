#!/usr/bin/python3
"""Tests of what a person does with machines: a disk for a PC boots in every
emulator, the screen shows the console where there is no serial port, a debugger
stops at the first instruction.

    run_tests.py [--result FILE] [WORD ...]

With words only cases run whose name contains one of them. Each leaves its files
in build/tests/machines/CASE.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tools")]
import machines
import runner
import screen

BUILD = os.path.join(ROOT, "build")
WORK = os.path.join(BUILD, "tests", "machines")
LIMIT = 240  # seconds before something counts as hanging
CONFIG = """\
[host]
memory = 32M
seed = 1
duration = 100s
swap = auto

[vm fill]
memory = 8M
image = {build}/guest.elf
cmdline = workload=fill seed=1 ws=1M rounds=1
"""


class Skipped(Exception):
    """Why a case cannot be run here."""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skipped(f"{program} is not installed")


def tool(name, *arguments):
    """Output of a program of tools/; RuntimeError when it fails."""
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tools", name), *arguments],
                          cwd=ROOT, capture_output=True, text=True, check=False,
                          timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def usb_image(folder):
    config, image = os.path.join(folder, "test.conf"), os.path.join(folder, "usb.img")
    with open(config, "w", encoding="ascii") as file:
        file.write(CONFIG.format(build=BUILD))
    tool("usb.py", "--device", image, "--config", config)
    return image


def boots(machine, program):
    """The image of make usb runs to its end on that machine."""
    def case(folder):
        need(program)
        outcome = runner.run(os.path.join(folder, "run"), usb_image(folder), machine,
                             machines.Options(), LIMIT)
        return "" if outcome.ok else f"last line: {outcome.last_line!r}"
    return case


def boots_from_a_stick(folder):
    """As a stick: OVMF starts it from USB. There is no driver for the swap
    partition on it, and none is needed."""
    need("qemu-system-x86_64")
    image = usb_image(folder)

    def stick(run_folder, options):
        command, environment = machines.tcg(run_folder, options)
        return without_disks(command) + [
            "-device", "qemu-xhci", "-drive",
            f"file={run_folder}/disk.img,format=raw,if=none,id=stick",
            "-device", "usb-storage,drive=stick"], environment
    machines.MACHINES["stick"] = stick
    said = []
    outcome = runner.run(os.path.join(folder, "run"), image, "stick", machines.Options(), LIMIT,
                         said.append)
    if not any("swap: none" in line for line in said):
        return "no line says that there is no swap"
    return "" if outcome.ok else f"last line: {outcome.last_line!r}"


def without_disks(command):
    """A machine's command without its disk and what belongs to it."""
    out, index = [], 0
    while index < len(command):
        argument = command[index]
        value = command[index + 1] if index + 1 < len(command) else ""
        if argument == "-drive" or (argument == "-device" and "drive=" in value):
            index += 2
            continue
        out.append(argument)
        index += 1
    return out


def without_serial(command):
    out = []
    for argument in command:
        if out and out[-1] == "-serial":
            out.pop()
        else:
            out.append(argument)
    return out


class Monitor:
    """QEMU's monitor on its standard input."""

    def __init__(self, command, folder, environment):
        self.log = open(os.path.join(folder, "machine.out"), "wb")
        self.process = subprocess.Popen(command + ["-monitor", "stdio"], cwd=folder,
                                        env=environment, stdin=subprocess.PIPE, stdout=self.log,
                                        stderr=subprocess.STDOUT)

    def say(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def ended_within(self, seconds):
        try:
            self.process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def close(self):
        if self.process.poll() is None:
            runner.stop(self.process)
        self.process.stdin.close()
        self.log.close()


def dump_lines(monitor, path, glyphs):
    if os.path.exists(path):
        os.remove(path)
    monitor.say(f"screendump {path}")
    for _ in range(50):
        time.sleep(0.1)
        if os.path.exists(path):
            try:
                return screen.lines(path, glyphs)
            except (ValueError, IndexError):
                continue  # half written
    return []


def screen_alone(folder):
    """A machine with a screen and a keyboard and no serial port: the console is
    on the screen, stays there, and a key switches the machine off."""
    need("qemu-system-x86_64")
    run_folder = os.path.join(folder, "run")
    runner.prepare(run_folder, usb_image(folder))
    command, environment = machines.tcg(run_folder, machines.Options())
    glyphs = screen.load_font(ROOT, folder)
    monitor = Monitor(without_serial(command) + ["-device", "VGA"], run_folder, environment)
    try:
        return watch_screen(monitor, os.path.join(folder, "screen.ppm"), glyphs)
    finally:
        monitor.close()


def watch_screen(monitor, path, glyphs):
    text, deadline = [], time.monotonic() + LIMIT
    while time.monotonic() < deadline and not monitor.ended_within(1):
        text = dump_lines(monitor, path, glyphs)
        if any("when a key is pressed" in line for line in text):
            break
    for wanted in (r"ballast: screen: \d+x\d+", r"\[fill\] .*0 mismatches", "ballast: result ok",
                   "when a key is pressed"):
        if not any(re.search(wanted, line) for line in text):
            return f"the screen never says {wanted!r}: {[line for line in text if line][-3:]}"
    monitor.say("sendkey ret")
    return "" if monitor.ended_within(20) else "a key does not switch the machine off"


def debugger(machine, *programs):
    def case(folder):
        need(*programs)
        image = usb_image(folder)
        said = tool("debug.py", "--batch", "--machine", machine, "--image", image, "--folder",
                    os.path.join(folder, "run"))
        return "" if "hv_entry" in said.splitlines()[-1] else f"it says {said!r}"
    return case


CASES = {
    "a disk for a PC boots in QEMU": boots("tcg", "qemu-system-x86_64"),
    "a disk for a PC boots in Bochs": boots("bochs", "bochs-bin"),
    "a disk for a PC boots as a USB stick": boots_from_a_stick,
    "the screen as the only console": screen_alone,
    "gdb stops at the first instruction": debugger("tcg", "qemu-system-x86_64", "gdb"),
    "Bochs' debugger stops at the first instruction": debugger("bochs", "bochs-bin"),
}


def run_case(name, case):
    """"PASS", "FAIL" or "SKIP"."""
    folder = os.path.join(WORK, re.sub(r"\W+", "-", name))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    started = time.monotonic()
    try:
        problem = case(folder)
    except Skipped as reason:
        print(f"SKIP  machines: {name}: {reason}", flush=True)
        return "SKIP"
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        problem = str(error)
    verdict = "FAIL" if problem else "PASS"
    print(f"{verdict}  machines: {name}  ({time.monotonic() - started:.0f} s)", flush=True)
    if problem:
        print(f"      {problem}", flush=True)
    else:
        shutil.rmtree(folder)
    return verdict


def main(arguments):
    parser = argparse.ArgumentParser(description="Tests of machines.")
    parser.add_argument("--result")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args(arguments)
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    for name, case in CASES.items():
        if not options.words or any(word in name for word in options.words):
            counts[run_case(name, case)] += 1
    if options.result:
        with open(options.result, "w", encoding="ascii") as file:
            file.write("{PASS} {FAIL} {SKIP}\n".format(**counts))
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
