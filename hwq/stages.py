"""The stages that `hwq verify` can hold against the integers, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from hwq import probes, sim
from hwq.chain import FloatStage, IntegerStage
from hwq.errors import InputError
from hwq.hardware import HardwareConfig
from hwq.ir import Graph
from hwq.lowering.lower import Lowering
from hwq.ops import macs
from hwq.rounding import FloatArray, IntArray

Rows = list[tuple[str, dict[str, Any]]]
TIE_ROWS = 32
CSIM_MACS = 2_000_000_000
"""Work that C simulation is given by default: about a minute."""


class Stage(str, Enum):
    """A way to compute the network."""

    TORCH = "torch"
    QONNX = "qonnx"
    NUMPY = "numpy"
    CSIM = "csim"


def rows_for(graph: Graph, given: Mapping[str, Any] | None, samples: int) -> Rows:
    """Given (or random) rows, then rounding ties at the inputs, then accumulator extremes."""
    from hwq.emit.testbench import golden_inputs

    first = given if given is not None else probes.random_rows(graph, samples)
    kind = "given" if given is not None else "random"
    rows: Rows = [(kind, dict(first)), ("tie", probes.tie_rows(graph, TIE_ROWS))]
    rows.append(("extreme", probes.from_codes(graph, golden_inputs(graph, n_random=2))))
    return rows


def torch_stage(lowering: Lowering, checkpoint: Path) -> FloatStage:
    """Brevitas in evaluation mode, quantiser by quantiser."""

    def run(floats: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        from hwq.frontends import brevitas

        x = next(iter(floats.values())).astype(np.float32)
        *quantised, output = brevitas.trace(checkpoint, x)
        wanted = lowering.resolutions
        if len(quantised) != len(wanted):
            raise InputError(
                f"{checkpoint} has {len(quantised)} activation quantisers and the model file {len(wanted)}: "
                "they are not of the same network"
            )
        named = {r.source: value for r, (_, value) in zip(wanted, quantised, strict=True)}
        if not lowering.graph.outputs[0].epilogue:
            named[lowering.graph.outputs[0].name] = output[1]
        return {name: value.astype(np.float64) for name, value in named.items()}

    return run


def qonnx_stage(lowering: Lowering) -> FloatStage:
    """The file in qonnx's float32 executor."""
    path = Path(lowering.graph.source_path)
    wanted = {r.source for r in lowering.resolutions} | {r.before for r in lowering.resolutions}
    wanted |= {view.source for view in lowering.outputs}

    def run(floats: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        from hwq.frontends import qonnx

        feeds = {name: x.astype(np.float32) for name, x in floats.items()}
        try:
            found = qonnx.execute(path, feeds, wanted, lowering.shapes)
        except Exception as error:
            raise InputError(
                f"qonnx's executor cannot run {path}: {error}\n  verify without it: --stages numpy,csim"
            ) from error
        return {n: v.astype(np.float64) for n, v in found.items()}

    return run


def numpy_stage(graph: Graph) -> IntegerStage:
    """The fast engine, every tensor."""
    return IntegerStage(lambda codes: sim.run(graph, codes, sim.Engine.NUMPY, trace=True))


def csim_stage(graph: Graph, project: Callable[[], Path], limit: int = CSIM_MACS) -> IntegerStage:
    """The compiled C++ of a project, every tensor; on as many rows as `limit` multiplications allow.

    Args:
        graph: What the project was generated from.
        project: Gives its folder, and may write it first.
        limit: Multiplications.
    """
    work = max(1, sum(macs(graph, n) for n in graph.nodes))

    def run(codes: Mapping[str, IntArray]) -> Mapping[str, IntArray]:
        from hwq.emit import csim

        return csim.run_codes(project(), graph, codes)

    return IntegerStage(run, max(1, limit // work))


def emitted(
    graph: Graph, config: HardwareConfig, folder: Path, golden: Mapping[str, IntArray] | None = None
) -> Path:
    """Write the project of a graph and return its folder."""
    from hwq.emit import generate

    generate(graph, config, dict(golden) if golden else None).write(folder)
    return folder


def default_stages(lowering: Lowering, checkpoint: Path | None) -> Sequence[Stage]:
    """Every stage that this model has."""
    chosen = [Stage.NUMPY, Stage.CSIM]
    if lowering.graph.source_path:
        chosen.insert(0, Stage.QONNX)
    if checkpoint:
        chosen.insert(0, Stage.TORCH)
    return chosen
