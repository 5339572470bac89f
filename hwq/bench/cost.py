"""`hwq bench cost`: how good the estimates are on designs whose source was held out, and how many a second."""

from __future__ import annotations

import io
import random
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwq import __version__, boards, cost, runs
from hwq.bench import finn_formulas
from hwq.bench.models import SUBJECTS, make
from hwq.bench.sim import machine
from hwq.cost import evaluate
from hwq.cost.rows import RowEstimate
from hwq.files import write_atomic
from hwq.frontends import load
from hwq.hardware import Io, configure, legal_reuse, matrix_shape
from hwq.ir import Graph

_BOARD = "zcu104"
_CONFIGURATIONS = 2000
_SEED = 1
_FINN = (
    "Designs with dense or convolution layers; each layer is FINN's matrix-vector unit (MVAU_hls) with as many "
    "multipliers, in DSP blocks where the HLS tool would put them. FINN has no flip-flops, and nothing for layers "
    "without weights. rule4ml 0.2.0 is not compared: it needs TensorFlow and torch-geometric, which hwq does not."
)
_PLOTTED = ("lut", "ff", "dsp", "lat_max")


def bench(out: Path, model: Path | None = None) -> dict[str, Any]:
    """Measure, and write ``bench-cost.json``, ``.md`` and ``.svg``.

    Args:
        out: Folder of the results.
        model: A QONNX file whose configurations are counted; by default a CNV made here.
    """
    estimates = evaluate.held_out()
    result = {
        "hwq": __version__,
        **machine(),
        "scores": [asdict(s) for s in evaluate.scores(estimates)],
        "finn": [asdict(c) for c in finn_formulas.compare(estimates)],
        "designs": len(estimates),
        "flags": asdict(evaluate.flags(estimates)),
        "speed": _speed(model),
    }
    runs.write_record(out / "bench-cost.json", result)
    write_atomic(out / "bench-cost.md", markdown(result))
    write_atomic(out / "bench-cost.svg", plot(estimates))
    return result


def _speed(model: Path | None) -> dict[str, Any]:
    if model is not None:
        return _count(load(model).graph, model.stem)
    with tempfile.TemporaryDirectory(prefix="hwq-") as folder:
        graph = load(make(SUBJECTS["CNV 2W2A"], Path(folder)).qonnx).graph
    return _count(graph, "CNV 2W2A")


def _count(graph: Graph, name: str) -> dict[str, Any]:
    """Whole estimates of random legal reuse factors, one after the other, by the time of the processor."""
    draw, board = random.Random(_SEED), boards.load(_BOARD)  # noqa: S311  no secret
    choices = {n.name: legal_reuse(*shape) for n in graph.nodes if (shape := matrix_shape(n))}
    made = [
        configure(graph, board, io=Io.STREAM, reuse={layer: draw.choice(c) for layer, c in choices.items()})
        for _ in range(_CONFIGURATIONS)
    ]
    cost.estimate(graph, made[0])
    before, start = _peak_mib(), time.process_time()
    for config in made:
        cost.estimate(graph, config)
    seconds = time.process_time() - start
    return {
        "model": name,
        "layers": len(graph.nodes),
        "configurations": len(made),
        "per_second": len(made) / seconds,
        "grown_mib": _peak_mib() - before,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def markdown(result: Mapping[str, Any]) -> str:
    """The results for people."""
    speed = result["speed"]
    what = (
        f"`hwq bench cost`, hwq {result['hwq']}, {result['machine']}. {result['designs']:,} designs, each estimated "
        "from its layer list by laws fitted without its source; a law of which only that source has points stays, and "
        "so do the constants that were set by hand (timing, activations, streams), which saw all sources. "
        "The error is the mean over the sources of each source's median; width is the band's upper end over its lower."
    )
    fast = (
        f"{speed['per_second']:,.0f} whole estimates a processor second of {speed['model']} ({speed['layers']} layers, "
        f"one core); {speed['grown_mib']:.1f} MiB more after {speed['configurations']:,}."
    )
    flags = result["flags"]
    flagged = (
        f'{100 * flags["share"]:.0f} % of the designs carry the flag "outside the calibrated paths", and '
        f"{100 * flags['misses_flagged']:.0f} % of the {flags['misses']:,} numbers that are wrong by more than half."
    )
    lines = ["# Estimates", "", what, "", flagged, "", fast, "", "![Estimated and reported](bench-cost.svg)"]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for score in result["scores"]:
        groups.setdefault((score["stage"], score["group"]), []).append(score)
    for (stage, group), scores in groups.items():
        lines += ["", f"## {stage}, {group}", ""]
        lines.append("| target | designs | sources | error | within 10 % | 20 % | 50 % | in band | width |")
        lines.append("|---" * 9 + "|")
        lines += [_line(s) for s in scores]
    lines += ["", "## Against FINN's formulas, on the same designs", "", _FINN, ""]
    lines += finn_formulas.lines(result["finn"])
    return "\n".join(lines) + "\n"


def _line(s: Mapping[str, Any]) -> str:
    shares = " | ".join(f"{100 * x:.0f} %" for x in (*s["within"], s["coverage"]))
    return (
        f"| {s['target']} | {s['rows']:,} | {len(s['medians'])} | {100 * s['macro']:.1f} % | {shares} "
        f"| {s['width']:.2f} |"
    )


def plot(estimates: Sequence[RowEstimate]) -> str:
    """Estimated over reported, a panel a target, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    for i, target in enumerate(_PLOTTED):
        axes = figure.add_subplot(2, 2, i + 1)
        for outside, colour in ((False, "#1f6feb"), (True, "#9aa4b2")):
            pairs = [
                (real, e.values[target].value)
                for e in estimates
                if e.outside is outside and (real := getattr(e.row, target)) and e.values[target].value > 0
            ]
            label = "outside the calibrated paths" if outside else "calibrated path"
            axes.scatter([x for x, _ in pairs], [y for _, y in pairs], s=9, color=colour, label=label)
        ends = axes.get_xlim()
        axes.plot((1, max(ends[1], 10)), (1, max(ends[1], 10)), color="#57606a", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(target, fontsize=9, loc="left")
        axes.set_xlabel("reported", fontsize=8)
        axes.set_ylabel("estimated", fontsize=8)
        axes.tick_params(labelsize=8, which="both")
    figure.axes[0].legend(fontsize=8)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
