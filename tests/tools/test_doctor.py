"""Tests of tools/computer.py, tools/doctor.py and the choice of a machine, on
computers that never were."""
import os
import shutil
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tools"))
import computer
import doctor
import machines

EVERY_PROGRAM = ("bochs-bin", "qemu-system-x86_64", "sudo")


class Fake(unittest.TestCase):
    def computer(self, flags="lm", user=1000, programs=EVERY_PROGRAM, missing=(), debian=True,
                 memory_mib=8192, **files):
        """A computer with those flags; files maps a path with _ for / to text."""
        root = tempfile.mkdtemp(prefix="ballast-computer-")
        self.addCleanup(shutil.rmtree, root)
        status = "\n\n".join(
            f"Package: {name}\nStatus: {'deinstall ok config-files' if name in missing else 'install ok installed'}"
            for name in doctor.wanted_packages())
        content = {"proc/cpuinfo": "".join(f"processor\t: {i}\nmodel name\t: Test CPU\n"
                                           f"flags\t\t: fpu {flags}\n\n" for i in range(2)),
                   "proc/meminfo": f"MemTotal: 999 kB\nMemAvailable:  {memory_mib * 1024} kB\n",
                   "var/lib/dpkg/status": status if debian else "", **files}
        for path, text in content.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        return computer.Computer(root, lambda name: f"/bin/{name}" if name in programs else None,
                                 user)

    def kvm(self, module, nested="Y", **more):
        """Files of a computer with KVM."""
        paging = "ept" if module == "kvm_intel" else "npt"
        return {"dev/kvm": "", f"sys/module/{module}/parameters/nested": nested + "\n",
                f"sys/module/{module}/parameters/{paging}": more.get("paging", "Y") + "\n"}


class Choice(Fake):
    def test_kvm_first_on_both_vendors(self):
        for flag, module, name in (("vmx", "kvm_intel", "VT-x"), ("svm", "kvm_amd", "AMD-V")):
            for nested in ("Y", "1"):
                this = self.computer("lm " + flag, **self.kvm(module, nested))
                chosen, reason = machines.choose("auto", this)
                self.assertEqual(chosen, "kvm")
                self.assertIn(name, reason)

    def test_then_bochs_then_tcg_then_nothing(self):
        self.assertEqual(machines.choose("auto", self.computer())[0], "bochs")
        this = self.computer(programs=("qemu-system-x86_64",))
        chosen, reason = machines.choose("auto", this)
        self.assertEqual(chosen, "tcg")
        self.assertIn("bochs-bin is not installed", reason)
        chosen, reason = machines.choose("auto", self.computer(programs=()))
        self.assertIsNone(chosen)
        self.assertIn("qemu-system-x86_64 is not installed", reason)

    def test_kvm_without_qemu_is_no_kvm(self):
        this = self.computer("lm svm", programs=("bochs-bin",), **self.kvm("kvm_amd"))
        self.assertEqual(machines.choose("auto", this)[0], "bochs")
        self.assertIn("qemu", machines.choose("kvm", this)[1])

    def test_a_wish_is_granted_or_explained(self):
        this = self.computer()
        for name in ("bochs", "tcg"):
            self.assertEqual(machines.choose(name, this), (name, "asked for"))
        self.assertIsNone(machines.choose("kvm", this)[0])
        self.assertIsNone(machines.choose("pdp11", this)[0])


class Kvm(Fake):
    def obstacle(self, *arguments, **more):
        return self.computer(*arguments, **more).why_not_nested()

    def test_every_obstacle_by_name(self):
        cases = (
            ("neither VT-x nor AMD-V", "firmware", self.obstacle("lm")),
            ("virtual machine", "at its host", self.obstacle("lm hypervisor")),
            ("kvm_pvm", "at its host", self.obstacle("lm hypervisor", **{
                "sys/module/kvm_pvm/x": "", "dev/kvm": ""})),
            ("kvm_pvm", "unload", self.obstacle("lm", **{"sys/module/kvm_pvm/x": ""})),
            ("no /dev/kvm", "modprobe kvm_intel", self.obstacle("lm vmx")),
            ("no /dev/kvm", "modprobe kvm_amd", self.obstacle("lm svm")),
            ("nested=0", "kvm_intel nested=1",
             self.obstacle("lm vmx", **self.kvm("kvm_intel", "N"))),
            ("nested=0", "kvm_amd nested=1", self.obstacle("lm svm", **self.kvm("kvm_amd", "0"))),
            ("nested=0", "nested", self.obstacle("lm svm", **{"dev/kvm": ""})),
            ("without nested page tables", "ept=1",
             self.obstacle("lm vmx", **self.kvm("kvm_intel", paging="N"))),
            ("without nested page tables", "npt=1",
             self.obstacle("lm svm", **self.kvm("kvm_amd", paging="0"))))
        for reason, advice, obstacle in cases:
            self.assertIn(reason, obstacle.reason)
            self.assertIn(advice, obstacle.advice)

    def test_rights_of_the_device(self):
        this = self.computer("lm vmx", **self.kvm("kvm_intel"))
        os.chmod(this.path("dev/kvm"), 0)
        if os.geteuid() != 0:  # nothing is closed to root
            self.assertIn("may not be opened", this.why_not_nested().reason)
        this.user = 0
        self.assertIsNone(this.why_not_nested())

    def test_another_word_is_no_flag(self):
        self.assertEqual(self.computer("lm vmxnet svm_lock").virtualization(), "")


class Doctor(Fake):
    def examine(self, disk_mib=100000, **more):
        report = doctor.examine(self.computer(**more), disk_mib)
        return report.problems, " ".join(" ".join(report.lines).split())

    def test_a_good_computer(self):
        problems, text = self.examine(flags="lm vmx", **self.kvm("kvm_intel"))
        self.assertEqual(problems, 0)
        self.assertIn("Test CPU, 2 processors", text)
        self.assertIn("make run takes kvm (KVM here offers nested VT-x)", text)
        self.assertNotIn("note", text)

    def test_emulators_are_enough(self):
        problems, text = self.examine()
        self.assertEqual(problems, 0)
        self.assertIn("make run takes bochs", text)
        self.assertIn("MACHINE=kvm: not now", text)

    def test_what_is_a_problem(self):
        cases = (({"memory_mib": 100}, "100 MiB of memory"), ({"disk_mib": 10}, "10 MiB are free"),
                 ({"flags": "fpu"}, "not an x86-64"), ({"debian": False}, "not Debian"),
                 ({"missing": ("nasm",), "programs": ("bochs-bin",)}, "apt-get install nasm"))
        for change, words in cases:
            problems, text = self.examine(**change)
            self.assertEqual(problems, 1, text)
            self.assertIn(words, text)

    def test_packages_that_make_installs_are_no_problem(self):
        for more in ({"user": 0, "programs": ()}, {"programs": ("sudo",)}):
            problems, text = self.examine(missing=("bochs", "nasm"), **more)
            self.assertEqual(problems, 0, text)
            self.assertIn("packages missing: nasm bochs", text)
            self.assertIn("once it has installed it", text)

    def test_a_computer_that_says_nothing(self):
        empty = tempfile.mkdtemp(prefix="ballast-computer-")
        self.addCleanup(shutil.rmtree, empty)
        report = doctor.examine(computer.Computer(empty, lambda name: None, 1000), 0)
        self.assertEqual(report.problems, 5)

    def test_lines_are_short(self):
        report = doctor.examine(self.computer("lm vmx"), 100000)
        for line in report.lines:
            self.assertLessEqual(len(line), 100)
