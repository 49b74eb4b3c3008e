"""The machines an image can be run on, and which one this computer offers.

Each machine is a function that writes what its emulator needs into the run's
folder and returns the command that starts it there. All of them put COM1 into
console.log and COM2 into telemetry.jsonl and run disk.img.
"""
import math
import os
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import computer

OVMF = "/usr/share/ovmf/OVMF.fd"
VGA_BIOS = "/usr/share/bochs/VGABIOS-lgpl-latest"


@dataclass
class Options:
    """What a test or a person may change about the machine."""
    memory_mib: int = 256
    cpu: str = "corei7_skylake_x"  # Bochs model
    ips: int = 25_000_000          # instructions per emulated second
    tcg_cpu: str = "EPYC,+svm,+npt"  # QEMU model
    cpus: int = 1
    disk: str = "ide"              # QEMU's disk, a name in DISKS
    disk_faults: str = ""          # QEMU: rules of blkdebug for it
    disk_iops: int = 0             # QEMU: requests per second at most, 0: any
    idles_really: bool = False     # TCG: when all is idle its clock goes at this computer's pace


# clock: a run depends on nothing but its inputs. The TSC counts instructions
# and runs at `ips`; serial ports and disks take emulated time.
BOCHS_RC = """\
plugin_ctrl: biosdev=true, busmouse=false, e1000=false, es1370=false, extfpuirq=true, \
parallel=false, sb16=false, serial=true, speaker=false, unmapped=true, usb_ehci=false, \
usb_ohci=false, usb_uhci=false, usb_xhci=false, voodoo=false
config_interface: textconfig
display_library: sdl2
memory: host={memory}, guest={memory}
romimage: file="{ovmf}", address=0xffe00000, options=none
vgaromimage: file="{vga}"
pci: enabled=1, chipset=i440fx
boot: disk
ata0: enabled=true, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path="{folder}/disk.img", mode=flat
cpu: count={cpus}, ips={ips}, model={cpu}, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none, time0=1735689600
debug: action=ignore
info: action=ignore
error: action=ignore
panic: action=fatal
log: {folder}/machine.log
com1: enabled=true, mode=file, dev={folder}/console.log
com2: enabled=true, mode=file, dev={folder}/telemetry.jsonl
"""


def bochs(folder, options):
    with open(os.path.join(folder, "bochsrc"), "w", encoding="ascii") as file:
        file.write(BOCHS_RC.format(folder=folder, ovmf=OVMF, vga=VGA_BIOS, cpu=options.cpu,
                                   memory=options.memory_mib, ips=options.ips,
                                   cpus=options.cpus))
    with open(os.path.join(folder, "bochs.commands"), "w", encoding="ascii") as file:
        file.write("c\n")  # the packaged Bochs has its debugger built in
    environment = dict(os.environ, SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")
    return (["bochs-bin", "-q", "-f", os.path.join(folder, "bochsrc"),
             "-rc", os.path.join(folder, "bochs.commands")], environment)


# Kinds of disk: QEMU's devices, the last of which is the disk.
DISKS = {"ide": ["ide-hd,bus=ide.0"],
         "ahci": ["ahci,id=ahci", "ide-hd,bus=ahci.0"],
         "nvme": ["nvme,serial=ballast"],
         "virtio": ["virtio-blk-pci,disable-legacy=on"],
         "virtio-line": ["virtio-blk-pci,disable-legacy=on,vectors=0"]}


def disk(folder, options):
    """QEMU's arguments for disk.img. Errors reach the machine: by default QEMU
    stops for want of space."""
    source = f"{folder}/disk.img"
    if options.disk_faults:
        with open(os.path.join(folder, "blkdebug.conf"), "w", encoding="ascii") as file:
            file.write(options.disk_faults)
        source = f"blkdebug:{folder}/blkdebug.conf:{source}"
    drive = f"file={source},format=raw,if=none,id=disk"
    if options.disk_iops:
        drive += f",throttling.iops-total={options.disk_iops}"
    *others, last = DISKS[options.disk]
    report = "" if options.disk == "nvme" else ",rerror=report,werror=report"
    arguments = ["-drive", drive]
    for device in [*others, f"{last},drive=disk{report}"]:
        arguments += ["-device", device]
    return arguments


def qemu(folder, options, *accelerator):
    """QEMU as a PC: one disk, two serial ports, ends by isa-debug-exit."""
    return (["qemu-system-x86_64", *accelerator, "-M", "pc",
             "-m", str(options.memory_mib), "-smp", str(options.cpus),
             "-bios", OVMF, "-nodefaults", "-display", "none",
             "-no-reboot", *disk(folder, options),
             "-serial", f"file:{folder}/console.log",
             "-serial", f"file:{folder}/telemetry.jsonl",
             "-device", "isa-debug-exit,iobase=0x501,iosize=2"], dict(os.environ))


def kvm(folder, options):
    return qemu(folder, options, "-enable-kvm", "-cpu", "host")


def tcg_tick_ns(options):
    """ns of an instruction by the clock that counts them, which are ticks of its TSC:
    a power of two."""
    return 1 << max(0, round(math.log2(1e9 / options.ips)))


def tcg(folder, options):
    """QEMU without KVM emulates AMD-V with nested paging. Its clock counts
    instructions, 2 ** shift ns each: guests and ticks have the same speed to each
    other as in Bochs. When all is idle it jumps ahead, or goes on at the pace of
    this computer, as disks do, whose requests end in this computer's time."""
    shift = tcg_tick_ns(options).bit_length() - 1
    sleep = "on" if options.idles_really else "off"
    return qemu(folder, options, "-accel", "tcg", "-cpu", options.tcg_cpu,
                "-icount", f"shift={shift},sleep={sleep}", "-rtc", "base=2025-01-01,clock=vm")


MACHINES = {"bochs": bochs, "kvm": kvm, "tcg": tcg}


# Program each machine needs, and the Debian package it comes in.
PROGRAMS = {"kvm": ("qemu-system-x86_64", "qemu-system-x86"), "bochs": ("bochs-bin", "bochs"),
            "tcg": ("qemu-system-x86_64", "qemu-system-x86")}


def why_not(machine, this=None):
    """"" when that machine can be had on a computer (this one), else the reason."""
    this = this or computer.Computer()
    if machine == "kvm":
        obstacle = this.why_not_nested()
        if obstacle:
            return obstacle.reason
    program, package = PROGRAMS[machine]
    return "" if this.which(program) else f"{program} is not installed (package {package})"


def choose(wanted, this=None):
    """(machine's name, reason), or (None, reason) when the wish cannot be had.
    The fastest that works is the best: KVM, else Bochs, which has VT-x, else QEMU
    without KVM, which has AMD-V."""
    this = this or computer.Computer()
    if wanted in MACHINES:
        problem = why_not(wanted, this)
        return (None, problem) if problem else (wanted, "asked for")
    if wanted != "auto":
        return None, f"no machine is called {wanted}; there are auto, {', '.join(MACHINES)}"
    no_kvm, no_bochs, no_tcg = (why_not(name, this) for name in ("kvm", "bochs", "tcg"))
    if not no_kvm:
        return "kvm", f"KVM here offers nested {this.virtualization()}"
    if not no_bochs:
        return "bochs", f"emulates VT-x; no KVM: {no_kvm}"
    if not no_tcg:
        return "tcg", f"QEMU emulates AMD-V; no KVM: {no_kvm}; no Bochs: {no_bochs}"
    return None, f"no KVM: {no_kvm}; no Bochs: {no_bochs}; no QEMU: {no_tcg}"
