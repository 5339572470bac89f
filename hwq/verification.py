"""`hwq verify`: a model file, its inputs and its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from hwq import boards, runs, stages
from hwq.chain import FloatStage, IntegerStage, verify
from hwq.errors import InputError
from hwq.frontends import load
from hwq.hardware import Io, configure
from hwq.ir import Graph, InputQuantizer
from hwq.lowering.lower import Lowering
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.results import Verification
from hwq.stages import Stage

_UNROLLED_WEIGHTS = 20_000
"""Networks with more weights are compiled as streams only: io_parallel C++ of theirs takes g++ too long."""
_SIM_BOARD = "xcvu13p"


def verify_file(
    model: Path,
    *,
    inputs: Path | None = None,
    samples: int = 100,
    names: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    projects: Sequence[Path] = (),
    input_type: str | None = None,
    scratch: Path,
    quiet: bool = False,
) -> Verification:
    """Hold the chosen stages of a model against its integers.

    Args:
        model: QONNX file, or ``.hwq`` graph (then only integer stages).
        inputs: Float32 rows; the test set beside a trained model by default, else `samples` random rows.
        samples: Number of random rows.
        names: Of the stages; all that are possible by default.
        checkpoint: For the torch stage; by default the one beside a trained model.
        projects: For the csim stage; generated into `scratch` by default.
        input_type: Grid of an unquantised input.
        scratch: Folder for generated projects.
        quiet: Do not print which stage runs.
    """
    lowering = load(model, input_type)
    given, labels = _given(lowering.graph, model, inputs)
    console = Console(stderr=True, quiet=quiet, highlight=False)
    return _verify(
        lowering,
        stages.rows_for(lowering.graph, given, samples),
        parse_stages(names, lowering, checkpoint := checkpoint or runs.checkpoint_of(model)),
        checkpoint,
        projects,
        scratch,
        labels=labels,
        on_stage=lambda name: console.print(f"running {name} ..."),
    )


def verify_graph(
    graph: Graph,
    given: Mapping[str, Any] | None,
    names: Sequence[str] | None,
    *,
    checkpoint: Path | None = None,
    samples: int = 100,
    scratch: Path,
) -> Verification:
    """The same for a graph in memory; float stages go back to the file that it was loaded from."""
    lowering = Lowering(graph, ())
    if graph.source_path:
        stated = next((p.quantizer for p in graph.inputs if p.quantizer and p.quantizer.stated), None)
        lowering = load_again(graph, stated)
    chosen = parse_stages(names, lowering, checkpoint)
    return _verify(lowering, stages.rows_for(graph, given, samples), chosen, checkpoint, (), scratch)


def load_again(graph: Graph, stated: InputQuantizer | None) -> Lowering:
    """The lowering of the graph's file, which must not have changed."""
    again = load(graph.source_path, describe_grid(stated) if stated else None)
    if again.graph.source_sha256 != graph.source_sha256:
        raise InputError(f"{graph.source_path} has changed since the graph was loaded from it: load it again")
    return again


def describe_grid(quantizer: InputQuantizer) -> str:
    """The ``--input-type`` that a stated quantiser came from."""
    width = (quantizer.hi - quantizer.lo).bit_length()
    whole = width + int(np.log2(float(quantizer.step[0])))
    return f"{'' if quantizer.lo < 0 else 'u'}fixed<{width},{whole}>"


def _verify(
    lowering: Lowering,
    rows: stages.Rows,
    chosen: Sequence[Stage],
    checkpoint: Path | None,
    projects: Sequence[Path],
    scratch: Path,
    **options: Any,
) -> Verification:
    return verify(
        lowering,
        rows,
        float_stages=float_stages(lowering, chosen, checkpoint),
        integer_stages=_integer_stages(lowering.graph, chosen, projects, scratch),
        **options,
    )


def parse_stages(names: Sequence[str] | None, lowering: Lowering, checkpoint: Path | None) -> list[Stage]:
    """The stages asked for, checked against what the model has."""
    if names is None:
        return list(stages.default_stages(lowering, checkpoint))
    known = [s.value for s in Stage]
    if wrong := [n for n in names if n not in known]:
        raise InputError(f"--stages '{wrong[0]}': choose from {', '.join(known)}")
    chosen = [s for s in Stage if s.value in names]
    if Stage.QONNX in chosen and not lowering.graph.source_path:
        raise InputError("the qonnx stage runs the .onnx file: give that instead of the .hwq graph")
    if Stage.TORCH in chosen and (checkpoint is None or not lowering.graph.source_path):
        raise InputError(
            "the torch stage needs the .onnx file and its training checkpoint: give --checkpoint"
        )
    return chosen


def float_stages(
    lowering: Lowering, chosen: Sequence[Stage], checkpoint: Path | None
) -> dict[str, FloatStage]:
    """PyTorch and the QONNX executor, where chosen."""
    found: dict[str, FloatStage] = {}
    if Stage.TORCH in chosen and checkpoint:
        found["torch"] = stages.torch_stage(lowering, checkpoint)
    if Stage.QONNX in chosen:
        found["qonnx"] = stages.qonnx_stage(lowering)
    return found


def _integer_stages(
    graph: Graph, chosen: Sequence[Stage], projects: Sequence[Path], scratch: Path
) -> dict[str, IntegerStage]:
    found = {"numpy": stages.numpy_stage(graph)} if Stage.NUMPY in chosen else {}
    if Stage.CSIM in chosen and projects:
        found |= {f"csim {p.name}": stages.csim_stage(graph, partial(Path, p)) for p in projects}
    elif Stage.CSIM in chosen:
        weights = sum(n.params.weight.size for n in graph.nodes if isinstance(n.params, (Dense, Conv)))
        for io in (Io.PARALLEL, Io.STREAM) if weights <= _UNROLLED_WEIGHTS else (Io.STREAM,):
            config = configure(graph, boards.load(_SIM_BOARD), io=io)
            project = partial(stages.emitted, graph, config, scratch / io.value)
            found[f"csim {io.value}"] = stages.csim_stage(graph, project)
    return found


def _given(graph: Graph, model: Path, inputs: Path | None) -> tuple[dict[str, Any] | None, Any]:
    """Rows by input name, and labels if they lie beside a trained model."""
    folder = runs.run_folder(model)
    if inputs is None and folder and (folder / "test_inputs.npy").is_file():
        x = np.asarray(runs.load_array(folder / "test_inputs.npy"))
        return {graph.inputs[0].name: x}, runs.load_labels(folder / "test_labels.npy", len(x))
    if inputs is None:
        return None, None
    if len(graph.inputs) > 1:
        raise InputError("--input is for models with one input; leave it away for random rows")
    x = np.asarray(runs.load_array(inputs))
    if x.dtype.kind in "iu":
        raise InputError("--input of hwq verify takes float32 rows, since PyTorch and QONNX need them")
    return {graph.inputs[0].name: x}, None
