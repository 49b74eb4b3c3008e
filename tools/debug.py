#!/usr/bin/python3
"""make debug: a machine stopped at the first instruction of the hypervisor.

With QEMU (MACHINE=tcg, the default; AMD-V): gdb, attached, symbols of
build/ballast.elf loaded. With Bochs (MACHINE=bochs; VT-x): its own debugger,
since the packaged Bochs has no stub for gdb, with the same symbols.

--batch: stop there, print the symbol, end; status 0 when it was reached.
"""
import argparse
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machines
import runner

ENTRY = "hv_entry"
BATCH_SECONDS = 120


def symbols(elf):
    """{name: address} of the hypervisor's functions and data."""
    done = subprocess.run(["nm", elf], capture_output=True, text=True, check=True)
    return {fields[2]: int(fields[0], 16) for fields in map(str.split, done.stdout.splitlines())
            if len(fields) == 3}


def tcg(folder, options):
    """QEMU waits for gdb before its first instruction."""
    command, environment = machines.tcg(folder, machines.Options(options.memory))
    socket = os.path.join(folder, "gdb.socket")
    if os.path.exists(socket):
        os.remove(socket)
    command += ["-S", "-chardev", f"socket,path={socket},server=on,wait=on,id=gdb",
                "-gdb", "chardev:gdb"]
    # A hardware breakpoint: a software one would be overwritten when the loader
    # puts the hypervisor into place.
    gdb = ["gdb", "-q", "-nx", "-ex", "set confirm off", "-ex", "set pagination off",
           "-ex", f"file {options.elf}", "-ex", f"target remote {socket}",
           "-ex", f"hbreak *{ENTRY}", "-ex", "continue"]
    if options.batch:
        gdb += ["-batch", "-ex", "info symbol $pc", "-ex", "kill"]
    with open(os.path.join(folder, "machine.out"), "wb") as out:
        machine = subprocess.Popen(command, cwd=folder, env=environment, stdout=out,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                                   start_new_session=True)
    try:
        wait_for(socket, machine)
        return run_debugger(gdb, os.getcwd(), os.environ, options, "")
    finally:
        runner.stop(machine)


def wait_for(path, machine):
    """QEMU makes its socket soon, or ends."""
    while not os.path.exists(path):
        try:
            machine.wait(0.05)
            sys.exit("debug: the machine did not start, see machine.out")
        except subprocess.TimeoutExpired:
            pass


def bochs(folder, options):
    command, environment = machines.bochs(folder, machines.Options(options.memory))
    addresses = symbols(options.elf)
    table = os.path.join(folder, "symbols")
    with open(table, "w", encoding="ascii") as file:
        file.writelines(f"{address:x} {name}\n" for name, address in addresses.items())
    with open(os.path.join(folder, "bochs.commands"), "w", encoding="ascii") as file:
        file.write(f'ldsym global "{table}"\nlb {addresses[ENTRY]:#x}\nc\n')
    # What follows the stop: the instruction with its symbol is printed by Bochs.
    return run_debugger(command, folder, environment, options, "q\n")


def run_debugger(command, folder, environment, options, answers):
    """In the terminal, or, in batch, judged by what it prints."""
    if not options.batch:
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    try:
        done = subprocess.run(command, cwd=folder, env=environment, input=answers, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=BATCH_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"debug: {ENTRY} was not reached within {BATCH_SECONDS} s")
        return 1
    found = re.search(rf"^.*(?:{ENTRY} in section|\b{ENTRY}\+0|<{ENTRY}>|\({ENTRY}).*$",
                      done.stdout, re.MULTILINE)
    print(found[0] if found else done.stdout[-2000:])
    return 0 if found else 1


def main(arguments):
    parser = argparse.ArgumentParser(description="The hypervisor in a debugger.")
    parser.add_argument("--image", default="build/ballast.img")
    parser.add_argument("--elf", default="build/ballast.elf")
    parser.add_argument("--machine", default="tcg", help="tcg or bochs")
    parser.add_argument("--folder", default="out/debug")
    parser.add_argument("--memory", type=int, default=256)
    parser.add_argument("--batch", action="store_true")
    options = parser.parse_args(arguments)
    options.elf = os.path.abspath(options.elf)
    folder = os.path.abspath(options.folder)
    machine = "tcg" if options.machine == "auto" else options.machine
    if machine not in ("tcg", "bochs"):
        print(f"debug: no debugger for machine {machine}; there are tcg and bochs",
              file=sys.stderr)
        return 2
    runner.prepare(folder, options.image)
    print(f"machine: {machine}; console and disk in {options.folder}", flush=True)
    return (tcg if machine == "tcg" else bochs)(folder, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
