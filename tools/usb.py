#!/usr/bin/python3
"""make usb: writes a disk that a PC boots Ballast from.

GPT, an EFI system partition with EFI/BOOT/BOOTX64.EFI, and a swap partition. The
target is a whole disk, or a file that holds one. It is refused when it is in use
(mounted, swap, part of another device), which nothing overrides, and when it
holds anything, unless --force is given; what will be lost is listed first.
"""
import argparse
import os
import stat
import sys
import tempfile
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gpt
import mkimage

MIB = 1 << 20
CHUNK = 4 * MIB
LOOKED_AT = MIB  # of both ends, for anything that is there
# Signatures of what people keep on disks: (offset, bytes, name).
SIGNATURES = ((512, b"EFI PART", "a GPT"), (510, b"\x55\xaa", "a boot sector or MBR"),
              (0x438, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
              (0, b"XFSB", "an XFS file system"), (0x10040, b"_BHRfS_M", "a Btrfs file system"),
              (0x8001, b"CD001", "an ISO 9660 image"), (0, b"LUKS\xba\xbe", "a LUKS volume"),
              (3, b"NTFS    ", "an NTFS file system"), (0xff6, b"SWAPSPACE2", "Linux swap"),
              (512, b"LABELONE", "an LVM physical volume"))


class Refused(Exception):
    """One line that says why nothing was written."""


@dataclass
class System:
    """Where to learn what is in use; a test gives its own root."""
    root: str = "/"

    def read(self, name):
        try:
            with open(os.path.join(self.root, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def entries(self, name):
        try:
            return sorted(os.listdir(os.path.join(self.root, name)))
        except OSError:
            return []

    def parts(self, disk):
        """Names of a disk (`sdb`) and of its partitions."""
        return [disk] + [name for name in self.entries(f"sys/class/block/{disk}")
                         if self.read(f"sys/class/block/{disk}/{name}/partition")]

    def uses(self, disk):
        """What uses that disk or a part of it, in words."""
        found = []
        for name in self.parts(disk):
            for line in self.read("proc/self/mounts").splitlines():
                fields = line.split()
                if len(fields) > 1 and is_device(fields[0], name):
                    found.append(f"/dev/{name} is mounted on {fields[1]}")
            if any(is_device(line.split()[0], name)
                   for line in self.read("proc/swaps").splitlines()[1:] if line.strip()):
                found.append(f"/dev/{name} is swap in use")
            found += [f"/dev/{name} is part of {holder}" for holder in
                      self.entries(f"sys/class/block/{name}/holders")]
        return found

    def loops(self, path):
        """Loop devices that have that file below them."""
        return [f"/dev/{name} is that file" for name in self.entries("sys/class/block")
                if self.read(f"sys/class/block/{name}/loop/backing_file").strip() == path]


def is_device(source, name):
    """Whether a name in a table of the kernel is that device."""
    return source == f"/dev/{name}" or (source.startswith("/dev/") and
                                        os.path.realpath(source) == f"/dev/{name}")


def check_disk(system, path):
    """A block device has to be a whole disk that nothing uses."""
    name = os.path.basename(os.path.realpath(path))
    about = f"sys/class/block/{name}"
    if system.read(f"{about}/partition"):
        raise Refused(f"{path} is a partition; give the whole disk")
    if system.read(f"{about}/ro").strip() == "1":
        raise Refused(f"{path} is read-only")
    if system.read(f"{about}/queue/logical_block_size").strip() not in ("", "512"):
        raise Refused(f"{path} has sectors of other than 512 bytes")
    for use in system.uses(name):
        raise Refused(f"{path} is in use: {use}")


def check_target(system, path):
    """What kind of target it is: "new", "file" or "disk"."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "new"
    if stat.S_ISBLK(mode):
        check_disk(system, path)
        return "disk"
    if not stat.S_ISREG(mode):
        raise Refused(f"{path} is neither a disk nor a file")
    for loop in system.loops(os.path.realpath(path)):
        raise Refused(f"{path} is in use: {loop}")
    return "file"


def size_of(path):
    with open(path, "rb") as disk:
        return disk.seek(0, os.SEEK_END)


def contents(path):
    """What the target holds, a line each; empty when it holds nothing but zeros at
    both ends."""
    size = size_of(path)
    with open(path, "rb") as disk:
        start = disk.read(LOOKED_AT)
        disk.seek(max(0, size - LOOKED_AT))
        end = disk.read(LOOKED_AT)
    found = [name for offset, text, name in SIGNATURES
             if start[offset:offset + len(text)] == text]
    try:
        found += [f"partition {part.name or part.guid}, {part.size // MIB} MiB"
                  for part in gpt.read_partitions(path)]
    except (ValueError, IndexError, OSError):
        pass
    return found or (["data of a kind not known"] if any(start) or any(end) else [])


def check_contents(path, force):
    """Says what will be lost; Refused without leave to erase it."""
    held = contents(path)
    if not held:
        return
    print(f"{path}, {size_of(path) // MIB} MiB, holds:")
    for line in held:
        print(f"  {line}")
    if not force:
        raise Refused(f"{path} holds something; FORCE=1 erases it")
    print("all of it is erased now (FORCE=1)")


def copy(source, target, size):
    """The image, then its tables once more for the size that the target has."""
    sectors = size // gpt.SECTOR
    partitions = gpt.read_partitions(source)
    with open(source, "rb") as image, open(target, "r+b") as disk:
        while chunk := image.read(CHUNK):
            disk.write(chunk)
        disk.seek(size - size % gpt.SECTOR - min(LOOKED_AT, size))
        if size > os.path.getsize(source) + 2 * LOOKED_AT:
            disk.write(bytes(LOOKED_AT))  # a former backup table must not come back
        gpt.write_tables(disk, sectors, mkimage.fixed_uuid("disk"), partitions)
        disk.flush()
        os.fsync(disk.fileno())


def verify(source, target):
    """The target's partitions hold what the image's do."""
    if gpt.read_partitions(source) != gpt.read_partitions(target):
        raise Refused(f"{target}: the partitions read back are not those written")
    with open(source, "rb") as image, open(target, "rb") as disk:
        for part in gpt.read_partitions(source):
            for at in range(part.offset, part.offset + part.size, CHUNK):
                size = min(CHUNK, part.offset + part.size - at)
                image.seek(at)
                disk.seek(at)
                if image.read(size) != disk.read(size):
                    raise Refused(f"{target}: what was read back differs at byte {at}")


def write(options, system):
    kind = check_target(system, options.device)
    if kind != "new":
        check_contents(options.device, options.force)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(options.loader))) as folder:
        image = os.path.join(folder, "usb.img")
        if mkimage.main(["--config", options.config, "--out", image, "--swap", options.swap,
                         "--loader", options.loader, "--hypervisor", options.hypervisor,
                         *(["--checker", options.checker] if options.checker else [])]):
            return 1
        if kind != "disk":
            os.replace(image, options.device)
        else:
            size = size_of(options.device)
            if size < os.path.getsize(image):
                raise Refused(f"{options.device} has {size // MIB} MiB, "
                              f"{os.path.getsize(image) // MIB} MiB are needed")
            copy(image, options.device, size)
            verify(image, options.device)
    print(f"{options.device}: ready. Boot it by UEFI, with Secure Boot off; VT-x or AMD-V switched "
          "on in the firmware.\nConsole: the screen, and COM1 at 115200 where there is one. "
          "Telemetry: COM2.\nThe swap partition is used on IDE, SATA (AHCI) and NVMe; there is no "
          "USB driver.")
    return 0


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description="Writes a disk that a PC boots Ballast from.")
    parser.add_argument("--device", required=True, help="a whole disk, or a file")
    parser.add_argument("--force", action="store_true", help="erase what it holds")
    parser.add_argument("--config", default="experiments/usb.conf")
    parser.add_argument("--swap", default="auto")
    parser.add_argument("--loader", default="build/BOOTX64.EFI")
    parser.add_argument("--hypervisor", default="build/ballast.elf")
    parser.add_argument("--checker", default="build/checkconf")
    return parser.parse_args(arguments)


def main(arguments, system=System()):
    options = parse_arguments(arguments)
    try:
        return write(options, system)
    except Refused as reason:
        print(f"usb: {reason}", file=sys.stderr)
    except OSError as error:
        print(f"usb: {error.filename or options.device}: {error.strerror}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
