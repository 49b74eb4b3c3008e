"""Tests of tools/usb.py: what it refuses, and what it writes. No real disk is
touched: the system's tables are made up, disks are files."""
import contextlib
import io
import os
import shutil
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools"))
import esp
import gpt
import usb

MIB = 1 << 20


class Usb(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ballast-usb-")
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("guest.elf", "loader", "hypervisor"):
            self.put(name, name.encode() * 1000)
        self.put("t.conf", b"[host]\nmemory = 64M\n[vm one]\nmemory = 8M\nimage = guest.elf\n")

    def put(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def path(self, name):
        return os.path.join(self.folder, name)

    def system(self, **files):
        """Tables of a computer with a disk sdb and its partition sdb1."""
        for name, text in {"sys/class/block/sdb/size": "1", "sys/class/block/sdb/sdb1/partition":
                           "1\n", "sys/class/block/sdb1/partition": "1\n", **files}.items():
            self.put("root/" + name, text.encode())
        return usb.System(self.path("root"))

    def run_usb(self, target, *more):
        """(status, what was said)."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = usb.main(["--device", target, "--config", self.path("t.conf"), "--loader",
                               self.path("loader"), "--hypervisor", self.path("hypervisor"),
                               "--checker", "", "--swap", "4M", *more], self.system())
        return status, said.getvalue()

    def refused(self, words, function, *arguments):
        with self.assertRaises(usb.Refused) as caught:
            function(*arguments)
        self.assertIn(words, str(caught.exception))

    def test_a_disk_in_use_is_refused(self):
        cases = (("mounted on /home", {"proc/self/mounts": "/dev/sdb1 /home ext4 rw 0 0\n"}),
                 ("mounted on /all", {"proc/self/mounts": "x /y z\n/dev/sdb /all vfat rw 0 0\n"}),
                 ("swap in use", {"proc/swaps": "Filename Type\n/dev/sdb1 partition 9 0 -2\n"}),
                 ("part of dm-0", {"sys/class/block/sdb1/holders/dm-0": ""}),
                 ("part of md0", {"sys/class/block/sdb/holders/md0": ""}),
                 ("read-only", {"sys/class/block/sdb/ro": "1\n"}),
                 ("512", {"sys/class/block/sdb/queue/logical_block_size": "4096\n"}))
        for words, files in cases:
            self.refused(words, usb.check_disk, self.system(**files), "/dev/sdb")
            shutil.rmtree(self.path("root"))
        self.refused("a partition", usb.check_disk, self.system(), "/dev/sdb1")

    def test_a_disk_in_nobodys_use_is_taken(self):
        others = {"proc/self/mounts": "/dev/sda1 / ext4 rw 0 0\n/dev/sdbb1 /x ext4 rw 0 0\n",
                  "proc/swaps": "Filename Type\n/dev/sda2 partition 9 0 -2\n",
                  "sys/class/block/sdb/ro": "0\n"}
        self.assertIsNone(usb.check_disk(self.system(**others), "/dev/sdb"))

    def test_odd_targets_are_refused(self):
        self.refused("neither a disk nor a file", usb.check_target, self.system(), self.folder)
        self.refused("neither a disk nor a file", usb.check_target, self.system(), "/dev/null")
        path = self.put("looped", b"")
        system = self.system(**{"sys/class/block/loop3/loop/backing_file": path + "\n"})
        self.refused("/dev/loop3", usb.check_target, system, path)

    def test_nothing_is_erased_without_leave(self):
        for held, name in ((b"\0" * 510 + b"\x55\xaa", "MBR"),
                           (b"\0" * 0x438 + b"\x53\xef", "ext4"),
                           (b"\0" * 5 + b"x", "not known"),
                           (b"\0" * (3 * MIB) + b"x" + b"\0" * 99, "not known")):
            target = self.put("held", held + bytes(MIB - 100))
            before = os.path.getsize(target)
            status, said = self.run_usb(target)
            self.assertEqual(status, 1)
            self.assertIn(name, said)
            self.assertIn("FORCE=1 erases it", said)
            self.assertEqual(os.path.getsize(target), before)

    def test_a_file_is_written_and_named_when_erased(self):
        target = self.path("new.img")
        self.assertEqual(self.run_usb(target)[0], 0)
        parts = gpt.read_partitions(target)
        self.assertEqual([part.type_guid for part in parts], [gpt.TYPE_ESP, gpt.TYPE_SWAP])
        self.assertEqual(esp.read_file(target, parts[0].offset, "/EFI/BOOT/BOOTX64.EFI"),
                         b"loader" * 1000)
        self.assertEqual(self.run_usb(target)[0], 1)
        status, said = self.run_usb(target, "--force")
        self.assertEqual(status, 0)
        self.assertIn("partition ballast-swap, 4 MiB", said)

    def test_a_larger_disk_gets_its_tables_at_its_own_end(self):
        source = self.path("small.img")
        self.run_usb(source)
        size = os.path.getsize(source) + 50 * MIB + 512
        target = self.put("disk", bytes(size))
        usb.copy(source, target, size)
        usb.verify(source, target)
        with open(target, "rb") as disk:
            disk.seek(size - 512)
            self.assertEqual(disk.read(8), b"EFI PART")
        with open(target, "r+b") as disk:
            disk.seek(gpt.read_partitions(target)[0].offset + 5000)
            disk.write(b"flip")
        self.refused("differs at byte", usb.verify, source, target)

    def test_an_empty_disk_holds_nothing(self):
        self.assertEqual(usb.contents(self.put("zero", bytes(3 * MIB))), [])
        self.assertEqual(usb.contents(self.put("nothing", b"")), [])
