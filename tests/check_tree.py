#!/usr/bin/python3
"""Rules of the source tree that no compiler checks.

  include rules    who may include whom (docs/tour.md)
  headers          each compiles alone
  lengths          no source file above 700 lines
  leftovers        no markers of unfinished work, no tabs or spaces at line ends
  documents        every link to a file in the tree leads somewhere
  counters         docs/telemetry.md lists what mm/counters.h has
  mutants          each change of tests/mutants.txt fits the sources

Prints one line a rule, with what breaks it below; --result FILE gets
PASSED FAILED SKIPPED.
"""
import concurrent.futures
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LONGEST = 700
SOURCE_SUFFIXES = (".c", ".h", ".asm", ".py", ".mk", ".ld", ".sh")

# Folder: what its files may include, besides what they own and <std...> headers
# that a freestanding compiler has.
MAY_INCLUDE = {
    "abi/": ("abi/",),
    "lib/": ("lib/", "abi/"),
    "mm/": ("mm/", "lib/", "abi/"),
    "drivers/": ("drivers/", "lib/", "mm/block.h", "abi/virtio.h"),
    "hv/": ("hv/", "mm/", "lib/", "abi/", "drivers/"),
    "boot/": ("boot/", "lib/", "abi/", "hv/boot_info.h", "hv/config.h"),
    "guest-driver/": ("guest-driver/", "abi/", "lib/"),
    "tests/guest/": ("tests/guest/", "guest-driver/", "abi/", "lib/"),
}
# Vendor definitions are visible to that vendor's files alone.
VENDOR_HEADERS = {re.compile(r"hv/vmcs.*\.h|hv/vmx.*\.h"): re.compile(r"hv/(vmx|vmcs).*"),
                  re.compile(r"hv/(svm|vmcb).*\.h"): re.compile(r"hv/svm.*")}
FREESTANDING_HEADERS = {"stdint.h", "stddef.h", "stdbool.h", "stdarg.h", "limits.h",
                        "stdnoreturn.h", "stdalign.h", "cpuid.h", "immintrin.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MARKDOWN_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def tracked_files():
    """Files git knows or would take; all files where there is no git."""
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    if done.returncode == 0:
        files = done.stdout.split("\n")
    else:
        files = [os.path.relpath(os.path.join(folder, name), ROOT)
                 for folder, _, names in os.walk(ROOT) for name in names
                 if not re.search(r"/(build|out|\.git|__pycache__)(/|$)", folder)]
    return sorted(name for name in files if name and os.path.isfile(os.path.join(ROOT, name)))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def area_of(name):
    return next((area for area in MAY_INCLUDE if name.startswith(area)), None)


def allowed(name, quote, header):
    """Whether file `name` may include `header`."""
    area = area_of(name)
    if area is None:
        return True
    if quote == "<":
        return header in FREESTANDING_HEADERS or (area == "boot/" and header.startswith("efi"))
    for vendor, users in VENDOR_HEADERS.items():
        if vendor.fullmatch(header) and not users.fullmatch(name):
            return public_to(name, header)
    return header.startswith(MAY_INCLUDE[area])


def public_to(name, header):
    """A vendor's one public header: it gives the table of functions, no
    definition of the manual's."""
    text = read(header) if os.path.exists(os.path.join(ROOT, header)) else ""
    return name.startswith("hv/") and "struct vcpu_ops" in text


def check_includes(files):
    found = []
    for name in files:
        if name.endswith((".c", ".h")):
            text = read(name)
            for match in INCLUDE.finditer(text):
                if not allowed(name, match[1], match[2]):
                    line = text.count("\n", 0, match.start()) + 1
                    found.append(f"{name}:{line}: may not include {match[2]}")
    return found


def compile_flags(name):
    flags = ["gcc", "-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-I.", "-x", "c"]
    if name.startswith("boot/"):
        flags += ["-ffreestanding", "-fshort-wchar", "-DGNU_EFI_USE_MS_ABI",
                  "-isystem", "/usr/include/efi", "-isystem", "/usr/include/efi/x86_64"]
    elif not name.startswith("tests/host/"):
        flags += ["-ffreestanding", "-mgeneral-regs-only"]
    return flags


def compile_alone(name):
    source = f'#include "{name}"\n#include "{name}"\n'
    done = subprocess.run(compile_flags(name) + ["-"], input=source, cwd=ROOT, text=True,
                          capture_output=True, check=False)
    first = next((line for line in done.stderr.splitlines() if "error" in line), "")
    return f"{name}: does not compile alone: {first}" if done.returncode else None


def check_headers(files):
    headers = [name for name in files if name.endswith(".h")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [problem for problem in pool.map(compile_alone, headers) if problem]


def check_lengths(files):
    found = []
    for name in files:
        if name.endswith(SOURCE_SUFFIXES):
            count = read(name).count("\n")
            if count > LONGEST:
                found.append(f"{name}: {count} lines, {LONGEST} are the most")
    return found


def check_leftovers(files):
    found = []
    for name in files:
        if not name.endswith(SOURCE_SUFFIXES) or name == "tests/check_tree.py":
            continue
        for number, line in enumerate(read(name).split("\n"), 1):
            if LEFTOVER.search(line):
                found.append(f"{name}:{number}: unfinished work")
            if line != line.rstrip():
                found.append(f"{name}:{number}: space at the end of the line")
            if "\t" in line and name.endswith((".c", ".h", ".py")):
                found.append(f"{name}:{number}: tab")
    return found


def check_documents(files):
    found = []
    for name in files:
        if not name.endswith(".md"):
            continue
        for number, line in enumerate(read(name).split("\n"), 1):
            for target in MARKDOWN_LINK.findall(line):
                if re.match(r"[a-z]+:|#", target):
                    continue
                path = os.path.join(ROOT, os.path.dirname(name), target.split("#")[0])
                if not os.path.exists(path):
                    found.append(f"{name}:{number}: {target} does not exist")
    return found


def check_counters(_files):
    done = subprocess.run([sys.executable, "tools/counters.py", "--check"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stderr.strip() or done.stdout.strip()]


def check_mutants(_files):
    done = subprocess.run([sys.executable, "tests/mutants.py", "--check"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else done.stdout.splitlines()


RULES = (("include rules", check_includes), ("headers compile alone", check_headers),
         ("file lengths", check_lengths), ("leftovers", check_leftovers),
         ("links in documents", check_documents), ("counters documented", check_counters),
         ("mutants fit the sources", check_mutants))


def main(arguments):
    files = tracked_files()
    passed = failed = 0
    for title, rule in RULES:
        problems = rule(files)
        passed, failed = passed + (not problems), failed + bool(problems)
        print(f"{'FAIL' if problems else 'PASS'}  tree: {title}")
        for problem in problems:
            print(f"      {problem}")
    if arguments[:1] == ["--result"]:
        with open(arguments[1], "w", encoding="ascii") as file:
            file.write(f"{passed} {failed} 0\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
