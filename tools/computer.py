"""What this computer has, as far as running machines goes.

Everything is read below a root folder and through a few functions, so that a test
can show it a computer that never was.
"""
import os
import re
import shutil
from dataclasses import dataclass, field

MIB = 1 << 20

# What has to be changed where, by why_not_kvm()'s first word.
KVM_ADVICE = {
    "virtual": "this computer is a virtual machine: at its host, load kvm_intel or kvm_amd with nested=1 "
               "and give it the host's CPU model",
    "firmware": "switch on VT-x (Intel) or SVM mode (AMD) in the firmware's setup",
    "module": "load it: sudo modprobe {module}",
    "rights": "join its group: sudo usermod -aG kvm $USER, then log in again",
    "nested": "sudo sh -c 'echo options {module} nested=1 > /etc/modprobe.d/kvm-nested.conf', "
              "then reload {module} or boot again",
    "paging": "load {module} with {paging}=1, or use another processor: nested page tables are a must",
    "other": "unload it and load kvm_intel or kvm_amd, where the processor allows",
}


@dataclass
class Obstacle:
    """Why KVM cannot be had: a sentence, and what a person can do."""
    reason: str
    advice: str


@dataclass
class Computer:
    """A computer seen through its /proc, /sys, /dev and package database."""
    root: str = "/"
    which: object = shutil.which      # name of a program: its path or None
    user: int = field(default_factory=os.geteuid)

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def read(self, name):
        """Text of a file, "" when it cannot be read."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    # ---- processor and memory -------------------------------------------------

    def cpu(self, name):
        """A line of /proc/cpuinfo, of the first processor; "" when absent."""
        match = re.search(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*)$", self.read("proc/cpuinfo"),
                          re.MULTILINE)
        return match[1].strip() if match else ""

    def cpu_count(self):
        return len(re.findall(r"^processor\s*:", self.read("proc/cpuinfo"), re.MULTILINE))

    def flags(self):
        return set(self.cpu("flags").split())

    def virtualization(self):
        """"VT-x", "AMD-V" or ""."""
        flags = self.flags()
        return "VT-x" if "vmx" in flags else "AMD-V" if "svm" in flags else ""

    def memory_mib(self, name="MemAvailable"):
        match = re.search(rf"^{name}:\s+(\d+) kB", self.read("proc/meminfo"), re.MULTILINE)
        return int(match[1]) // 1024 if match else 0

    def disk_mib(self, folder="."):
        """Free space where the build and the runs go."""
        stats = os.statvfs(folder)
        return stats.f_bavail * stats.f_frsize // MIB

    # ---- packages -------------------------------------------------------------

    def is_debian(self):
        return bool(self.read("var/lib/dpkg/status"))

    def installed(self):
        """Names of the Debian packages that are installed."""
        found = set()
        for block in self.read("var/lib/dpkg/status").split("\n\n"):
            name = re.search(r"^Package: (\S+)", block, re.MULTILINE)
            if name and re.search(r"^Status: install ok installed$", block, re.MULTILINE):
                found.add(name[1])
        return found

    # ---- KVM --------------------------------------------------------------------

    def module(self):
        return "kvm_intel" if self.virtualization() == "VT-x" else "kvm_amd"

    def parameter(self, name):
        """Whether a switch of KVM's module is on; None: it has no such switch."""
        text = self.read(f"sys/module/{self.module()}/parameters/{name}").strip()
        return None if not text else text in ("1", "Y")

    def other_kvm(self):
        """A KVM of another kind that is loaded, "" when there is none."""
        try:
            names = os.listdir(self.path("sys/module"))
        except OSError:
            return ""
        return next((name for name in sorted(names) if name.startswith("kvm_")
                     and name not in ("kvm_intel", "kvm_amd")), "")

    def _obstacle(self, kind, reason):
        paging = "ept" if self.module() == "kvm_intel" else "npt"
        return Obstacle(reason, KVM_ADVICE[kind].format(module=self.module(), paging=paging))

    def why_not_nested(self):
        """None when KVM here offers virtualization to its guests, else an Obstacle."""
        if not self.virtualization():
            if self.other_kvm():
                return self._obstacle("virtual" if "hypervisor" in self.flags() else "other",
                                      f"{self.other_kvm()}, the KVM that is loaded, offers its "
                                      "guests no VT-x or AMD-V")
            if "hypervisor" in self.flags():
                return self._obstacle("virtual", "this virtual machine was given no VT-x or AMD-V")
            return self._obstacle("firmware", "this processor offers neither VT-x nor AMD-V")
        device = self.path("dev/kvm")
        if not os.path.exists(device):
            return self._obstacle("module", "there is no /dev/kvm")
        if self.user != 0 and not os.access(device, os.R_OK | os.W_OK):
            return self._obstacle("rights", "/dev/kvm may not be opened")
        if not self.parameter("nested"):
            return self._obstacle("nested", f"{self.module()} offers {self.virtualization()} to "
                                  "no guest (nested=0)")
        if self.parameter("ept" if self.module() == "kvm_intel" else "npt") is False:
            return self._obstacle("paging", f"{self.module()} runs without nested page tables")
        return None
