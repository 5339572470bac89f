"""The results of `hwq bench sim` for people: Markdown and a plot."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from hwq.bench.peers import BREVITAS, ENGINES, ORT, QONNX, QONNX_SINGLE

_NUMPY, _INT8 = ENGINES
_CNV = ("CNV 1W1A", "CNV 2W2A")
_TFC = ("TFC 1W1A", "TFC 2W2A")
_PEAK = "float32 matrix product of the machine"

TARGETS = (
    (_CNV, 100, "one core", QONNX, 5.0, 11.0),
    (_CNV, 100, "one core", BREVITAS, 2.8, 6.0),
    (_CNV, 100, "one core", ORT, 1.1, 2.3),
    (_CNV, 100, "one core", _PEAK, 1.0, 2.2),
    (_CNV, 100, "all cores", QONNX, 4.0, 10.0),
    (_TFC, 1000, "one core", QONNX, 10.0, 22.0),
    (_TFC, 1000, "one core", BREVITAS, 4.5, 10.0),
    (("TFC 2W2A",), 1, "one core", QONNX, 1000.0, None),
    (("CNV 2W2A",), 1, "one core", QONNX, 60.0, None),
    (("ResNet-8 4W4A",), 100, "one core", ORT, 1 / 1.3, 1 / 1.3),
    (("depthwise 4W4A",), 100, "one core", ORT, 1 / 1.3, 1 / 1.3),
)
"""Networks, batch, cores, peer, and how many times as fast the two engines are to be."""
MOST_MIB = 150


def markdown(result: Mapping[str, Any]) -> str:
    """Times, ratios, and what was asked for."""
    lines = [
        "# Simulation speed",
        "",
        (
            f"`hwq bench sim`, hwq {result['hwq']}, {result['machine']}, {result['cores']} cores, BLAS kernels for "
            f"{result['blas']}, Python "
            f"{result['python']}, numpy {result['numpy']}, onnxruntime {result['onnxruntime']}, torch "
            f"{result['torch']}, qonnx {result['qonnx']}, Brevitas {result['brevitas']}. Medians of "
            f"{result['rounds']} interleaved rounds. hwq: float32 in, float64 out, input quantiser included. "
            "In this run both engines equalled the reference."
        ),
        "",
        "![ms a row](bench-sim.svg)",
        "",
        *_times(result),
        *_targets(result),
        *_notes(result),
    ]
    return "\n".join(lines) + "\n"


def _settings(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    for network in result["networks"]:
        for setting in network["settings"]:
            yield network["model"], network, setting


def _times(result: Mapping[str, Any]) -> list[str]:
    peers = list(dict.fromkeys(p for _, _, s in _settings(result) for p in s["ms_per_row"]))
    lines = ["## ms a row", "", "| network | cores | batch | " + " | ".join(peers) + " |"]
    lines.append("|---" * (len(peers) + 3) + "|")
    for name, _, setting in _settings(result):
        times = setting["ms_per_row"]
        cells = [f"{times[p]:.4g}" if p in times else "" for p in peers]
        lines.append(f"| {name} | {setting['cores']} | {setting['batch']} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def speedup(network: Mapping[str, Any], setting: Mapping[str, Any], engine: str, peer: str) -> float:
    """How many times as fast an engine is as a peer."""
    times = setting["ms_per_row"]
    if peer == _PEAK:
        return float(2 * network["macs"] / times[engine] / 1e6 / setting["peak_gflops"])
    return float(times[peer] / times[engine])


def _targets(result: Mapping[str, Any]) -> list[str]:
    lines = ["## Times as fast as", "", "| network | batch | cores | peer | numpy | wanted | int8 | wanted |"]
    lines.append("|---" * 8 + "|")
    rows = {(n, s["batch"], s["cores"]): (network, s) for n, network, s in _settings(result)}
    count = len(lines)
    for names, batch, cores, peer, numpy_goal, int8_goal in TARGETS:
        number = 1 if cores == "one core" else result["cores"]
        for name in names:
            if found := rows.get((name, batch, number)):
                cells = [
                    _against(speedup(*found, engine, peer), goal)
                    for engine, goal in ((_NUMPY, numpy_goal), (_INT8, int8_goal))
                ]
                lines.append(f"| {name} | {batch} | {number} | {peer} | " + " | ".join(cells) + " |")
    return [*lines, ""] if len(lines) > count else []


def _against(value: float, goal: float | None) -> str:
    if goal is None:
        return f"{value:,.3g} | –"
    return f"{value:,.3g} | {'≥' if value >= goal else 'missed: ≥'} {goal:,.2g}"


def _notes(result: Mapping[str, Any]) -> list[str]:
    lines = []
    if memory := result["memory"]:
        verdict = "at most" if memory["mib"] <= MOST_MIB else "missed: at most"
        lines.append(
            f"Memory of {memory['rows']} images of CNV 1W1A, numpy engine, over the imports and the network: "
            f"{memory['mib']:.0f} MiB ({verdict} {MOST_MIB} wanted)."
        )
    for network in result["networks"]:
        if cpp := network["emitted"]:
            lines += [
                "",
                (
                    f"The generated C++ of {network['model']} takes {cpp['seconds_compile']:.1f} s to compile "
                    f"and {cpp['ms_per_row']:.3g} ms a row."
                ),
            ]
    return lines


def plot(result: Mapping[str, Any]) -> str:
    """Bars of ms a row, one panel a network on one core, as SVG."""
    from matplotlib.figure import Figure

    shown = [(n, s) for n, _, s in _settings(result) if s["batch"] > 1]
    panels = list({name: (name, s) for name, s in reversed(shown)}.values())[::-1]
    figure = Figure(figsize=(10, 1.9 * len(panels)), layout="constrained")
    for i, (name, setting) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, i + 1)
        times = {p: t for p, t in setting["ms_per_row"].items() if p != QONNX_SINGLE}
        colours = ["#1f6feb" if p in ENGINES else "#9aa4b2" for p in times]
        bars = axes.barh(list(times), list(times.values()), color=colours)
        axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
        axes.set_xscale("log")
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.tick_params(labelsize=8, which="both")
        title = f"{name}, batch {setting['batch']}, cores: {setting['cores']} (ms a row, logarithmic)"
        axes.set_title(title, fontsize=9, loc="left")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
