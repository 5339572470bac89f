"""A graph compiled once for the NumPy engine: one kernel a node, its number type chosen by proof.

Integers up to 2**24 are exact in float32 and up to 2**53 in float64, whatever the order of a sum, as
long as the sum of the magnitudes stays below; so products run in BLAS. Tensors between nodes are
held in whatever type came out (all values are integers); a threshold brings them back to one byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hwq.ir import Graph, IntType, Node, Tensor
from hwq.ops import OPS, lut, pad, sum_pool
from hwq.ops.add import Add
from hwq.ops.concat import Concat
from hwq.ops.conv import Conv
from hwq.ops.dense import Dense
from hwq.ops.global_sum import GlobalSum
from hwq.ops.lut import Lut
from hwq.ops.matmul import MatMul
from hwq.ops.max_pool import MaxPool
from hwq.ops.mul import Mul
from hwq.ops.pad import Pad
from hwq.ops.spec import largest
from hwq.ops.sum_pool import SumPool
from hwq.ops.threshold import Threshold
from hwq.ops.window import spread, windows

Array = np.ndarray[Any, Any]
Kernel = Callable[..., Array]

_MAX_TABLE = 2**16
"""Entries of a look-up table over a whole interval."""


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
        inputs = [graph.tensors[t] for t in node.inputs]
        kernel, arithmetic = _kernel(node, inputs, graph.tensors[node.output])
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


def _kernel(node: Node, inputs: list[Tensor], out: Tensor) -> tuple[Kernel, str]:
    if node.op in _KERNELS:
        return _KERNELS[node.op](node.params, inputs, out)
    run, params = OPS[node.op].run, node.params
    integers = node.op == "requant" or (isinstance(params, MaxPool) and any(params.pads))
    return (lambda x: run(params, x.astype(np.int64) if integers else x)), "int64" if integers else "move"


def number_type(bound: int) -> Any:
    """The fastest number type that holds every integer of magnitude up to `bound`."""
    return np.float32 if bound <= 2**24 else np.float64 if bound <= 2**53 else np.int64


def product_type(weight: Array, interval: IntType) -> Any:
    """The fastest number type in which ``x @ weight`` is exact, by the sum of the magnitudes."""
    bound = int(np.abs(weight).sum(axis=0).max(initial=0)) * max(abs(interval.lo), abs(interval.hi))
    return number_type(bound)


def _dense(params: Dense, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    weight = params.weight.astype(product_type(params.weight, inputs[0].type))
    return (lambda x: x.astype(weight.dtype) @ weight), weight.dtype.name


def _conv(params: Conv, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    columns = params.weight.reshape(-1, params.weight.shape[3])
    weight = params.weight.astype(product_type(columns, inputs[0].type))
    kh, kw, per_group, c_out = weight.shape
    groups, per_out = params.groups, c_out // params.groups
    flat = [
        np.ascontiguousarray(weight[..., g * per_out : (g + 1) * per_out]).reshape(-1, per_out)
        for g in range(groups)
    ]

    def run(x: Array) -> Array:
        spaced = spread(x.astype(weight.dtype), params.input_dilations)
        view = windows(spaced, (kh, kw), params.strides, params.pads, params.dilations)
        n, h, w = view.shape[:3]
        taps = view.transpose(0, 1, 2, 4, 5, 3)
        if groups == 1:
            return np.asarray(taps.reshape(n * h * w, -1) @ flat[0]).reshape(n, h, w, c_out)
        parts = [
            taps[..., g * per_group : (g + 1) * per_group].reshape(n * h * w, -1) @ flat[g]
            for g in range(groups)
        ]
        return np.concatenate(parts, axis=1).reshape(n, h, w, c_out)

    return run, weight.dtype.name


def _threshold(params: Threshold, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    interval = inputs[0].type
    ends = (params.base, params.base + params.step * params.thresholds.shape[1])
    out = storage(IntType(min(ends), max(ends)))
    limit = max(abs(interval.lo), abs(interval.hi) + 1)
    kind = number_type(limit)
    rows = [np.ascontiguousarray(row) for row in params.thresholds.T.astype(kind)]

    def run(x: Array) -> Array:
        y = np.full(x.shape, params.base, dtype=out)
        values = x if x.dtype.kind == "f" else x.astype(kind)
        for row in rows:
            y += np.multiply(values >= row, params.step, dtype=out, casting="unsafe")
        return y

    return run, "compare"


def _lut(params: Lut, inputs: list[Tensor], out: Tensor) -> tuple[Kernel, str]:
    """One look-up where the whole table is small, else a search."""
    interval, kind = inputs[0].type, storage(out.type)
    channels = max(len(params.breaks), len(params.values))
    span = interval.hi - interval.lo + 1
    if span * channels > _MAX_TABLE:
        return (lambda x: lut.run(params, x.astype(np.int64)).astype(kind)), "search"
    domain = np.arange(interval.lo, interval.hi + 1)[:, None]
    table = lut.run(params, np.broadcast_to(domain, (span, channels))).T.ravel().astype(kind)
    first = np.arange(channels) * span - interval.lo
    return (lambda x: table[x.astype(np.int64) + first]), "table"


def _add(params: Add, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    terms = zip(params.mult, inputs, strict=True)
    kind = number_type(sum(largest(m) * largest(x.type) for m, x in terms) + largest(params.add))
    mult, summand = params.mult.astype(kind), params.add.astype(kind)
    plain = (params.mult == 1).all(axis=1)

    def run(*tensors: Array) -> Array:
        y: Array = summand
        for x, m, one in zip(tensors, mult, plain, strict=True):
            values = x.astype(kind, copy=False)
            y = y + (values if one else values * m)
        return y

    return run, np.dtype(kind).name


def _mul(_params: Mul, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    kind = number_type(largest(inputs[0].type) * largest(inputs[1].type))
    return (lambda a, b: a.astype(kind) * b.astype(kind)), np.dtype(kind).name


def _matmul(_params: MatMul, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    kind = number_type(inputs[0].shape[-1] * largest(inputs[0].type) * largest(inputs[1].type))
    return (lambda a, b: a.astype(kind) @ b.astype(kind)), np.dtype(kind).name


def _concat(params: Concat, _inputs: list[Tensor], out: Tensor) -> tuple[Kernel, str]:
    """Floats beside integers become float64, which holds integers up to 2**53 only."""
    beyond = largest(out.type) > 2**53

    def run(*tensors: Array) -> Array:
        mixed = beyond and any(t.dtype.kind == "f" for t in tensors)
        return np.concatenate([t.astype(np.int64) if mixed else t for t in tensors], axis=params.axis + 1)

    return run, "move"


def _pad(params: Pad, _inputs: list[Tensor], out: Tensor) -> tuple[Kernel, str]:
    if params.mode != "constant" or params.value == 0:
        return (lambda x: pad.run(params, x)), "move"
    kind = storage(out.type)
    return (lambda x: pad.run(params, x.astype(kind))), "move"


def _sum_pool(params: SumPool, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    """Rows first, then columns."""
    shape = inputs[0].shape
    kind = number_type(sum_pool.divisor(params, shape) * largest(inputs[0].type))
    weights = None if params.count_pads else sum_pool.weights(params, shape).astype(kind)
    (kh, kw), (sh, sw), (dh, dw) = params.kernel, params.strides, params.dilations
    top, left, bottom, right = params.pads

    def run(x: Array) -> Array:
        rows = windows(x.astype(kind), (kh, 1), (sh, 1), (top, 0, bottom, 0), (dh, 1))
        y = sum(rows[..., u, 0] for u in range(kh))
        columns = windows(np.asarray(y), (1, kw), (1, sw), (0, left, 0, right), (1, dw))
        total = np.asarray(sum(columns[..., 0, v] for v in range(kw)))
        return total if weights is None else total * weights

    return run, np.dtype(kind).name


def _global_sum(params: GlobalSum, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    axes = tuple(a + 1 for a in params.axes)
    terms = prod(inputs[0].shape[a] for a in params.axes)
    kind = number_type(terms * largest(inputs[0].type))
    return (lambda x: x.sum(axis=axes, keepdims=True, dtype=kind)), np.dtype(kind).name


_KERNELS: dict[str, Callable[[Any, list[Tensor], Tensor], tuple[Kernel, str]]] = {
    "dense": _dense,
    "conv": _conv,
    "threshold": _threshold,
    "lut": _lut,
    "add": _add,
    "mul": _mul,
    "matmul": _matmul,
    "concat": _concat,
    "pad": _pad,
    "sum_pool": _sum_pool,
    "global_sum": _global_sum,
}
"""By op; the others only move integers, or run as `OPS` defines them."""
