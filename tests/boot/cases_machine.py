"""Processors that will do and those that will not; what the loader refuses."""
import os

from harness import (GUEST, Case, console_says, host, not_started, verified, vm, ROOT)

FILL = vm("fill", "workload=fill seed=1 ws=4M rounds=1", memory="16M")
PLAIN = host("48M") + FILL
README = os.path.join(ROOT, "README.md")


def refused(name, reason, config=PLAIN, **more):
    """A case that ends before the first guest."""
    return Case(name, config, [], result=f"failed: {reason}", telemetry=False, **more)


def mitigated(*names, mode="auto", not_these=()):
    """The start record says that these are on, those are not."""
    def check(run):
        record = run.data.start["mitigations"]
        if record["mode"] != mode:
            return f"mitigations: mode is {record['mode']}"
        missing = [name for name in names if name not in record["on"]]
        extra = [name for name in not_these if name in record["on"]]
        return f"mitigations: {missing} missing, {extra} too many: {record}" \
            if missing or extra else ""
    return check


def l1d_flushed(run):
    """The L1D was flushed before some entries where the processor asks for it, and not
    before all; never elsewhere."""
    asked = "l1d_fill" in run.data.start["mitigations"]["on"]
    for cpu in run.data.samples[-1]["host"]["cpus"]:
        flushes, entries = cpu.get("l1d_flushes", 0), cpu["entries"]
        if (0 < flushes < entries) != asked or (flushes and not asked):
            return f"L1D flushed before {flushes} of {entries} entries, asked for: {asked}"
    return ""


CASES = [
    Case("mitigations of a processor without capability bits", PLAIN,
         [verified("fill"), mitigated("return_stuff", not_these=("verw", "ibpb")), l1d_flushed]),
    Case("mitigations switched off", PLAIN.replace("[host]\n", "[host]\nmitigations = off\n"),
         [verified("fill"), l1d_flushed,
          mitigated(mode="off", not_these=("l1d_fill", "return_stuff"))]),
    Case("processor Ice Lake, with its mitigations", PLAIN,
         [verified("fill"), mitigated("ibpb", "ibrs", "return_one", not_these=("l1d_fill",))],
         cpu="corei7_icelake_u"),
    Case("processor Tiger Lake", PLAIN,
         [verified("fill"),
          mitigated("verw", "ibpb", "ibrs", "return_one", not_these=("l1d_fill",))],
         cpu="tigerlake"),
    Case("processor Haswell", PLAIN, [verified("fill"), mitigated("l1d_fill")],
         cpu="corei7_haswell_4770"),
    # AMD-V with all that is only wanted: next RIP and flush by ASID.
    Case("processor Ryzen", PLAIN, [verified("fill"), mitigated(not_these=("l1d_fill",))],
         cpu="ryzen"),
    refused("processor without EPT", r".*EPT.*", cpu="core2_penryn_t9600"),
    refused("processor without VT-x", r".*VT-x.*", cpu="p4_prescott_celeron_336"),
    refused("processor without AMD-V", r".*AMD-V.*", cpu="athlon64_venice"),
    refused("unknown key", r"ballast\.conf:3: unknown key 'colour' .*",
            "[host]\nmemory = 48M\ncolour = red\n" + FILL),
    refused("second VM of a name", r"ballast\.conf:11: second VM named fill .*",
            "[host]\nmemory = 48M\nseed = 1\nduration = 60s\nsample = 1s\n" + FILL +
            FILL.lstrip()),
    refused("nonsense size", r"ballast\.conf:2: memory: not a size.*",
            "[host]\nmemory = lots\n" + FILL),
    refused("no VM", r"ballast\.conf:\d+: no VM.*", "[host]\nmemory = 48M\n"),
    refused("configuration missing", r"ballast\.conf:1: .*", image=["--no-config"]),
    refused("hypervisor missing", r"ballast\.elf: .*",
            image=["--hypervisor", "/nonexistent", "--allow-missing"]),
    refused("hypervisor is no ELF file", r"ballast\.elf: .*", image=["--hypervisor", README]),
    Case("bad and missing images", PLAIN + vm("text", image=README, memory="16M") +
         vm("lost", image=GUEST + ".missing", memory="16M"),
         [verified("fill"), not_started("text", r"ballast\.conf:\d+: image"),
          not_started("lost", r"ballast\.conf:\d+: image"),
          console_says(r"ballast\.conf:\d+: image .*missing")],
         result="failed: .*", image=["--allow-missing"]),
    Case("reservations that do not fit",
         PLAIN + vm("greedy", "workload=idle", memory="256M", reserve="200M"),
         [verified("fill"), not_started("greedy", r"reserv")], result="failed: .*"),
    Case("more memory than memory and swap",
         PLAIN + vm("huge", "workload=idle", memory="512M"),
         [verified("fill"), not_started("huge", r"swap|backing")], result="failed: .*",
         image=["--swap", "32M"]),
]
