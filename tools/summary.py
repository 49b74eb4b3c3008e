#!/usr/bin/python3
"""The table at the end of a run, from its telemetry (docs/telemetry.md)."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import telemetry

FAULTS = ("faults_zero", "faults_fill", "faults_cow", "faults_takeback", "faults_pool",
          "faults_swap", "faults_balloon")
STALLS = ("stall_page_in", "stall_page_out", "stall_frame", "stall_held")


def pages_text(pages):
    """Pages as MiB."""
    return f"{pages * telemetry.PAGE / (1 << 20):.1f} MiB"


def outcome_of(vm):
    """"verified", or why not, for a VM of the end record."""
    if not vm.get("started", True):
        return f"not started: {vm.get('reason', '')}"
    if vm.get("status") == 0 and not vm.get("mismatched", 0):
        return "verified" if vm.get("checked", 0) else "finished"
    return vm.get("reason") or f"status {vm.get('status')}"


def peak(vm_name, data, counter):
    return max(data.vm_series(vm_name, counter), default=0)


def vm_rows(data):
    """Header and one row of texts for each VM."""
    rows = [["VM", "memory", "in RAM (peak)", "page faults", "stalled", "checked", "mismatches",
             "outcome"]]
    for name in data.vm_names():
        vm = data.end_vm(name) or last_values(data, name)
        faults = sum(vm.get(key, 0) for key in FAULTS)
        stalls = sum(vm.get(key, 0) for key in STALLS)
        rows.append([name, pages_text(configured_of(data, name)),
                     pages_text(peak(name, data, "resident")), str(faults),
                     f"{stalls / 1e6:.2f} s", str(vm.get("checked", 0)),
                     str(vm.get("mismatched", 0)),
                     outcome_of(vm) if data.end else "unknown: the run was cut off"])
    return rows


def configured_of(data, name):
    if data.start:
        return next((vm.get("memory", 0) for vm in data.start["vms"] if vm["name"] == name), 0)
    return peak(name, data, "configured")


def last_values(data, name):
    for sample in reversed(data.samples):
        for vm in sample["vms"]:
            if vm["name"] == name:
                return vm
    return {}


def tier_rows(data):
    """Header and one row for each tier: net and gross frames freed."""
    rows = [["tier", "frames freed, gross", "net, highest", "net, at the end"]]
    host = data.end["host"] if data.end else (data.samples[-1]["host"] if data.samples else {})
    for tier in telemetry.TIERS:
        net = data.end["net"][tier] if data.end else host.get(f"net_{tier}", 0)
        rows.append([tier, str(host.get(f"freed_{tier}", 0)),
                     str(host.get(f"peak_net_{tier}", 0)), str(net)])
    rows.append(["zero and fill", str(host.get("freed_zero", 0)), "", ""])
    return rows


def fact_rows(data):
    """Figures of the whole run: (name, text)."""
    facts = []
    if data.start:
        machine = data.start["machine"]
        facts.append(("processor", machine.get("cpu", "").strip()))
        facts.append(("virtualization", machine.get("virtualization", "")))
        facts.append(("policy", data.start["policy"]))
        facts.append(("tiers", " ".join(data.start["tiers"])))
        seed = data.start["seed"]
        facts.append(("seed", "none: keys are secret" if seed is None else str(seed)))
        facts.append(("configuration", data.start["config_hash"]))
    if data.end:
        end = data.end
        facts += [("managed memory", pages_text(end["managed"])),
                  ("guest memory", pages_text(end["configured"])),
                  ("overcommitment", f"{end['configured'] / max(1, end['managed']):.2f}"),
                  ("metadata, peak", f"{end['peak'].get('metadata_ppm', 0) / 1e4:.3f} % of managed"),
                  ("nested tables, peak",
                   f"{end['peak'].get('table_ppm', 0) / 1e4:.3f} % of guest memory"),
                  ("audit", audit_text(end["audit"]))]
    if data.samples:
        facts.append(("time in the machine", f"{data.samples[-1]['t'] / 1e6:.1f} s"))
    return facts


def audit_text(audit):
    if not audit.get("violations"):
        return "clean"
    return f"{audit['violations']} violations, first: {audit.get('first', '')}"


def table(rows):
    """Rows of texts as aligned lines."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def make(folder, last_line, machine, seconds):
    """The text of summary.txt for the run in folder."""
    data = telemetry.read(os.path.join(folder, "telemetry.jsonl"))
    lines = [f"Ballast on {machine}, {seconds:.0f} s", ""]
    if data.start or data.samples:
        facts = fact_rows(data)
        width = max((len(name) for name, _ in facts), default=0)
        lines += [f"{name.ljust(width)}  {text}" for name, text in facts]
        lines += [""] + table(vm_rows(data)) + [""] + table(tier_rows(data)) + [""]
    else:
        lines += ["no telemetry", ""]
    if data.problems and (data.start or data.samples):
        lines += [f"telemetry: {problem}" for problem in data.problems[:5]] + [""]
    lines.append(last_line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(make(sys.argv[1], "", "?", 0), end="")
