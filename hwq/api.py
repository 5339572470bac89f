"""The library: the same steps as the command line, as functions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwq import sim
from hwq.errors import InputError
from hwq.ir import Graph
from hwq.rounding import FloatArray

if TYPE_CHECKING:
    from hwq.cost import Estimate
    from hwq.emit.project import Project
    from hwq.hardware import HardwareConfig
    from hwq.results import Verification

Array = np.ndarray[Any, Any]


def load(path: str | Path, input_type: str | None = None) -> Graph:
    """The integer graph of a QONNX file, exactly; or a saved ``.hwq`` graph.

    Args:
        path: The file.
        input_type: Grid of inputs that the file does not quantise, for example ``fixed<16,6>``.

    Raises:
        UnsupportedModel: Naming the node, the reason and the cure.
    """
    from hwq.frontends import load as load_file

    return load_file(path, input_type).graph


def simulate(
    graph: Graph, x: Array | Mapping[str, Array], engine: str = "numpy"
) -> FloatArray | dict[str, FloatArray]:
    """The exact real output, correctly rounded to float64, in the file's own shape; see `hwq.sim.simulate`."""
    return sim.simulate(graph, x, sim.Engine(engine))


def verify(
    graph: Graph,
    x: Array | None = None,
    stages: Sequence[str] | None = None,
    checkpoint: str | Path | None = None,
) -> Verification:
    """Hold stages against the integers, on x (float32, else random rows), ties and extreme inputs.

    Args:
        graph: From `load`.
        x: Rows in the file's own shape, for a graph with one input.
        stages: Of ``torch``, ``qonnx``, ``numpy``, ``csim``; by default all that are possible.
        checkpoint: For the torch stage.
    """
    from hwq.verification import verify_graph

    given = None if x is None else {graph.inputs[0].name: x}
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        return verify_graph(
            graph, given, stages, checkpoint=Path(checkpoint) if checkpoint else None, scratch=Path(scratch)
        )


def _configure(graph: Graph, board: str, options: Mapping[str, Any]) -> HardwareConfig:
    from hwq import boards
    from hwq.hardware import Io, Strategy, configure

    unknown = set(options) - {"clock_ns", "io", "reuse", "strategy"}
    if unknown:
        raise InputError(
            f"unknown options {', '.join(sorted(unknown))}: give clock_ns, io, reuse or strategy"
        )
    typed: dict[str, Any] = dict(options)
    if "io" in typed:
        typed["io"] = Io(typed["io"])
    if typed.get("strategy"):
        typed["strategy"] = Strategy(typed["strategy"])
    return configure(graph, boards.load(board), **typed)


def generate(graph: Graph, board: str, **options: Any) -> Project:
    """The HLS project of a graph, in memory; options are clock_ns, io, reuse, strategy."""
    from hwq import emit

    return emit.generate(graph, _configure(graph, board, options))


def estimate(graph: Graph, board: str, **options: Any) -> Estimate:
    """Resources, latency and throughput with error bands; options are clock_ns, io, reuse, strategy."""
    from hwq import cost

    return cost.estimate(graph, _configure(graph, board, options))
