"""`hwq simulate`: arrays in files, results in files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from hwq import runs, sim
from hwq.errors import InputError
from hwq.files import staged_dir
from hwq.frontends import load
from hwq.ir import Graph, Port
from hwq.rounding import IntArray
from hwq.sim import ports


def simulate_file(
    model: Path,
    inputs: Path,
    output: Path,
    *,
    codes: bool = False,
    trace: Path | None = None,
    engine: sim.Engine = sim.Engine.NUMPY,
    epilogue: bool = False,
    input_type: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run a model on a ``.npy`` file and write its output.

    Args:
        model: QONNX file or ``.hwq`` graph with one input and one output.
        inputs: Float32, or integer codes, batch first.
        output: Gets float64, or int64 with `codes`.
        codes: Write integers.
        trace: Folder for all tensors, one ``.npy`` each, in the graph's channels-last layout.
        engine: Who computes.
        epilogue: Apply the file's final float operator.
        input_type: Grid of an unquantised input.
        force: Replace existing files.
        quiet: No progress bar.
    """
    if output.exists() and not force:
        raise InputError(f"{output} exists: choose another name, or pass --force to replace it")
    if codes and epilogue:
        raise InputError("--codes gives integers and --epilogue floats: choose one")
    graph = load(model, input_type).graph
    port = _single(graph)
    x = runs.load_array(inputs)
    start = time.perf_counter()
    values = _run(graph, sim.encode(graph, x), engine, trace=trace is not None, quiet=quiet)
    seconds = time.perf_counter() - start
    runs.save_array(
        output, _result(graph, port, values[port.tensor], codes=codes, epilogue=epilogue), force=force
    )
    if trace:
        _write_trace(values, trace, force=force)
    return {
        "rows": len(x),
        "seconds": seconds,
        "output": str(output),
        "notes": _notes(graph, x, port, epilogue=epilogue),
    }


def _single(graph: Graph) -> Port:
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        names = ", ".join(p.name for p in (*graph.inputs, *graph.outputs))
        raise InputError(
            f"hwq simulate takes models with one input and one output, this one has {names}: use hwq.simulate in Python"
        )
    return graph.outputs[0]


def _run(
    graph: Graph, codes: dict[str, IntArray], engine: sim.Engine, *, trace: bool, quiet: bool
) -> dict[str, IntArray]:
    rows = len(next(iter(codes.values())))
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("simulate", total=rows)
        return sim.run(graph, codes, engine, trace=trace, progress=lambda n: bar.advance(task, n))


def _result(
    graph: Graph, port: Port, values: IntArray, *, codes: bool, epilogue: bool
) -> np.ndarray[Any, Any]:
    if codes:
        return port.layout.to_file(values, port.shape)
    real = ports.decode_output(graph, port, values)
    return ports.apply_epilogue(port, real) if epilogue else real


def _write_trace(values: dict[str, IntArray], folder: Path, *, force: bool) -> None:
    with staged_dir(folder, force=force) as stage:
        names = {}
        for i, (name, array) in enumerate(values.items()):
            names[f"{i:03d}.npy"] = name
            np.save(stage / f"{i:03d}.npy", array, allow_pickle=False)
        (stage / "tensors.txt").write_text("".join(f"{file} {name}\n" for file, name in names.items()))


def _notes(graph: Graph, x: np.ndarray[Any, Any], port: Port, *, epilogue: bool) -> list[str]:
    notes = (
        []
        if epilogue or not port.epilogue
        else [f"note: {n} (--epilogue applies it in float)" for n in graph.notes]
    )
    source = graph.inputs[0]
    if source.quantizer and source.quantizer.stated and x.dtype.kind == "f":
        off = ports.off_grid(source.quantizer, x)
        notes.append(
            f"note: {off:,} of {x.size:,} input values were off the stated grid: rounded half to even, or saturated"
        )
    return notes
