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
    graph: Graph, x: Array | Mapping[str, Array], engine: str = "auto"
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


_OPTIONS = ("clock_ns", "io", "reuse", "strategy", "target_fps", "target_latency_us", "fit")


def _configure(graph: Graph, board: str, options: Mapping[str, Any]) -> HardwareConfig:
    from hwq import boards
    from hwq.folding import FitRule, Target, design
    from hwq.hardware import Io

    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise InputError(f"unknown options {', '.join(unknown)}: give {', '.join(_OPTIONS)}")
    reuse = options.get("reuse", 1)
    return design(
        graph,
        boards.load(board),
        clock_ns=options.get("clock_ns"),
        io=Io(options.get("io", Io.PARALLEL)),
        strategy=_strategies(options.get("strategy")),
        reuse=reuse if isinstance(reuse, Mapping) else {"": reuse},
        target=Target(options.get("target_fps"), options.get("target_latency_us")),
        fit=FitRule(options.get("fit", FitRule.VALUE)),
    )


def _strategies(given: Any) -> dict[str, tuple[Any, ...]]:
    """By layer; a name, several, or either by layer."""
    from hwq.hardware import Strategy

    by_layer = given if isinstance(given, Mapping) else {"": given} if given else {}
    several = {k: (v,) if isinstance(v, str) else tuple(v) for k, v in by_layer.items()}
    return {layer: tuple(map(Strategy, names)) for layer, names in several.items()}


def generate(graph: Graph, board: str, *, overlay: bool = False, **options: Any) -> Project:
    """The HLS project of a graph, in memory.

    Args:
        graph: From `load`.
        board: Name, or path of a board's TOML file.
        overlay: Add the scripts and the driver of an overlay for PYNQ.
        options: As of ``hwq generate``: clock_ns, io, reuse (a number, ``"auto"``, or either by layer name with
            ``""`` for the rest), strategy (likewise), and for ``"auto"`` target_fps or target_latency_us, fit.
    """
    from hwq import emit

    return emit.generate(graph, _configure(graph, board, options), overlay=overlay)


def estimate(graph: Graph, board: str, **options: Any) -> Estimate:
    """Resources, latency and throughput with error bands; options as of `generate`."""
    from hwq import estimation

    return estimation.estimate(graph, _configure(graph, board, options))
