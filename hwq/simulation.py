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
    """Run a model on arrays in a file and write its outputs.

    Args:
        model: QONNX file or ``.hwq`` graph.
        inputs: Float32, or integer codes, batch first: ``.npy``, or ``.npz`` by name if there are several.
        output: Gets float64, or int64 with `codes`: ``.npy``, or ``.npz`` by name if there are several.
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
    x = _load(graph, inputs)
    start = time.perf_counter()
    values = _run(graph, sim.encode(graph, x), engine, trace=trace is not None, quiet=quiet)
    seconds = time.perf_counter() - start
    results = {
        p.name: _result(graph, p, values[p.tensor], codes=codes, epilogue=epilogue) for p in graph.outputs
    }
    if output.suffix == ".npz":
        runs.save_arrays(output, results, force=force)
    elif len(results) == 1:
        runs.save_array(output, next(iter(results.values())), force=force)
    else:
        raise InputError(
            f"the model has the outputs {', '.join(results)}: write them to an .npz archive, -o y.npz"
        )
    if trace:
        _write_trace(values, trace, force=force)
    return {
        "rows": len(next(iter(x.values()))),
        "seconds": seconds,
        "output": str(output),
        "notes": _notes(graph, x, epilogue=epilogue),
    }


def _load(graph: Graph, path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs by name: one array, or an archive of them."""
    names = list(dict.fromkeys(p.name for p in graph.inputs))
    if path.suffix == ".npz":
        return runs.load_arrays(path)
    if len(names) != 1:
        raise InputError(
            f"the model has the inputs {', '.join(names)}: give them in an .npz archive, by name"
        )
    return {names[0]: runs.load_array(path)}


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
    return (
        ports.apply_epilogue(port, real) if epilogue and (port.epilogue or len(graph.outputs) == 1) else real
    )


def _write_trace(values: dict[str, IntArray], folder: Path, *, force: bool) -> None:
    with staged_dir(folder, force=force) as stage:
        names = {}
        for i, (name, array) in enumerate(values.items()):
            names[f"{i:03d}.npy"] = name
            np.save(stage / f"{i:03d}.npy", array, allow_pickle=False)
        (stage / "tensors.txt").write_text("".join(f"{file} {name}\n" for file, name in names.items()))


def _notes(graph: Graph, x: dict[str, np.ndarray[Any, Any]], *, epilogue: bool) -> list[str]:
    cut = any(p.epilogue for p in graph.outputs) and not epilogue
    notes = [f"note: {n} (--epilogue applies it in float)" for n in graph.notes] if cut else []
    for source in graph.inputs:
        given = x[source.name]
        if source.quantizer and source.quantizer.stated and given.dtype.kind == "f":
            off = ports.off_grid(source.quantizer, given)
            notes.append(
                f"note: {off:,} of {given.size:,} values of input '{source.name}' were off the stated grid: "
                "rounded half to even, or saturated"
            )
    return notes
