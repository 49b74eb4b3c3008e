#!/usr/bin/python3
"""Tests of tools/: images, configuration files, telemetry, reports.

Prints one line a test and leaves PASSED FAILED SKIPPED in the file that
--result names.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tools")]
import configfile
import esp
import gpt
import machines
import mkimage
import report
import runner
import summary
import synthetic
import telemetry
import test_doctor
import test_usb

OTHERS = (test_doctor, test_usb)

CONFIG = """\
# a comment
[host]
memory = 64M

[vm one]
memory = 44M
image = guest.elf   # where it is
[vm two]
memory = 20M
image = sub/guest.elf
"""


class WithFolder(unittest.TestCase):
    """A folder with a configuration, images and stand-ins for what is built."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="ballast-tools-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.mkdir(self.path("sub"))
        for name in ("guest.elf", "sub/guest.elf", "loader", "hypervisor"):
            self.put(name, name.encode() * 1000)
        self.put("t.conf", CONFIG.encode())

    def path(self, name):
        return os.path.join(self.folder, name)

    def put(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)

    def make_image(self, name, *more):
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "tools", "mkimage.py"), "--config",
             self.path("t.conf"), "--loader", self.path("loader"), "--hypervisor",
             self.path("hypervisor"), "--out", self.path(name), *more],
            capture_output=True, text=True, check=False)
        return done.returncode, done.stderr.strip()


