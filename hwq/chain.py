"""The chain of proof: all stages on the same rows, each held against the integer graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwq import sim
from hwq.certificates import ties_hit
from hwq.compare import compare_floats, compare_integers
from hwq.errors import InputError
from hwq.ir import Graph
from hwq.lowering.lower import Lowering
from hwq.results import LayerTies, StageResult, Verification
from hwq.rounding import FloatArray, IntArray
from hwq.sim import ports

_CHUNK_BYTES = 2**28
"""What one chunk's tensors may take in int64."""

FloatStage = Callable[[Mapping[str, FloatArray]], Mapping[str, FloatArray]]
"""From float32 inputs by name to float tensors by the file's names, batch first."""


@dataclass(frozen=True)
class IntegerStage:
    """From input codes to integer tensors by the graph's names.

    Attributes:
        run: Does it.
        max_rows: A slow stage runs on so many rows, evenly chosen.
    """

    run: Callable[[Mapping[str, IntArray]], Mapping[str, IntArray]]
    max_rows: int | None = None

    def rows(self, available: int) -> IntArray:
        """Indices of the rows that it runs on, from first to last."""
        count = min(available, self.max_rows or available)
        return np.unique(np.linspace(0, available - 1, count).round().astype(np.int64))


def verify(
    lowering: Lowering,
    rows: Sequence[tuple[str, Mapping[str, FloatArray]]],
    *,
    float_stages: Mapping[str, FloatStage] | None = None,
    integer_stages: Mapping[str, IntegerStage] | None = None,
    labels: IntArray | None = None,
    on_stage: Callable[[str], None] = lambda _name: None,
) -> Verification:
    """Run all stages on the same rows and compare; memory does not grow with the number of rows.

    Args:
        lowering: The graph and its quantisers.
        rows: (kind, float32 inputs by name) in order; the first kind is what the labels belong to.
        float_stages: By name.
        integer_stages: By name.
        labels: Classes of the first kind of rows.
        on_stage: Called with each stage's name before it runs.
    """
    graph = lowering.graph
    floats = {p.name: np.concatenate([x[p.name] for _, x in rows]) for p in graph.inputs}
    floats = {p.name: ports.on_stated_grid(graph, p, floats[p.name]) for p in graph.inputs}
    run = _Run(lowering, floats)
    results = [run.floats(name, stage, on_stage) for name, stage in (float_stages or {}).items()]
    results += [run.integers(name, stage, on_stage) for name, stage in (integer_stages or {}).items()]
    on_stage("ties")
    ties, argmax_ties, correct = run.survey(labels)
    return Verification(
        model=Path(graph.source_path).name or graph.name,
        inputs={kind: len(next(iter(x.values()))) for kind, x in rows},
        stages=tuple(results),
        layers=ties,
        argmax_ties=argmax_ties,
        accuracy=None if labels is None else correct / len(labels),
    )


class _Run:
    """All rows, in chunks that fit in memory."""

    def __init__(self, lowering: Lowering, floats: Mapping[str, FloatArray]) -> None:
        self.lowering, self.graph, self.all_floats = lowering, lowering.graph, floats
        self.rows = len(next(iter(floats.values())))
        row_bytes = 8 * sum(int(np.prod(t.shape)) for t in self.graph.tensors.values())
        self.chunk = max(1, _CHUNK_BYTES // max(1, row_bytes))

    def chunks(self, rows: IntArray) -> Iterator[tuple[int, dict[str, FloatArray], dict[str, IntArray]]]:
        """(first row, float inputs by name, codes by tensor) of successive rows."""
        for i in range(0, len(rows), self.chunk):
            part = rows[i : i + self.chunk]
            floats = {name: x[part] for name, x in self.all_floats.items()}
            yield int(part[0]), floats, sim.encode(self.graph, floats)

    def expected(self, codes: Mapping[str, IntArray]) -> dict[str, IntArray]:
        """Every tensor, from the plain reference."""
        return sim.run(self.graph, codes, sim.Engine.REFERENCE, trace=True)

    def floats(self, name: str, stage: FloatStage, on_stage: Callable[[str], None]) -> StageResult:
        """A float32 stage on all rows."""
        on_stage(name)
        total = StageResult(name)
        for first, floats, codes in self.chunks(np.arange(self.rows)):
            start = time.perf_counter()
            got = stage(floats)
            part = compare_floats(name, self.lowering, codes, floats, got)
            part.seconds = time.perf_counter() - start
            total.add(part, first)
        return total

    def integers(self, name: str, stage: IntegerStage, on_stage: Callable[[str], None]) -> StageResult:
        """An integer stage on the rows that it takes."""
        on_stage(name)
        total = StageResult(name)
        for first, _, codes in self.chunks(stage.rows(self.rows)):
            start = time.perf_counter()
            got = stage.run(codes)
            seconds = time.perf_counter() - start
            part = compare_integers(name, self.graph, self.expected(codes), got)
            part.seconds = seconds
            total.add(part, first)
        return total

    def survey(self, labels: IntArray | None) -> tuple[tuple[LayerTies, ...], int, int]:
        """Exact ties at quantisers and at the final argmax, and how many labelled rows are right."""
        counts = dict.fromkeys(range(len(self.lowering.resolutions)), (0, 0))
        argmax_ties = correct = 0
        for first, floats, codes in self.chunks(np.arange(self.rows)):
            expected = sim.run(self.graph, codes, trace=True)
            for i, (values, ties) in enumerate(_ties(self.lowering, expected, floats)):
                counts[i] = counts[i][0] + values, counts[i][1] + ties
            argmax_ties += _argmax_ties(self.graph, expected)
            correct += _correct(self.graph, expected, labels, first)
        layers = [LayerTies(r.tensor, r.layer, *counts[i]) for i, r in enumerate(self.lowering.resolutions)]
        return tuple(layers), argmax_ties, correct


def _ties(
    lowering: Lowering, expected: Mapping[str, IntArray], floats: Mapping[str, FloatArray]
) -> Iterator[tuple[int, int]]:
    """For each quantiser: how many values it made, how many of them from exact ties."""
    inputs = {p.tensor: p for p in lowering.graph.inputs}
    for r in lowering.resolutions:
        if r.terms:
            ties = ties_hit(r, expected)
        else:
            ties = ports.count_ties(lowering.graph, inputs[r.tensor], floats[inputs[r.tensor].name])
        yield expected[r.tensor].size, ties


def _argmax_ties(graph: Graph, expected: Mapping[str, IntArray]) -> int:
    """Rows whose largest exact output is shared."""
    port = graph.outputs[0]
    real = graph.meaning(port)
    if real is None:
        return 0
    flat = ports.decode(real, expected[port.tensor]).reshape(len(expected[port.tensor]), -1)
    return int(((flat == flat.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())


def _correct(graph: Graph, expected: Mapping[str, IntArray], labels: IntArray | None, first: int) -> int:
    """How many of a chunk's labelled rows are classified right; ties go to the lowest index."""
    if labels is None or first >= len(labels):
        return 0
    port = graph.outputs[0]
    part = labels[first : first + len(expected[port.tensor])]
    real = ports.decode_output(graph, port, expected[port.tensor][: len(part)])
    if real.ndim != 2:
        raise InputError(f"labels need an output of one number a class, not of shape {real.shape[1:]}")
    return int((real.argmax(axis=1) == part).sum())
