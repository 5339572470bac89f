"""`hwq bench sim`: rows per second of the engines and of qonnx's executor, interleaved in one run."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwq import __version__, probes, runs, sim, train
from hwq.errors import CheckFailed
from hwq.files import write_atomic
from hwq.frontends import load, qonnx
from hwq.ir import Graph

_ROUNDS = 5


def bench(out: Path, model: Path | None = None, rows: int = 1000) -> dict[str, Any]:
    """Measure, check that all engines agree, and write ``bench-sim.json`` and ``bench-sim.md``.

    Args:
        out: Folder of the results.
        model: A QONNX file; by default the network of `digits-w2a2`, trained for one epoch.
        rows: Random inputs.
    """
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        path = model or _digits(Path(scratch) / "run")
        result = {"hwq": __version__, "model": path.name, "rows": rows, **_machine(), **_measure(path, rows)}
    runs.write_record(out / "bench-sim.json", result)
    write_atomic(out / "bench-sim.md", _markdown(result))
    return result


def _digits(folder: Path) -> Path:
    return train.run("digits-w2a2", folder, overrides=["train.epochs=1"], quiet=True).model


def _machine() -> dict[str, Any]:
    return {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}


def _measure(path: Path, rows: int) -> dict[str, Any]:
    lowering = load(path)
    graph = lowering.graph
    x = probes.random_rows(graph, rows)
    codes = sim.encode(graph, x)
    engines: dict[str, Callable[[], Mapping[str, Any]]] = {
        "hwq numpy": lambda: sim.run(graph, codes),
        "hwq reference": lambda: sim.run(graph, codes, sim.Engine.REFERENCE),
        "qonnx, batched": lambda: qonnx.execute(path, x, set(), lowering.shapes),
    }
    _check_equal(graph, codes)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(_ROUNDS):
        for name, run in engines.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    fastest = medians["hwq numpy"]
    return {
        "engines": [
            {
                "engine": n,
                "ms_per_row": 1000 * t / rows,
                "rows_per_second": rows / t,
                "times_numpy": t / fastest,
            }
            for n, t in medians.items()
        ]
    }


def _check_equal(graph: Graph, codes: Mapping[str, Any]) -> None:
    fast, plain = sim.run(graph, codes), sim.run(graph, codes, sim.Engine.REFERENCE)
    if not all(np.array_equal(fast[name], plain[name]) for name in fast):
        raise CheckFailed("the numpy engine differs from the reference: nothing is reported")


def _markdown(result: Mapping[str, Any]) -> str:
    lines = [
        "# Simulation speed",
        "",
        (
            f"`hwq bench sim`, hwq {result['hwq']}, {result['model']}, {result['rows']} random rows, "
            f"{result['cores']} cores ({result['machine']}), Python {result['python']}; medians of {_ROUNDS} "
            "interleaved rounds; numpy equal to reference in this run."
        ),
        "",
        "| engine | ms a row | rows a second | time against numpy |",
        "|---|---|---|---|",
    ]
    rows = (
        f"| {e['engine']} | {e['ms_per_row']:.4f} | {e['rows_per_second']:,.0f} | {e['times_numpy']:.2f} |"
        for e in result["engines"]
    )
    return "\n".join([*lines, *rows]) + "\n"
