"""Kernels of the operations that are not matrix products: (input arrays) -> output array, of integer values."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from hwq.ir import Node, Tensor
from hwq.ops import OPS, pad, sum_pool
from hwq.ops.add import Add
from hwq.ops.global_sum import GlobalSum
from hwq.ops.matmul import MatMul
from hwq.ops.max_pool import MaxPool
from hwq.ops.mul import Mul
from hwq.ops.pad import Pad
from hwq.ops.spec import largest
from hwq.ops.sum_pool import SumPool
from hwq.ops.window import windows
from hwq.sim.activations import Activation
from hwq.sim.packing import scratch
from hwq.sim.step import Array, number_type, storage

Kernel = Callable[..., Array]
_BLOCK = 2**15
"""Elements that an elementwise operation treats at once."""


def kernel(node: Node, inputs: list[Tensor], out: Tensor) -> tuple[Kernel, str]:
    """What runs a node, and how; the result is stored in the smallest type."""
    kind = storage(out.type)
    if node.op not in _KERNELS:
        run, params = OPS[node.op].run, node.params
        return (lambda *x: np.asarray(run(params, *x)).astype(kind, copy=False)), "moves"
    run, method = _KERNELS[node.op](node.params, inputs, out)
    return (lambda *x: run(*x).astype(kind, copy=False)), method


def requantise(act: Activation) -> Kernel:
    """A requantisation alone, block by block."""

    def run(x: Array) -> Array:
        rows = x.reshape(-1, x.shape[-1])
        out = np.empty(rows.shape, dtype=act.dtype)
        step = max(1, _BLOCK // rows.shape[1])
        for i in range(0, len(rows), step):
            part = rows[i : i + step]
            values = scratch.get("values", part.shape, act.number)
            np.copyto(values, part, casting="unsafe")
            act.apply(values, out[i : i + step])
        return np.asarray(out.reshape(x.shape))

    return run


def add(params: Add, out: Tensor, act: Activation) -> tuple[Kernel, str]:
    """A weighted sum of tensors of one shape, requantised block by block.

    The sum fits its type, so that integers that wrap around on the way come out right.
    """
    kind = np.dtype(storage(out.type))
    mult, summand = params.mult.astype(kind), params.add.astype(kind)
    plain = (params.mult == 1).all(axis=1)

    def run(*tensors: Array) -> Array:
        rows = [_as_type(x, kind).reshape(-1, x.shape[-1]) for x in tensors]
        y = np.empty(rows[0].shape, dtype=act.dtype)
        step = max(1, _BLOCK // rows[0].shape[1])
        for i in range(0, len(y), step):
            total = scratch.get("total", rows[0][i : i + step].shape, kind)
            term = scratch.get("term", total.shape, kind)
            for j, (row, m, one) in enumerate(zip(rows, mult, plain, strict=True)):
                part = row[i : i + step] if one else np.multiply(row[i : i + step], m, out=term)
                np.add(part, total if j else summand, out=total)
            act.requantise(total, y[i : i + step])
        return np.asarray(y.reshape(tensors[0].shape))

    return run, kind.name


def _as_type(x: Array, kind: np.dtype[Any]) -> Array:
    """Modulo the type's range."""
    return x.view(kind) if x.itemsize == kind.itemsize else x.astype(kind)


def _sum_type(params: Add, inputs: list[Tensor]) -> Any:
    terms = zip(params.mult, inputs, strict=True)
    return number_type(sum(largest(m) * largest(x.type) for m, x in terms) + largest(params.add))


def _add(params: Add, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    """With axes of size one repeated."""
    kind = _sum_type(params, inputs)
    mult, summand = params.mult.astype(kind), params.add.astype(kind)

    def run(*tensors: Array) -> Array:
        y: Array = summand
        for x, m in zip(tensors, mult, strict=True):
            y = y + x.astype(kind) * m
        return y

    return run, np.dtype(kind).name


def _mul(_params: Mul, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    kind = number_type(largest(inputs[0].type) * largest(inputs[1].type))
    return (lambda a, b: a.astype(kind) * b.astype(kind)), np.dtype(kind).name


def _matmul(_params: MatMul, inputs: list[Tensor], _out: Tensor) -> tuple[Kernel, str]:
    kind = number_type(inputs[0].shape[-1] * largest(inputs[0].type) * largest(inputs[1].type))
    return (lambda a, b: a.astype(kind) @ b.astype(kind)), np.dtype(kind).name


def _pad(params: Pad, _inputs: list[Tensor], out: Tensor) -> tuple[Kernel, str]:
    """In a type that holds the value."""
    kind = storage(out.type)
    return (lambda x: pad.run(params, x.astype(kind, copy=False))), "moves"


def _max_pool(params: MaxPool, inputs: list[Tensor], out: Tensor) -> tuple[Kernel, str]:
    """Rows first, then columns, each a running maximum of whole rows."""
    lowest = inputs[0].type.lo
    top, left, bottom, right = params.pads
    size = (out.shape[0], out.shape[1])

    def along(x: Array, axis: int) -> Array:
        stride, dilation, count = params.strides[axis], params.dilations[axis], size[axis]
        ends = [k * dilation for k in range(params.kernel[axis])]
        parts = [
            x[(slice(None),) * (axis + 1) + (slice(e, e + stride * (count - 1) + 1, stride),)] for e in ends
        ]
        y = parts[0] if len(parts) == 1 else np.maximum(parts[0], parts[1])
        for part in parts[2:]:
            np.maximum(y, part, out=y)
        return y

    def run(x: Array) -> Array:
        if any(params.pads):
            x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=lowest)
        return along(along(x, 0), 1)

    return run, "rows, columns"


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
    "add": _add,
    "mul": _mul,
    "matmul": _matmul,
    "max_pool": _max_pool,
    "pad": _pad,
    "sum_pool": _sum_pool,
    "global_sum": _global_sum,
}
"""By op; the others only move integers."""
