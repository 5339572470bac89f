"""What an op is: one record that every other part of hwq reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hwq.cost.model import LayerCost
from hwq.emit.layers import HlsLayer, Site
from hwq.ir import IntType, Tensor
from hwq.ops.window import MAX_ELEMENTS
from hwq.rounding import IntArray

_MAX_ACCUMULATOR = 2**62


@dataclass(frozen=True)
class OpSpec:
    """One integer operation.

    Attributes:
        name: Its key in `OPS`.
        params: Frozen dataclass of its parameters.
        infer: (params, input tensors) -> (shape without batch, proven interval).
        run: (params, inputs as int64 arrays (N, *shape)) -> int64 array: the meaning, plain and slow.
        macs: (params, output tensor, input tensors) -> multiplications per inference.
        source: Where the definition comes from.
        emit: (params, site) -> the hls4ml layers that compute it, the last one making the node's output.
        cost: (node, first input tensor, output tensor, setting, other input tensors) -> what it needs; a law
            of `hwq.cost.laws`.
        arity: How many tensors it reads; None for one or more.
    """

    name: str
    params: type
    infer: Callable[..., tuple[tuple[int, ...], IntType]]
    run: Callable[..., IntArray]
    macs: Callable[..., int]
    source: str
    emit: Callable[[Any, Site], tuple[HlsLayer, ...]]
    cost: Callable[..., LayerCost]
    arity: int | None = 1


def no_macs(_params: object, _out: Tensor, *_inputs: Tensor) -> int:
    """For ops that do not multiply."""
    return 0


def bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape itself, if a tensor of it is of a size that hwq handles."""
    if not shape or prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"makes a tensor of shape {shape}; 1 to {MAX_ELEMENTS} elements are possible")
    return shape


def narrow(lo: int, hi: int) -> IntType:
    """The interval lo..hi, refused beyond 62 bits."""
    if max(abs(lo), abs(hi)) >= _MAX_ACCUMULATOR:
        raise ValueError(f"makes {lo}..{hi}, beyond 62 bits")
    return IntType(lo, hi)


def largest(values: IntArray | IntType) -> int:
    """The largest magnitude among integers, as a Python integer; 0 if there are none."""
    if isinstance(values, IntType):
        return max(abs(values.lo), abs(values.hi))
    return max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0))))


def broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of an elementwise result: equal ranks, axes of size one are repeated."""
    if len({len(s) for s in shapes}) != 1:
        raise ValueError(f"reads tensors of unequal rank: {list(shapes)}")
    return bounded(np.broadcast_shapes(*shapes))


def product_interval(a: Tensor, b: Tensor) -> tuple[int, int]:
    """Smallest and largest product of an element of each."""
    ends = [p * q for p in (a.type.lo, a.type.hi) for q in (b.type.lo, b.type.hi)]
    return min(ends), max(ends)


def product_bounds(weight: IntArray, interval: IntType) -> tuple[IntArray, IntArray]:
    """Smallest and largest ``x @ weight`` a column, over every x in the interval; weight is (n_in, n_out)."""
    limit = int(np.abs(weight).max(initial=0)) * max(abs(interval.lo), abs(interval.hi)) * weight.shape[0]
    if limit >= _MAX_ACCUMULATOR:
        raise ValueError(f"accumulator may reach {limit}, beyond 62 bits")
    positive = np.maximum(weight, 0).sum(axis=0)
    negative = np.minimum(weight, 0).sum(axis=0)
    lo = positive * interval.lo + negative * interval.hi
    hi = positive * interval.hi + negative * interval.lo
    return lo, hi


def union(lo: IntArray, hi: IntArray) -> IntType:
    """The interval that holds all channels' intervals."""
    return IntType(int(lo.min()), int(hi.max()))
