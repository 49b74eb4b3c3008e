"""The Linux in the middle: a Debian kernel with KVM, and an initramfs with QEMU.

Made of Debian packages only; the kernel and the EFI stub are downloaded and
unpacked, not installed. build() leaves in its folder

  vmlinuz, initrd.img   for an emulator that starts a kernel itself (QEMU)
  linux.img             a disk whose ESP holds both as one EFI program (Bochs)

and does nothing when they are newer than what they were made of.
"""
import glob
import os
import re
import shutil
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import esp
import gpt
import machines
import mkimage

QEMU = "/usr/bin/qemu-system-x86_64"
BUSYBOX = "/bin/busybox"
STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
# Loaded at once, those they depend on before them; the vendor's by init.
MODULES_EARLY = ("kvm", "sd_mod", "ata_piix")
MODULES_LATE = ("kvm_intel", "kvm_amd")
MODULES_SWAP = ("zsmalloc", "lz4", "zram")  # only when asked for
# For an image, and for a program that QEMU starts itself.
FIRMWARE = ("/usr/share/qemu/kvmvapic.bin", machines.OVMF,
            "/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/pvh.bin")

# An emulated second of the Bochs that runs it, in instructions. The TSC there
# counts instructions, not what CPUID leaf 0x16 claims, so the kernel is told. Many:
# with few, the ticks of all guests take all of the time there is.
IPS = 400_000_000

# reboot=t: leaving by a triple fault ends both emulators. A watchdog would bark at an
# emulator.
COMMAND_LINE = ("console=ttyS0,115200 quiet panic=-1 reboot=t nokaslr "
                "efi=noruntime tsc=reliable nmi_watchdog=0 nosoftlockup "
                "rcupdate.rcu_cpu_stall_suppress=1 random.trust_cpu=on init_on_alloc=0 "
                "cryptomgr.notests")
# Where nothing is measured: the path out of a guest is long enough without.
UNMITIGATED = COMMAND_LINE + " mitigations=off"


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


# ---- packages ---------------------------------------------------------------

def kernel_package():
    """The package the meta package for small virtual machines stands for."""
    match = re.search(r"Depends: (linux-image-\d\S*-cloud-amd64)\s",
                      run("apt-cache", "depends", "linux-image-cloud-amd64"))
    if not match:
        raise RuntimeError("apt knows no linux-image-cloud-amd64: apt-get update, or not Debian")
    return match[1]


def unpack(package, folder):
    """Where the package's files lie, downloaded when that is not done yet."""
    target = os.path.join(folder, package)
    if not os.path.isdir(target):
        for old in glob.glob(os.path.join(folder, package + "_*.deb")):
            os.remove(old)
        run("apt-get", "-q", "download", package, cwd=folder)
        run("dpkg-deb", "-x", glob.glob(os.path.join(folder, package + "_*.deb"))[0],
            target + ".new")
        os.rename(target + ".new", target)
    return target


# ---- initramfs --------------------------------------------------------------

class Archive:
    """A cpio archive in the kernel's format ("newc"), as bytes."""

    def __init__(self):
        self.parts, self.folders, self.inode = [], set(), 0

    def _entry(self, path, mode, content):
        self.inode += 1
        name = path.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self.parts += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]

    def folder(self, path):
        if path and path not in self.folders:
            self.folder(os.path.dirname(path))
            self.folders.add(path)
            self._entry(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path, content, mode=0o755):
        path = path.lstrip("/")
        self.folder(os.path.dirname(path))
        self._entry(path, stat.S_IFREG | mode, content)

    def copy(self, source, path):
        with open(source, "rb") as file:
            self.file(path, file.read())

    def link(self, path, target):
        self.folder(os.path.dirname(path))
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def content(self):
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self.parts)


def find_module(tree, name):
    """Path of a module, None when it is built into the kernel."""
    pattern = re.compile(re.sub("[-_]", "[-_]", name) + r"\.ko")
    for folder, _, names in os.walk(tree):
        for each in names:
            if pattern.fullmatch(each):
                return os.path.join(folder, each)
    return None


def depends_on(path):
    with open(path, "rb") as file:
        match = re.search(rb"\0depends=([^\0]*)\0", file.read())
    return [name for name in match[1].decode().split(",") if name] if match else []


