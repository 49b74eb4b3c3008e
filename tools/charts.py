"""Charts of a run, drawn by matplotlib, as SVG texts for report.html."""
import io
import re

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update({
    "svg.hashsalt": "ballast",  # same telemetry, same bytes
    "svg.fonttype": "none", "font.family": ["DejaVu Sans", "sans-serif"], "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": "#47525e", "xtick.color": "#5b6672", "ytick.color": "#5b6672",
    "axes.grid": True, "grid.color": "#e4e8ec", "grid.linewidth": 0.7, "axes.axisbelow": True,
    "legend.frameon": False, "lines.linewidth": 1.5, "path.simplify": True,
    "figure.facecolor": "none",
})
from matplotlib import pyplot  # noqa: E402

import telemetry  # noqa: E402

MIB_PER_PAGE = telemetry.PAGE / (1 << 20)
WIDTH = 9.4

# Homes from what lies in RAM as it is to what is far away; one colour each, in
# every chart.
HOMES = (("private", "private frame", "#2f6db5"), ("shared", "shared frame", "#46a6a1"),
         ("pool", "compressed pool", "#e0a030"), ("swap", "swap area", "#c4493c"),
         ("busy", "on its way", "#6b4c9a"), ("balloon", "balloon", "#8fbf5f"),
         ("fill", "one word repeated", "#c7b8dd"), ("zero", "zero", "#e6e9ed"))
TIER_COLOURS = {"share": "#46a6a1", "balloon": "#8fbf5f", "compress": "#e0a030",
                "swap": "#c4493c"}
FRAMES = (("frames_private", "private", "#2f6db5"), ("frames_shared", "shared", "#46a6a1"),
          ("frames_pool", "compressed pool", "#e0a030"),
          ("frames_table", "nested tables", "#7c6f64"), ("frames_free", "free", "#e6e9ed"))
FAULTS = (("faults_zero", "first touch", "#9aa5b1"), ("faults_fill", "fill", "#c7b8dd"),
          ("faults_cow", "copy on write", "#46a6a1"), ("faults_takeback", "taken back", "#2b7a78"),
          ("faults_pool", "from the pool", "#e0a030"), ("faults_swap", "from swap", "#c4493c"),
          ("faults_balloon", "ballooned page", "#8fbf5f"))
STALLS = (("stall_page_in", "waiting for swap reads", "#c4493c"),
          ("stall_page_out", "page on its way out", "#6b4c9a"),
          ("stall_frame", "waiting for a frame", "#2f6db5"),
          ("stall_held", "held above target", "#47525e"))
STATE_COLOURS = {"high": "#ffffff", "clear": "#f0f6ea", "soft": "#fff4d6", "hard": "#ffe3cf",
                 "low": "#ffd0cc"}