class Image(WithFolder):
    def test_same_inputs_give_the_same_bytes(self):
        for name in ("a.img", "b.img"):
            self.assertEqual(self.make_image(name), (0, ""))
        with open(self.path("a.img"), "rb") as a, open(self.path("b.img"), "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_partitions_and_both_tables(self):
        self.make_image("a.img")
        parts = gpt.read_partitions(self.path("a.img"))
        self.assertEqual([part.type_guid for part in parts], [gpt.TYPE_ESP, gpt.TYPE_SWAP])
        with open(self.path("a.img"), "rb") as disk:
            data = disk.read()
        self.assertEqual(data[510:512], b"\x55\xaa")
        self.assertEqual(data[-512:-504], b"EFI PART")
        self.assertEqual(data[1024:1024 + 16384], data[-512 - 16384:-512])
        self.assertGreater(parts[1].first, parts[0].last)
        if shutil.which("sgdisk"):
            text = subprocess.run(["sgdisk", "-v", self.path("a.img")], capture_output=True,
                                  text=True, check=True).stdout
            self.assertIn("No problems found", text)

    def test_files_and_rewritten_configuration(self):
        self.make_image("a.img")
        part = gpt.read_partitions(self.path("a.img"))[0]
        read = lambda path: esp.read_file(self.path("a.img"), part.offset, path)
        written = read("/ballast/ballast.conf").decode()
        self.assertEqual(len(written.splitlines()), len(CONFIG.splitlines()))
        self.assertIn("image = guest.elf   # where it is", written)
        self.assertIn("image = guest-2.elf\n", written)
        self.assertEqual(read("/ballast/guest.elf"), b"guest.elf" * 1000)
        self.assertEqual(read("/ballast/guest-2.elf"), b"sub/guest.elf" * 1000)
        self.assertEqual(read("/EFI/BOOT/BOOTX64.EFI"), b"loader" * 1000)

    def test_swap_signature(self):
        self.make_image("a.img")
        self.make_image("b.img", "--swap-unsigned")
        self.make_image("c.img", "--swap", "2M")
        self.make_image("d.img", "--no-swap")
        first = lambda name: self.swap_sector(name)[:11]
        self.assertEqual(first("a.img"), b"BALLASTSWAP")
        self.assertEqual(first("b.img"), bytes(11))
        self.assertEqual(gpt.find_partition(self.path("c.img"), gpt.TYPE_SWAP).size, 2 << 20)
        self.assertIsNone(gpt.find_partition(self.path("d.img"), gpt.TYPE_SWAP))

    def swap_sector(self, name):
        with open(self.path(name), "rb") as disk:
            disk.seek(gpt.find_partition(self.path(name), gpt.TYPE_SWAP).offset)
            return disk.read(512)

    def test_missing_image_names_file_and_line(self):
        os.remove(self.path("sub/guest.elf"))
        status, message = self.make_image("a.img")
        self.assertEqual(status, 1)
        self.assertRegex(message, rf"^{re.escape(self.path('t.conf'))}:10: .*No such file")
        self.assertEqual(len(message.splitlines()), 1)
        self.assertEqual(self.make_image("a.img", "--allow-missing"), (0, ""))

    def test_sizes(self):
        self.assertEqual(configfile.parse_size("96M"), 96 << 20)
        self.assertEqual(configfile.parse_size("4096"), 4096)
        self.assertIsNone(configfile.parse_size("many"))
        self.assertEqual(configfile.ConfigFile(self.path("t.conf")).guest_bytes, 64 << 20)
        self.assertGreater(mkimage.default_swap_bytes(
            configfile.ConfigFile(self.path("t.conf"))), (64 << 20) * 9 // 8)


class Machines(unittest.TestCase):
    def test_choice_names_its_reason(self):
        name, reason = machines.choose("auto")
        self.assertIn(name, machines.MACHINES)
        self.assertTrue(reason)
        self.assertEqual(machines.choose("bochs")[0], "bochs")
        self.assertIsNone(machines.choose("pdp11")[0])

    def test_console_lines_are_cleaned(self):
        self.assertEqual(runner.clean(b"\x1b[2J\x1b[01;01HBdsDxe\x1b[0m: ok\r"), "BdsDxe: ok")


class Telemetry(WithFolder):
    def write(self, text):
        self.put("telemetry.jsonl", text.encode())
        return telemetry.read(self.path("telemetry.jsonl"))

    def test_good_file_has_no_problems(self):
        data = self.write(synthetic.as_text(synthetic.records()))
        self.assertEqual(data.problems, [])
        self.assertEqual(len(data.samples), 120)

    def test_cut_file_is_read_as_far_as_it_goes(self):
        text = synthetic.as_text(synthetic.records())
        data = self.write(text[:len(text) // 2])
        self.assertGreater(len(data.samples), 10)
        self.assertIn("no end record", data.problems)

    def test_faults_are_found(self):
        bad = [("no JSON", lambda items: "{\n"),
               ("unknown record", lambda items: synthetic.as_text(items + [
                   {"record": "odd", "t": 1e9}])),
               ("seq is", lambda items: synthetic.as_text(items[:3] + items[4:])),
               ("time runs", lambda items: synthetic.as_text(
                   items[:1] + [dict(items[1], t=9e9)] + items[2:])),
               ("after the end", lambda items: synthetic.as_text(items + [items[-1]]))]
        for wanted, break_it in bad:
            problems = self.write(break_it(synthetic.records())).problems
            self.assertTrue(any(wanted in problem for problem in problems), wanted)

    def test_reports_of_whole_cut_and_empty_files(self):
        text = synthetic.as_text(synthetic.records())
        for content in (text, text[:len(text) // 2], text[:5000], ""):
            self.put("telemetry.jsonl", content.encode())
            report.write(self.folder, self.path("report.html"), "ballast: result ok", "bochs")
            with open(self.path("report.html"), encoding="utf-8") as file:
                page = file.read()
            self.assertTrue(page.endswith("</html>\n"))
            self.assertNotIn("<CPU>", page)
            self.assertIsNone(re.search(r'(?:src|href)="http', page))
            lines = summary.make(self.folder, "the last line", "bochs", 1).splitlines()
            self.assertEqual(lines[-1], "the last line")

    def test_report_has_a_chart_of_everything(self):
        self.put("telemetry.jsonl", synthetic.as_text(synthetic.records()).encode())
        report.write(self.folder, self.path("report.html"), "ballast: result ok", "bochs")
        with open(self.path("report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertEqual(page.count("<svg "), 5 + len(synthetic.NAMES))
        for name in synthetic.NAMES:
            self.assertIn(f"Homes of {name}", page)


def load_tests(loader, tests, _pattern):
    """The tests of this file and of the others beside it."""
    for module in OTHERS:
        tests.addTests(loader.loadTestsFromModule(module))
    return tests


def main():
    program = unittest.main(argv=sys.argv[:1] + ["-v"], exit=False)
    result = program.result
    bad, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    if sys.argv[1:2] == ["--result"]:
        with open(sys.argv[2], "w", encoding="ascii") as file:
            file.write(f"{result.testsRun - bad - skipped} {bad} {skipped}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
