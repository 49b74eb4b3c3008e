"""The outer machines: emulators with VT-x or AMD-V that start the small Linux of
linux.py, with the disks and ports that its init expects.
"""
import os

import linux
import machines

MIB = 1 << 20
LINUX_MIB = 768
EXCHANGE_BYTES = 64 * MIB
# QEMU's clock counts instructions, 2 ns each, as Bochs' does (linux.IPS): how fast this
# computer is makes no difference to what happens.
AMD_CLOCK = "shift=1,sleep=off"

BOCHS_DISKS = """\
ata1: enabled=true, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata0-master: type=disk, path="{linux}", mode=volatile, journal="{folder}/linux.redo"
ata0-slave: type=disk, path="{folder}/exchange.img", mode=flat
ata1-master: type=disk, path="{folder}/disk.img", mode=flat
com1: enabled=true, mode=file, dev={folder}/linux.log
com2: enabled=true, mode=file, dev={folder}/console.log
"""


def prepare_exchange(folder, options, settings):
    settings = (f"memory={options.memory_mib}\nprocessors=1\n" + settings).encode()
    with open(os.path.join(folder, "exchange.img"), "wb") as disk:
        disk.truncate(EXCHANGE_BYTES)
        disk.write(settings.ljust(512, b"\0"))


def intel(built, folder, options, settings=""):
    """Bochs: its configuration for a plain run, with the disks and ports moved.
    settings: more lines for tests/nested/init."""
    prepare_exchange(folder, options, "interface=ide\nmodel=host\n" + settings)
    command, environment = machines.bochs(folder, machines.Options(LINUX_MIB, options.cpu,
                                                                   linux.IPS))
    path = os.path.join(folder, "bochsrc")
    with open(path, encoding="ascii") as file:
        kept = [line for line in file if not line.startswith(("ata0-", "com"))]
    with open(path, "w", encoding="ascii") as file:
        file.write("".join(kept) + BOCHS_DISKS.format(
            folder=folder, linux=os.path.join(built, "linux.img")))
    return command, environment


def amd(built, folder, options, settings="", command_line=linux.UNMITIGATED):
    # QEMU 7.2 does not let a hypervisor intercept XSETBV: KVM never learns what its
    # guest has put into XCR0, and undoes it at the next exit. So no XSAVE there.
    prepare_exchange(folder, options, "interface=virtio\nmodel=host,-xsave\n" + settings)
    command = ["qemu-system-x86_64", "-accel", "tcg,tb-size=512", "-icount", AMD_CLOCK,
               "-cpu", "EPYC,+svm,+npt", "-M", "pc", "-m", str(LINUX_MIB),
               "-nodefaults", "-display", "none", "-no-reboot",
               "-kernel", os.path.join(built, "vmlinuz"),
               "-initrd", os.path.join(built, "initrd.img"), "-append", command_line,
               "-serial", f"file:{folder}/linux.log", "-serial", f"file:{folder}/console.log"]
    for index, name in ((1, "exchange.img"), (2, "disk.img")):
        command += ["-drive", f"file={folder}/{name},format=raw,if=ide,index={index}"]
    return command, dict(os.environ)


# Called with the folder of the small Linux, the run's folder and machines.Options.
VENDORS = {"intel": intel, "amd": amd}
