"""What an op is: one record that every other part of hwq reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq.cost.model import LayerCost
from hwq.emit.layers import HlsLayer, Site
from hwq.ir import IntType, Tensor
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
        macs: (params, output tensor) -> multiplications per inference.
        emit: (params, site) -> the hls4ml layers that compute it, the last one making the node's output.
        cost: (node, input tensor, output tensor, setting) -> what it needs; a law of `hwq.cost.laws`.
        source: Where the definition comes from.
    """

    name: str
    params: type
    infer: Callable[..., tuple[tuple[int, ...], IntType]]
    run: Callable[..., IntArray]
    macs: Callable[[Any, Tensor], int]
    emit: Callable[[Any, Site], tuple[HlsLayer, ...]]
    cost: Callable[..., LayerCost]
    source: str


def no_macs(_params: object, _out: Tensor) -> int:
    """For ops that do not multiply."""
    return 0


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
