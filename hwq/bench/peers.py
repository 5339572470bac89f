"""Whom the simulator is measured against: each a call without arguments that runs one batch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from hwq import sim
from hwq.bench.models import Models
from hwq.frontends import qonnx
from hwq.ir import Graph
from hwq.lowering.lower import Lowering

Call = Callable[[], object]
Array = np.ndarray[Any, Any]
ENGINES = {"hwq numpy": sim.Engine.NUMPY, "hwq int8": sim.Engine.ONNXRUNTIME}
QONNX, QONNX_SINGLE, BREVITAS, ORT = (
    "qonnx, batched",
    "qonnx, one by one",
    "Brevitas eval",
    "onnxruntime float32",
)
CONVOLUTIONS = "torch convolutions alone"
_SINGLE_ROWS = 3
_PEAK = 2048


def engines(graph: Graph, x: Array) -> dict[str, Call]:
    """Float32 in, float64 out."""

    def call(engine: sim.Engine) -> Call:
        return lambda: sim.simulate(graph, x, engine)

    return {name: call(engine) for name, engine in ENGINES.items()}


def executors(lowering: Lowering, path: Path, x: Array) -> dict[str, Call]:
    """Qonnx's executor: the batch at once, and the first rows one by one (given a batch of one, the same)."""
    name = lowering.graph.inputs[0].name
    batched = qonnx.Executor(path, lowering.shapes, len(x))
    calls: dict[str, Call] = {QONNX: lambda: batched({name: x})}
    if len(x) > 1:
        single = qonnx.Executor(path, lowering.shapes, 1)
        calls[QONNX_SINGLE] = lambda: [single({name: x[i : i + 1]}) for i in range(_SINGLE_ROWS)]
    return calls


def rows_of(peer: str, batch: int) -> int:
    """How many rows a call runs."""
    return _SINGLE_ROWS if peer == QONNX_SINGLE else batch


def networks(models: Models, x: Array, cores: int) -> dict[str, Call]:
    """The quantised model in torch, and its float32 twin in onnxruntime, and of that only the products in torch."""
    import onnxruntime
    import torch

    torch.set_num_threads(cores)
    given = torch.from_numpy(x)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = cores, 3
    session = onnxruntime.InferenceSession(models.twin_onnx, options, ["CPUExecutionProvider"])

    def brevitas() -> object:
        with torch.no_grad():
            return models.quantised(given)

    return {
        BREVITAS: brevitas,
        ORT: lambda: session.run(None, {"x": x}),
        CONVOLUTIONS: _products(models.twin, given),
    }


def _products(twin: Any, given: Any) -> Call:
    import torch

    seen: list[tuple[Any, Any]] = []
    layers = [m for m in twin.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [m.register_forward_hook(lambda m, x, _: seen.append((m, x[0].clone()))) for m in layers]
    with torch.no_grad():
        twin(given)
    for hook in hooks:
        hook.remove()

    def run() -> None:
        with torch.no_grad():
            for layer, x in seen:
                layer(x)

    return run


def peak_gflops(cores: int) -> float:
    """Of one float32 matrix product with as many BLAS threads as there are cores."""
    a = np.ones((_PEAK, _PEAK), dtype=np.float32)
    with threadpool_limits(cores, user_api="blas"):
        start = time.perf_counter()
        a @ a
        seconds = time.perf_counter() - start
    return 2 * _PEAK**3 / seconds / 1e9


def emitted(graph: Graph, x: Array) -> dict[str, float]:
    """The generated C++ on a few rows: seconds to compile, and ms a row."""
    from hwq import boards, emit
    from hwq.emit import csim
    from hwq.hardware import configure

    rows = x[:20]
    with tempfile.TemporaryDirectory(prefix="hwq-") as scratch:
        codes = sim.encode(graph, rows)
        project = emit.generate(graph, configure(graph, boards.load("pynq-z2")), codes)
        project.write(Path(scratch) / "project")
        result = csim.run(Path(scratch) / "project").raise_if_failed()
    return {"seconds_compile": result.seconds_compile, "ms_per_row": 1000 * result.seconds_run / result.rows}
