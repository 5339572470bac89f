"""`hwq simulate`: arrays in files, results in files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
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

_CHUNK_BYTES = 16 * 2**20
"""Of inputs and outputs that are in memory at a time."""


def simulate_file(
    model: Path,
    inputs: Path,
    output: Path,
    *,
    codes: bool = False,
    trace: Path | None = None,
    engine: sim.Engine = sim.Engine.AUTO,
    epilogue: bool = False,
    input_type: str | None = None,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run a model on arrays in a file and write its outputs, in memory that does not grow with the rows.

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
    start = time.perf_counter()
    job = _Job(graph, engine, _load(graph, inputs), codes=codes, epilogue=epilogue)
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("simulate", total=job.rows)
        _write(job, output, trace, lambda n: bar.advance(task, n), force=force)
    return {
        "rows": job.rows,
        "seconds": time.perf_counter() - start,
        "output": str(output),
        "notes": job.notes(),
    }


def explain_file(
    model: Path, engine: sim.Engine, output: Path | None, input_type: str | None, *, force: bool = False
) -> dict[str, Any]:
    """How a model is run; written to `output` as JSON too, if given.

    Raises:
        InputError: The reference has no plan, or `output` exists.
    """
    if engine is sim.Engine.REFERENCE:
        raise InputError("the reference runs each op as it is defined: --explain numpy or onnxruntime")
    if output and output.exists() and not force:
        raise InputError(f"{output} exists: choose another name, or pass --force to replace it")
    plan = sim.explain(load(model, input_type).graph, engine)
    if output:
        runs.write_record(output, plan)
    return plan


class _Job:
    """Rows of files through a graph, some at a time."""

    def __init__(
        self,
        graph: Graph,
        engine: sim.Engine,
        x: Mapping[str, np.ndarray[Any, Any]],
        *,
        codes: bool,
        epilogue: bool,
    ) -> None:
        self.rows = _count(graph, x)
        self.graph = graph
        self.engine = sim.choose(graph, self.rows).engine if engine is sim.Engine.AUTO else engine
        self.x = {p.name: x[p.name] for p in graph.inputs}
        self.codes, self.epilogue = codes, epilogue
        self.off_grid = dict.fromkeys(self.x, 0)
        self.outputs = list(dict.fromkeys(p.name for p in graph.outputs))

    def parts(
        self, *, trace: bool, progress: Callable[[int], None]
    ) -> Iterator[tuple[dict[str, np.ndarray[Any, Any]], dict[str, IntArray]]]:
        """Results by output name, and tensors by name, of chunk after chunk."""
        row = sum(a.nbytes // len(a) for a in self.x.values())
        row += sum(8 * math.prod(p.shape) for p in self.graph.outputs)
        size = max(1, _CHUNK_BYTES // max(1, row))
        for i in range(0, self.rows, size):
            part = {n: np.ascontiguousarray(a[i : i + size]) for n, a in self.x.items()}
            encoded = sim.codes(self.graph, part, i)
            self._count_off_grid(part)
            values = sim.run(self.graph, encoded, self.engine, trace=trace, progress=progress)
            yield {p.name: self._result(p, values[p.tensor]) for p in self.graph.outputs}, values

    def _result(self, port: Port, values: IntArray) -> np.ndarray[Any, Any]:
        if self.codes:
            return port.layout.to_file(values, port.shape)
        real = ports.decode_output(self.graph, port, values)
        applied = self.epilogue and (port.epilogue or len(self.graph.outputs) == 1)
        return ports.apply_epilogue(port, real) if applied else real

    def _count_off_grid(self, part: Mapping[str, np.ndarray[Any, Any]]) -> None:
        for source in self.graph.inputs:
            if source.quantizer and source.quantizer.stated and part[source.name].dtype.kind == "f":
                self.off_grid[source.name] += ports.off_grid(source.quantizer, part[source.name])

    def notes(self) -> list[str]:
        """What a reader should know, once all rows are through."""
        cut = any(p.epilogue for p in self.graph.outputs) and not self.epilogue
        notes = [f"note: {n} (--epilogue applies it in float)" for n in self.graph.notes] if cut else []
        stated = [p.name for p in self.graph.inputs if p.quantizer and p.quantizer.stated]
        notes.extend(
            f"note: {self.off_grid[name]:,} of {self.x[name].size:,} values of input '{name}' were off the stated "
            "grid: rounded half to even, or saturated"
            for name in stated
            if self.x[name].dtype.kind == "f"
        )
        return notes


def _count(graph: Graph, x: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """Of rows, once every input has been seen to have the right shape."""
    for port in graph.inputs:
        if port.name not in x:
            raise InputError(f"no array for input {port.name}")
        ports.check_shape(port, x[port.name])
    counts = {len(x[port.name]) for port in graph.inputs}
    if len(counts) > 1:
        raise InputError("the inputs differ in their number of rows")
    return counts.pop()


def _write(
    job: _Job, output: Path, trace: Path | None, progress: Callable[[int], None], *, force: bool
) -> None:
    """A single ``.npy`` is written as the rows come; archives and traces are collected first."""
    if output.suffix != ".npz" and len(job.outputs) > 1:
        raise InputError(
            f"the model has the outputs {', '.join(job.outputs)}: write them to an .npz archive, -o y.npz"
        )
    parts = job.parts(trace=trace is not None, progress=progress)
    if output.suffix != ".npz" and not trace:
        runs.save_rows(output, (results[job.outputs[0]] for results, _ in parts), job.rows)
        return
    everything = list(parts)
    results = {n: np.concatenate([r[n] for r, _ in everything]) for n in job.outputs}
    if output.suffix == ".npz":
        runs.save_arrays(output, results, force=force)
    else:
        runs.save_array(output, results[job.outputs[0]], force=force)
    if trace:
        tensors = {n: np.concatenate([v[n] for _, v in everything]) for n in everything[0][1]}
        _write_trace(tensors, trace, force=force)


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


def _write_trace(values: dict[str, IntArray], folder: Path, *, force: bool) -> None:
    with staged_dir(folder, force=force) as stage:
        names = {}
        for i, (name, array) in enumerate(values.items()):
            names[f"{i:03d}.npy"] = name
            np.save(stage / f"{i:03d}.npy", array, allow_pickle=False)
        (stage / "tensors.txt").write_text("".join(f"{file} {name}\n" for file, name in names.items()))
