"""Which engine runs a graph, where the user leaves that open: what a session costs is known, kernels are measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from weakref import WeakKeyDictionary

import numpy as np

from hwq.ir import Graph
from hwq.ops import macs
from hwq.sim import engine_numpy
from hwq.sim.plan import Plan
from hwq.sim.step import storage

_WORTH_A_SESSION = 5 * 10**10
"""Multiplications of a call; NumPy takes about a second, as do imports, proofs and sessions of int8 kernels."""
_MEASURED = 2 * 10**9
"""Multiplications of a measurement."""
_MOST_ROWS = 64
_ROUNDS = 3


class Engine(str, Enum):
    """Who computes; all give the same integers."""

    AUTO = "auto"
    NUMPY = "numpy"
    ONNXRUNTIME = "onnxruntime"
    REFERENCE = "reference"


@dataclass(frozen=True)
class Choice:
    """An engine, and why, for people."""

    engine: Engine
    reason: str


Plans = Callable[[Graph, Engine], Plan]
_MEASUREMENTS: WeakKeyDictionary[Graph, Choice] = WeakKeyDictionary()


def choose(graph: Graph, rows: int, plans: Plans) -> Choice:
    """NumPy or int8 kernels, for a call of so many rows; measured once a graph, if they are worth a session."""
    work = rows * sum(macs(graph, node) for node in graph.nodes)
    if work < _WORTH_A_SESSION:
        return Choice(Engine.NUMPY, f"{work:.2g} multiplications are not worth a session of int8 kernels")
    if not all(map(find_spec, ("onnxruntime", "onnx"))):
        return Choice(Engine.NUMPY, "int8 kernels need onnxruntime, which is not installed")
    if graph not in _MEASUREMENTS:
        _MEASUREMENTS[graph] = _measured(graph, plans)
    return _MEASUREMENTS[graph]


def _measured(graph: Graph, plans: Plans) -> Choice:
    compiled = {engine: plans(graph, engine) for engine in (Engine.NUMPY, Engine.ONNXRUNTIME)}
    if not any(step.method.startswith("onnxruntime") for step in compiled[Engine.ONNXRUNTIME].steps):
        return Choice(Engine.NUMPY, "int8 kernels compute no heavy layer of this network exactly")
    rows = max(1, min(_MOST_ROWS, _MEASURED // max(1, compiled[Engine.NUMPY].macs)))
    times = dict.fromkeys(compiled, np.inf)
    for _ in range(_ROUNDS):
        for engine, plan in compiled.items():
            times[engine] = min(times[engine], _seconds(plan, rows))
    numpy_ms, int8_ms = (1000 * t / rows for t in times.values())
    engine = Engine.ONNXRUNTIME if int8_ms < numpy_ms else Engine.NUMPY
    return Choice(engine, f"int8 kernels took {int8_ms:.3g} ms a row, NumPy {numpy_ms:.3g}")


def _seconds(plan: Plan, rows: int) -> float:
    """Times do not depend on the integers, so these are all the lowest."""
    tensors = [plan.graph.tensors[p.tensor] for p in plan.graph.inputs]
    codes = {t.name: np.full((rows, *t.shape), t.type.lo, storage(t.type)) for t in tensors}
    start = time.perf_counter()
    for _ in engine_numpy.run(plan, codes):
        pass
    return time.perf_counter() - start
