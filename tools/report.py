#!/usr/bin/python3
"""report.html: a run as one file that opens offline.

As a command: `report.py FOLDER` makes it anew from FOLDER/telemetry.jsonl.
"""
import html
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import summary
import telemetry

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #eef1f4; color: #1f2933;
       font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 20px 60px; }
header { display: flex; align-items: baseline; gap: 16px; flex-wrap: wrap; }
h1 { font-size: 26px; margin: 0; letter-spacing: .01em; }
h2 { font-size: 17px; margin: 0 0 4px; }
p.note { margin: 0 0 10px; color: #5b6672; font-size: 13.5px; max-width: 75ch; }
section { background: #fff; border-radius: 10px; padding: 18px 22px 16px; margin-top: 18px;
          box-shadow: 0 1px 2px rgba(20, 30, 40, .12); }
.badge { padding: 3px 12px; border-radius: 999px; font-weight: 600; font-size: 14px; }
.ok { background: #d9f2df; color: #17653a; }
.failed { background: #fbdcd8; color: #8c2317; }
.big { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 18px; }
.big div { background: #fff; border-radius: 10px; padding: 10px 18px; flex: 1 1 130px;
           box-shadow: 0 1px 2px rgba(20, 30, 40, .12); }
.big b { display: block; font-size: 23px; font-weight: 600; }
.big span { color: #5b6672; font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #47525e; border-bottom: 2px solid #d5dbe1; }
th, td { padding: 5px 14px 5px 0; font-size: 14px; }
td { border-bottom: 1px solid #edf0f3; }
td.number, th.number { text-align: right; }
td.bad { color: #8c2317; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 0;
     font-size: 14px; }
dt { color: #5b6672; } dd { margin: 0; }
svg { display: block; height: auto; }
ol.events { columns: 2; font-size: 13px; padding-left: 0; list-style: none; margin: 0; }
ol.events b { display: inline-block; min-width: 64px; font-weight: 400; color: #5b6672; }
footer { color: #7b8794; font-size: 13px; margin-top: 18px; }
"""

EVENTS_SHOWN = 60


def escape(text):
    return html.escape(str(text))


def section(title, note, body):
    note = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{note}{body}</section>"


def is_number(text):
    return text.replace(".", "").replace("-", "").removesuffix(" MiB").removesuffix(" s").isdigit()


def html_table(rows):
    """Rows of texts; the first is the heading. Numbers stand to the right."""
    out = ["<table>"]
    for index, row in enumerate(rows):
        tag = "td" if index else "th"
        cells = []
        for column, cell in enumerate(row):
            sample = rows[min(1, len(rows) - 1)][column]
            kind = ' class="number"' if is_number(sample) else ""
            cells.append(f"<{tag}{kind}>{escape(cell)}</{tag}>")
        out.append("<tr>" + "".join(cells) + "</tr>")
    return "".join(out) + "</table>"


def tiles(data):
    """The figures one wants to see first."""
    if not data.end:
        return ""
    end = data.end
    started = [vm for vm in end["vms"] if vm.get("started")]
    shown = [(f"{end['configured'] / max(1, end['managed']):.2f} ×", "overcommitted"),
             (summary.pages_text(end["managed"]), "host memory managed"),
             (summary.pages_text(end["configured"]), f"memory of {len(started)} guests"),
             (f"{sum(vm.get('checked', 0) for vm in started):,}", "pages verified"),
             (f"{sum(vm.get('mismatched', 0) for vm in started):,}", "mismatches")]
    return '<div class="big">' + "".join(
        f"<div><b>{escape(figure)}</b><span>{escape(text)}</span></div>"
        for figure, text in shown) + "</div>"


def facts(data):
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
                            for name, text in summary.fact_rows(data)) + "</dl>"


def event_text(event):
    kind = event.get("event")
    if kind in ("state", "target", "balloon"):
        who = event.get("vm", "host")
        return f"{who}: {kind} {event.get('old')} → {event.get('new')}"
    rest = ", ".join(f"{key} {value}" for key, value in event.items()
                     if key not in ("record", "t", "event", "vm") and value not in ("", None))
    return " ".join(part for part in (f"{event['vm']}:" if event.get("vm") else "",
                                      str(kind).replace("_", " "), rest) if part)


def events(data):
    """All events but changes of targets, which the charts show."""
    shown = [event for event in data.events if event.get("event") != "target"]
    items = "".join(f"<li><b>{event['t'] / 1e6:.3f} s</b> {escape(event_text(event))}</li>"
                    for event in shown[:EVENTS_SHOWN])
    more = len(shown) - EVENTS_SHOWN
    if more > 0:
        items += f"<li>and {more} more in telemetry.jsonl</li>"
    return f'<ol class="events">{items}</ol>'


def chart_sections(data):
    import charts  # matplotlib takes a second to load: only when there is something to draw
    out = [section("Free memory of the host", "Free frames against the thresholds; the "
                   "background is the pressure state that was in force. Cut off above three "
                   "times minFree.", charts.host_free(data)),
           section("What the host's frames hold", "All memory the core manages.",
                   charts.host_frames(data)),
           section("What each tier yields", "Frames freed by each tier, less what it cost: "
                   "pages brought back, pool frames, copies.", charts.tiers(data))]
    for name in data.vm_names():
        if any(data.vm_series(name, "configured")):
            out.append(section(f"Homes of {name}'s pages",
                               "Every page of the guest has exactly one home.",
                               charts.vm_homes(data, name)))
    out.append(section("Faults", "Page faults of all guests by kind.", charts.faults(data)))
    out.append(section("Waiting", "vCPUs that wait for memory, by cause.", charts.stalls(data)))
    return out


def page(data, last_line, machine):
    """The whole document."""
    good = last_line.endswith("result ok")
    result = last_line.removeprefix("ballast: ") or "no result"
    parts = [f'<header><h1>Ballast</h1><span class="badge {"ok" if good else "failed"}">'
             f"{escape(result)}</span><span>{escape(machine)}</span></header>", tiles(data)]
    if data.vm_names():
        parts.append(section("Guests", "", html_table(summary.vm_rows(data))))
        parts.append(section("Tiers", "", html_table(summary.tier_rows(data))))
    if len(data.samples) >= 2:
        parts += chart_sections(data)
    else:
        parts.append(section("No charts", "The telemetry holds fewer than two samples.", ""))
    if data.events:
        parts.append(section("Events", "", events(data)))
    if data.start:
        parts.append(section("Run", "", facts(data)))
    if data.problems:
        parts.append(section("Problems of the telemetry", "", "<br>".join(
            escape(problem) for problem in data.problems[:20])))
    parts.append("<footer>Made from telemetry.jsonl, described in docs/telemetry.md.</footer>")
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>Ballast: {escape(result)}</title><style>{STYLE}</style></head>"
            f"<body><main>{''.join(parts)}</main></body></html>\n")


def write(folder, path, last_line, machine):
    """Makes the report of the run in folder."""
    data = telemetry.read(os.path.join(folder, "telemetry.jsonl"))
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(data, last_line, machine))


def main(arguments):
    if len(arguments) != 1:
        print("usage: report.py FOLDER", file=sys.stderr)
        return 2
    folder = arguments[0]
    data = telemetry.read(os.path.join(folder, "telemetry.jsonl"))
    result = data.end["result"] if data.end else "failed: no end record"
    if data.end and data.end["reason"]:
        result += f": {data.end['reason']}"
    write(folder, os.path.join(folder, "report.html"), f"ballast: result {result}", "")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
