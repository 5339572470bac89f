"""One network in a process of its own: ``python -m hwq.bench.worker NAME ROUNDS CORES``, JSON to standard output."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwq import probes, sim
from hwq.bench import peers
from hwq.bench.models import SUBJECTS, Models, Subject, make
from hwq.errors import CheckFailed
from hwq.frontends import load
from hwq.ir import Graph
from hwq.lowering.lower import Lowering
from hwq.ops import macs

MEMORY = "memory"
_CHECKED_ROWS = 24
_SHORTEST_S = 0.01
_PARK_S = 0.2
"""Until BLAS's threads have stopped waiting for work in a loop."""
_MEMORY_ROWS = 1000


def measure(name: str, rounds: int, cores: int) -> dict[str, Any]:
    """All batch sizes of one subject; the process may use so many cores."""
    subject = SUBJECTS[name]
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        models = make(subject, Path(scratch))
        lowering = load(models.qonnx)
        batches = [1, subject.batch] if subject.single and cores == 1 else [subject.batch]
        measured = [_setting(subject, models, lowering, cores, batch, rounds) for batch in batches]
        x = _inputs(subject, subject.batch)
        cpp = peers.emitted(lowering.graph, x) if subject.emitted and cores == 1 else None
    return {"model": name, "macs": _macs(lowering.graph), "settings": measured, "emitted": cpp}


def measure_file(path: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Any QONNX file: the engines and qonnx."""
    lowering = load(path)
    graph = lowering.graph
    (x,) = probes.random_rows(graph, rows).values() if len(graph.inputs) == 1 else (None,)
    if x is None:
        raise CheckFailed(f"{path}: networks of several inputs are not measured")
    check(graph, x)
    calls = peers.engines(graph, x) | peers.executors(lowering, path, x)
    cores = os.cpu_count() or 1
    times = {"cores": cores, "batch": rows, **timed(calls, cores, rows, rounds)}
    return {"model": path.name, "macs": _macs(graph), "settings": [times], "emitted": None}


def _macs(graph: Graph) -> int:
    return sum(macs(graph, node) for node in graph.nodes)


def _inputs(subject: Subject, rows: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((rows, *subject.shape), dtype=np.float32) * 2 - 1


def _setting(
    subject: Subject, models: Models, lowering: Lowering, cores: int, batch: int, rounds: int
) -> dict[str, Any]:
    x = _inputs(subject, batch)
    check(lowering.graph, x)
    calls = peers.engines(lowering.graph, x) | peers.executors(lowering, models.qonnx, x)
    calls |= peers.networks(models, x, cores)
    return {"cores": cores, "batch": batch, **timed(calls, cores, batch, rounds)}


def check(graph: Graph, x: np.ndarray[Any, Any]) -> None:
    """Every engine against the reference, and on all rows against each other.

    Raises:
        CheckFailed: One differs, so that nothing may be reported.
    """
    codes = sim.encode(graph, x)
    plain = sim.run(graph, {n: a[:_CHECKED_ROWS] for n, a in codes.items()}, sim.Engine.REFERENCE)
    results = {name: sim.run(graph, codes, engine) for name, engine in peers.ENGINES.items()}
    first = next(iter(results.values()))
    for name, values in results.items():
        for tensor, expected in plain.items():
            same = np.array_equal(values[tensor][:_CHECKED_ROWS], expected)
            if not same or not np.array_equal(values[tensor], first[tensor]):
                raise CheckFailed(f"{name} differs from the reference in '{tensor}': nothing is reported")


def timed(calls: Mapping[str, peers.Call], cores: int, batch: int, rounds: int) -> dict[str, Any]:
    """Medians of interleaved rounds: ms a row of each peer, and the machine's float32 GFLOP/s.

    Before each timing a call is not counted: the threads of the peer before may still wait for work in a loop.
    """
    repeats = {name: _repeats(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    peaks = []
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds = (time.perf_counter() - start) / repeats[name]
            times[name].append(1000 * seconds / peers.rows_of(name, batch))
        peaks.append(peers.peak_gflops(cores))
        time.sleep(_PARK_S)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"ms_per_row": medians, "peak_gflops": statistics.median(peaks)}


def _repeats(call: peers.Call) -> int:
    """So many calls that the clock can tell; the first, which warms up, is not counted."""
    call()
    start = time.perf_counter()
    call()
    return max(1, round(_SHORTEST_S / (time.perf_counter() - start)))


def measure_memory() -> dict[str, Any]:
    """MiB that 1000 CIFAR-sized images take at most, over what the imports and the lowered network take."""
    subject = SUBJECTS["CNV 1W1A"]
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        path = Path(scratch) / "graph.hwq"
        pid = os.fork()  # what training needs is not counted
        if pid == 0:
            load(make(subject, Path(scratch)).qonnx).graph.save(path)
            os._exit(0)
        os.waitpid(pid, 0)
        graph = load(path).graph
    before = _resident_mib()
    sim.simulate(graph, _inputs(subject, _MEMORY_ROWS), sim.Engine.NUMPY)
    return {"rows": _MEMORY_ROWS, "mib": _resident_mib() - before}


def _resident_mib() -> float:
    """The highest so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


def main(name: str, rounds: int, cores: int) -> None:
    """Measure, and print."""
    result = measure_memory() if name == MEMORY else measure(name, rounds, cores)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
