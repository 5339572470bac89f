"""Running integer graphs, exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hwq.errors import InputError
from hwq.ir import Graph
from hwq.ops import macs
from hwq.rounding import FloatArray, IntArray
from hwq.sim import engine_numpy, ports, reference, rows
from hwq.sim.choice import Choice, Engine
from hwq.sim.choice import choose as choose_engine
from hwq.sim.plan import Plan, compile_graph, narrow
from hwq.sim.step import Step

__all__ = ["Choice", "Engine", "Plan", "choose", "codes", "encode", "explain", "plan", "run", "simulate"]

Arrays = np.ndarray[Any, Any] | Mapping[str, np.ndarray[Any, Any]]


def encode(graph: Graph, x: Arrays) -> dict[str, IntArray]:
    """Integers of all inputs, by tensor; x is one array, or arrays by input name, in the file's own shape."""
    return {name: a.astype(np.int64) for name, a in codes(graph, x).items()}


def codes(graph: Graph, x: Arrays, first_row: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """As `encode`, in the smallest types, as the engines read them; errors count rows from `first_row`."""
    names = dict.fromkeys(p.name for p in graph.inputs)
    arrays = x if isinstance(x, Mapping) else dict.fromkeys(names, x)
    if not isinstance(x, Mapping) and len(names) > 1:
        raise InputError(f"the model has the inputs {', '.join(names)}: give one array for each")
    if missing := [n for n in names if n not in arrays]:
        raise InputError(f"no array for input {', '.join(missing)}")
    encoded = {p.tensor: ports.encode(graph, p, arrays[p.name], first_row) for p in graph.inputs}
    if len({len(a) for a in encoded.values()}) > 1:
        raise InputError("the inputs differ in their number of rows")
    return encoded


def run(
    graph: Graph,
    codes: Mapping[str, np.ndarray[Any, Any]],
    engine: Engine = Engine.AUTO,
    *,
    trace: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, IntArray]:
    """Integers in, integers out: {tensor: int64 (N, *shape)}."""
    if engine is Engine.AUTO:
        rows_given = len(next(iter(codes.values())))
        engine = Engine.NUMPY if trace else choose(graph, rows_given).engine
    if engine is Engine.REFERENCE:
        values = reference.run(graph, codes)
        return values if trace else {p.tensor: values[p.tensor] for p in graph.outputs}
    parts = list(engine_numpy.run(plan(graph, engine, trace=trace), narrow(graph, codes), progress))
    return {name: _joined([p[name] for p in parts]) for name in parts[0]}


def _joined(parts: list[np.ndarray[Any, Any]]) -> IntArray:
    return (parts[0] if len(parts) == 1 else np.concatenate(parts)).astype(np.int64)


def choose(graph: Graph, rows: int) -> Choice:
    """The engine that `Engine.AUTO` is for a call of so many rows."""
    return choose_engine(graph, rows, plan)


_PLANS: WeakKeyDictionary[Graph, dict[tuple[Engine, bool], Plan]] = WeakKeyDictionary()


def plan(graph: Graph, engine: Engine = Engine.NUMPY, *, trace: bool = False) -> Plan:
    """The graph compiled for an engine, once."""
    plans = _PLANS.setdefault(graph, {})
    if (engine, trace) not in plans:
        covered = _segments(graph) if engine is Engine.ONNXRUNTIME and not trace else ()
        plans[engine, trace] = compile_graph(graph, trace=trace, covered=covered)
    return plans[engine, trace]


def explain(graph: Graph, engine: Engine = Engine.AUTO, rows: int = 1000) -> dict[str, Any]:
    """How a graph runs, for people: each step's nodes, method, largest partial sum and output bytes."""
    choice = choose(graph, rows) if engine is Engine.AUTO else Choice(engine, "as asked")
    engine = choice.engine
    compiled = plan(graph, engine)
    workers = engine_numpy.worth_workers(compiled, rows)
    return {
        "engine": engine.value,
        "reason": choice.reason,
        "rows": rows,
        "workers": workers,
        "chunk_rows": engine_numpy.chunk_rows(compiled, rows, workers),
        "macs": compiled.macs,
        "steps": [
            {
                "nodes": [node.name for node in step.nodes],
                "ops": [node.op for node in step.nodes],
                "method": step.method,
                "bound": step.bound,
                "macs": sum(macs(graph, node) for node in step.nodes),
                "bytes": step.bytes,
            }
            for step in compiled.steps
        ],
    }


def _segments(graph: Graph) -> tuple[Step, ...]:
    from hwq.sim import engine_onnxruntime

    return engine_onnxruntime.segments(graph, frozenset(p.tensor for p in graph.outputs))


_FLOATS = (Engine.AUTO, Engine.NUMPY)


def simulate(graph: Graph, x: Arrays, engine: Engine = Engine.AUTO) -> FloatArray | dict[str, FloatArray]:
    """The network's exact real output, correctly rounded to float64.

    Args:
        graph: An integer graph, from `hwq.load`.
        x: float32 in the file's own shape, batch first (integers are taken as codes); by name if there
            are several inputs.
        engine: Who computes.

    Returns:
        float64 in the file's own shape; by name if there are several outputs.
    """
    if engine in _FLOATS and isinstance(x, np.ndarray) and x.shape[:1] == (1,):
        one_row = rows.run(graph)
        if one_row and (y := one_row(x)) is not None:
            return y
    values = run(graph, codes(graph, x), engine)
    outputs = {p.name: ports.decode_output(graph, p, values[p.tensor]) for p in graph.outputs}
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))