def in_order(tree, names, known):
    """[(name, path)] of modules and what they need, each after its needs."""
    found = []
    for name in names:
        name = name.replace("-", "_")
        path = None if name in known else find_module(tree, name)
        known.add(name)
        if path:
            found += in_order(tree, depends_on(path), known) + [(name, path)]
    return found


def add_modules(archive, tree, scratch):
    known = set()
    early = in_order(tree, MODULES_EARLY, known)
    late = in_order(tree, MODULES_LATE, known)
    swap = in_order(tree, MODULES_SWAP, known)
    first = early + [each for each in late if each[0] not in MODULES_LATE]
    for name, path in early + late + swap:
        # Without its signature, whose check takes seconds in an emulator.
        run("objcopy", "--strip-debug", path, scratch)
        archive.copy(scratch, f"modules/{name}.ko")
    for list_name, modules in (("order", first), ("swap", swap)):
        archive.file(f"modules/{list_name}",
                     "".join(f"{name}.ko\n" for name, _ in modules).encode())


def add_qemu(archive):
    archive.copy(QEMU, "bin/qemu-system-x86_64")
    for library in re.findall(r"(/\S+) \(0x", run("ldd", QEMU)):
        archive.copy(os.path.realpath(library), library)
    for path in FIRMWARE:
        archive.copy(os.path.realpath(path), "share/" + os.path.basename(path))


def make_initrd(kernel, folder):
    archive = Archive()
    for name in ("dev", "proc", "sys", "tmp"):
        archive.folder(name)
    archive.copy(BUSYBOX, "bin/busybox")
    for name in sorted(set(run(BUSYBOX, "--list").split()) - {"busybox"}):
        archive.link(f"bin/{name}", "busybox")
    add_modules(archive, os.path.join(kernel, "lib/modules"), os.path.join(folder, "module.ko"))
    add_qemu(archive)
    archive.copy(os.path.join(HERE, "init"), "init")
    plain, packed = os.path.join(folder, "initrd.cpio"), os.path.join(folder, "initrd.img")
    with open(plain, "wb") as file:
        file.write(archive.content())
    run("lz4", "-l", "-9", "-f", "-q", plain, packed)  # the format the kernel unpacks fastest
    os.remove(plain)


# ---- disk -------------------------------------------------------------------

def make_disk(stub, folder, command_line):
    """Kernel, initramfs and command line as one EFI program, on an ESP."""
    line, program = os.path.join(folder, "cmdline"), os.path.join(folder, "linux.efi")
    with open(line, "w", encoding="ascii") as file:
        file.write(f"{command_line} tsc_early_khz={IPS // 1000}")
    sections, at = [], 0x30000
    for name, path in ((".cmdline", line), (".linux", os.path.join(folder, "vmlinuz")),
                       (".initrd", os.path.join(folder, "initrd.img"))):
        sections += ["--add-section", f"{name}={path}", "--change-section-vma", f"{name}={at:#x}"]
        at = gpt.align_up(at + os.path.getsize(path), 1 << 24)
    run("objcopy", *sections, stub, program)
    with open(program, "rb") as file:
        mkimage.write_image(os.path.join(folder, "linux.img"),
                            {mkimage.LOADER_PATH: file.read()}, 0)


def is_fresh(folder):
    made = os.path.join(folder, "linux.img")
    sources = [os.path.join(HERE, name) for name in ("init", "linux.py")] + [QEMU, BUSYBOX]
    return os.path.exists(made) and all(os.path.getmtime(made) > os.path.getmtime(source)
                                        for source in sources)


def build(folder, command_line=UNMITIGATED):
    """command_line: what linux.img starts with."""
    if is_fresh(folder):
        return
    os.makedirs(folder, exist_ok=True)
    kernel = unpack(kernel_package(), folder)
    stub = os.path.join(unpack("systemd-boot-efi", folder), STUB)
    shutil.copy(glob.glob(os.path.join(kernel, "boot", "vmlinuz-*"))[0],
                os.path.join(folder, "vmlinuz"))
    make_initrd(kernel, folder)
    make_disk(stub, folder, command_line)
