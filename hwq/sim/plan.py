"""A graph compiled once for the NumPy engine: one kernel a node, its number type chosen by proof.

Integers up to 2**24 are exact in float32 and up to 2**53 in float64, whatever the order of a sum, as
long as the sum of the magnitudes stays below; so products run in BLAS. Tensors between nodes are
held in whatever type came out (all values are integers); a threshold brings them back to one byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq.ir import Graph, IntType, Node, Tensor
from hwq.ops import OPS
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.max_pool import MaxPool
from hwq.ops.threshold import Threshold
from hwq.ops.window import windows

Array = np.ndarray[Any, Any]
Kernel = Callable[..., Array]


@dataclass(frozen=True)
class Step:
    """One node ready to run; `dead` are the tensors that nothing reads afterwards."""

    node: Node
    kernel: Kernel
    arithmetic: str
    dead: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A compiled graph."""

    graph: Graph
    steps: tuple[Step, ...]

    def run(self, codes: Mapping[str, Array], *, trace: bool = False) -> dict[str, Array]:
        """Outputs (or, with `trace`, every tensor) as int64 (N, *shape)."""
        values = dict(codes)
        for step in self.steps:
            values[step.node.output] = step.kernel(*(values[t] for t in step.node.inputs))
            for name in () if trace else step.dead:
                del values[name]
        wanted = values if trace else {p.tensor: values[p.tensor] for p in self.graph.outputs}
        return {name: array.astype(np.int64) for name, array in wanted.items()}


def compile_graph(graph: Graph) -> Plan:
    """Choose a kernel for every node."""
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    kept = {p.tensor for p in graph.outputs}
    steps = []
    for i, node in enumerate(graph.nodes):
        kernel, arithmetic = _kernel(node, graph.tensors[node.inputs[0]])
        dead = tuple(dict.fromkeys(t for t in node.inputs if last[t] == i and t not in kept))
        steps.append(Step(node, kernel, arithmetic, dead))
    return Plan(graph, tuple(steps))


def storage(interval: IntType) -> type[np.signedinteger[Any]] | type[np.unsignedinteger[Any]]:
    """The smallest integer type that holds an interval."""
    for kind in (np.uint8, np.int8, np.int16, np.int32):
        info = np.iinfo(kind)
        if info.min <= interval.lo and interval.hi <= info.max:
            return kind
    return np.int64


def _kernel(node: Node, x: Tensor) -> tuple[Kernel, str]:
    params = node.params
    if isinstance(params, Dense):
        kind = product_type(params.weight, x.type)
        return _dense(params.weight.astype(kind)), np.dtype(kind).name
    if isinstance(params, Conv):
        kind = product_type(params.weight.reshape(-1, params.weight.shape[3]), x.type)
        return _conv(params, params.weight.astype(kind)), np.dtype(kind).name
    if isinstance(params, Threshold):
        return _threshold(params, x.type), "compare"
    run = OPS[node.op].run
    integers = node.op == "requant" or (isinstance(params, MaxPool) and any(params.pads))
    return (lambda a: run(params, a.astype(np.int64) if integers else a)), "int64" if integers else "move"


def product_type(weight: Array, interval: IntType) -> Any:
    """The fastest number type in which ``x @ weight`` is exact, by the sum of the magnitudes."""
    bound = int(np.abs(weight).sum(axis=0).max(initial=0)) * max(abs(interval.lo), abs(interval.hi))
    if bound <= 2**24:
        return np.float32
    return np.float64 if bound <= 2**53 else np.int64


def _dense(weight: Array) -> Kernel:
    return lambda x: x.astype(weight.dtype) @ weight


def _conv(params: Conv, weight: Array) -> Kernel:
    kh, kw, per_group, c_out = weight.shape
    groups, per_out = params.groups, c_out // params.groups
    flat = [
        np.ascontiguousarray(weight[..., g * per_out : (g + 1) * per_out]).reshape(-1, per_out)
        for g in range(groups)
    ]

    def run(x: Array) -> Array:
        view = windows(x.astype(weight.dtype), (kh, kw), params.strides, params.pads, params.dilations)
        n, h, w = view.shape[:3]
        taps = view.transpose(0, 1, 2, 4, 5, 3)
        if groups == 1:
            return np.asarray(taps.reshape(n * h * w, -1) @ flat[0]).reshape(n, h, w, c_out)
        parts = [
            taps[..., g * per_group : (g + 1) * per_group].reshape(n * h * w, -1) @ flat[g]
            for g in range(groups)
        ]
        return np.concatenate(parts, axis=1).reshape(n, h, w, c_out)

    return run


def _threshold(params: Threshold, interval: IntType) -> Kernel:
    ends = (params.base, params.base + params.step * params.thresholds.shape[1])
    out = storage(IntType(min(ends), max(ends)))
    limit = max(abs(interval.lo), abs(interval.hi) + 1)
    kind: Any = np.float32 if limit <= 2**24 else np.float64 if limit <= 2**53 else np.int64
    rows = [np.ascontiguousarray(row) for row in params.thresholds.T.astype(kind)]

    def run(x: Array) -> Array:
        y = np.full(x.shape, params.base, dtype=out)
        values = x if x.dtype.kind == "f" else x.astype(kind)
        for row in rows:
            y += np.multiply(values >= row, params.step, dtype=out, casting="unsafe")
        return y

    return run
