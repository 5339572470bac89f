"""``y = Σ_i mult[i, c]·x_i + add[c]``: a weighted sum of tensors, elementwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, broadcast, largest, narrow, no_macs, union
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Add:
    """Multipliers (inputs, 1 or channels) and summands (1 or channels); channels are the result's last axis."""

    mult: IntArray
    add: IntArray


def channel_bounds(params: Add, intervals: Sequence[IntType], channels: int) -> tuple[IntArray, IntArray]:
    """Smallest and largest sum a channel, two arrays (channels,).

    Raises:
        ValueError: The magnitudes may add up beyond 62 bits.
    """
    worst = sum(largest(m) * largest(x) for m, x in zip(params.mult, intervals, strict=True))
    narrow(0, worst + largest(params.add))
    ends = np.array([[x.lo, x.hi] for x in intervals], dtype=np.int64)
    products = params.mult[:, :, None] * ends[:, None, :]
    lo, hi = (p.sum(axis=0) + params.add for p in (products.min(axis=2), products.max(axis=2)))
    return np.broadcast_to(lo, (channels,)), np.broadcast_to(hi, (channels,))


def infer(params: Add, *tensors: Tensor) -> tuple[tuple[int, ...], IntType]:
    shape = broadcast([t.shape for t in tensors])
    widths = {params.mult.shape[-1], params.add.size}
    if params.mult.shape[0] != len(tensors) or widths - {1, shape[-1]}:
        raise ValueError(
            f"multipliers {params.mult.shape} and {params.add.size} summands for {len(tensors)} tensors "
            f"that make the shape {shape}"
        )
    return shape, union(*channel_bounds(params, [t.type for t in tensors], shape[-1]))


def run(params: Add, *tensors: IntArray) -> IntArray:
    total: IntArray = tensors[0] * params.mult[0] + params.add
    for x, mult in zip(tensors[1:], params.mult[1:], strict=True):
        total = total + x * mult
    return total


SPEC = OpSpec(
    "add", Add, infer, run, no_macs, source="ONNX Add, Sum; Jacob et al. 2018, sec. 2.4", arity=None
)