def svg_of(figure):
    """The figure as an <svg> element, closed afterwards."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    return re.sub(r'<svg ([^>]*?)width="[^"]*"', r'<svg \1width="100%"', text, count=1).replace(
        'height="', 'data-height="', 1)


def new_axes(height=2.8):
    """Axes that start and end at the same place in every chart."""
    figure, axes = pyplot.subplots(figsize=(WIDTH, height))
    figure.subplots_adjust(left=0.07, right=0.79, top=0.96, bottom=0.45 / height)
    return figure, axes


def stack(axes, seconds, series):
    """Stacked areas for [(values, label, colour)], leaving out what is never there."""
    shown = [entry for entry in series if any(entry[0])]
    if shown:
        axes.stackplot(seconds, [entry[0] for entry in shown],
                       labels=[entry[1] for entry in shown],
                       colors=[entry[2] for entry in shown], linewidth=0)
    axes.set_xlim(seconds[0], max(seconds[-1], seconds[0] + 1e-3))


def legend_right(axes):
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.02))


def megabytes(pages):
    return [value * MIB_PER_PAGE for value in pages]


def state_spans(data):
    """[(from second, to second, state)] of host pressure."""
    spans = []
    for sample in data.samples:
        now, state = sample["t"] / 1e6, sample["host"].get("state", "high")
        if spans and spans[-1][2] == state:
            spans[-1][1] = now
        else:
            if spans:
                spans[-1][1] = now
            spans.append([now, now, state])
    return spans


def shade_states(axes, data):
    seen = set()
    for start, end, state in state_spans(data):
        axes.axvspan(start, end, color=STATE_COLOURS.get(state, "#ffffff"), linewidth=0,
                     label=None if state in seen else f"state {state}", zorder=0)
        seen.add(state)


def host_free(data):
    """Free memory of the host over the bands of its states."""
    figure, axes = new_axes()
    seconds = data.seconds()
    shade_states(axes, data)
    axes.plot(seconds, megabytes(data.host_series("frames_free")), color="#1f2933", label="free")
    minimum = data.host_series("min_free")
    axes.plot(seconds, megabytes(minimum), color="#5b6672", linestyle="--", linewidth=1,
              label="minFree (clear)")
    for percent, name in ((64, "soft"), (32, "hard"), (16, "low")):
        axes.plot(seconds, megabytes([value * percent / 100 for value in minimum]),
                  color="#9aa5b1", linestyle=":", linewidth=0.9, label=f"{name}, default ratio")
    axes.set_ylabel("MiB")
    axes.set_xlabel("seconds")
    axes.set_xlim(seconds[0], max(seconds[-1], seconds[0] + 1e-3))
    top = max(minimum + [1]) * MIB_PER_PAGE * 3
    axes.set_ylim(0, max(top, 1e-2))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
    return svg_of(figure)


def host_frames(data):
    """What the host's frames hold."""
    figure, axes = new_axes()
    stack(axes, data.seconds(), [(megabytes(data.host_series(name)), label, colour)
                                 for name, label, colour in FRAMES])
    axes.set_ylabel("MiB")
    axes.set_xlabel("seconds")
    legend_right(axes)
    return svg_of(figure)


def vm_homes(data, name):
    """Every page of one VM by its home, with its target and its limit in RAM."""
    figure, axes = new_axes(2.4)
    seconds = data.seconds()
    stack(axes, seconds, [(megabytes(data.vm_series(name, counter)), label, colour)
                          for counter, label, colour in HOMES])
    target = data.vm_series(name, "target")
    if any(target):
        axes.plot(seconds, megabytes(target), color="#1f2933", linewidth=1, linestyle="--",
                  label="target in RAM")
    axes.set_ylabel("MiB")
    axes.set_xlabel("seconds")
    legend_right(axes)
    return svg_of(figure)


def rates(seconds, values):
    """Change a second between samples."""
    out = [0.0]
    for index in range(1, len(values)):
        span = seconds[index] - seconds[index - 1]
        out.append((values[index] - values[index - 1]) / span if span > 0 else 0.0)
    return out


def all_vms(data, counter):
    """Sum over all VMs of a counter, in every sample."""
    return [sum(vm.get(counter, 0) for vm in sample["vms"]) for sample in data.samples]


def faults(data):
    """Page faults a second by kind, all VMs."""
    figure, axes = new_axes()
    seconds = data.seconds()
    stack(axes, seconds, [(rates(seconds, all_vms(data, name)), label, colour)
                          for name, label, colour in FAULTS])
    axes.set_ylabel("faults a second")
    axes.set_xlabel("seconds")
    legend_right(axes)
    return svg_of(figure)


def stalls(data):
    """Part of each second that vCPUs spent waiting, by cause, all VMs."""
    figure, axes = new_axes()
    seconds = data.seconds()
    stack(axes, seconds,
          [([value / 1e6 for value in rates(seconds, all_vms(data, name))], label, colour)
           for name, label, colour in STALLS])
    axes.set_ylabel("vCPUs waiting")
    axes.set_xlabel("seconds")
    legend_right(axes)
    return svg_of(figure)


def tiers(data):
    """Frames each tier has freed, net, over time."""
    figure, axes = new_axes()
    seconds = data.seconds()
    for tier, colour in TIER_COLOURS.items():
        axes.plot(seconds, megabytes(data.host_series(f"net_{tier}")), color=colour, label=tier)
    axes.axhline(0, color="#8a94a0", linewidth=0.8)
    axes.set_xlim(seconds[0], max(seconds[-1], seconds[0] + 1e-3))
    axes.set_ylabel("MiB freed, net")
    axes.set_xlabel("seconds")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02))
    return svg_of(figure)
