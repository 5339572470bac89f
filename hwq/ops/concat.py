"""Tensors joined along one axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, bounded, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Concat:
    """The axis, without batch."""

    axis: int


def infer(params: Concat, *tensors: Tensor) -> tuple[tuple[int, ...], IntType]:
    axis, shapes = params.axis, [t.shape for t in tensors]
    if not 0 <= axis < len(shapes[0]) or len({(len(s), s[:axis], s[axis + 1 :]) for s in shapes}) > 1:
        raise ValueError(f"cannot join tensors of shapes {shapes} along axis {axis}")
    shape = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    return bounded(shape), IntType(min(t.type.lo for t in tensors), max(t.type.hi for t in tensors))


def run(params: Concat, *tensors: IntArray) -> IntArray:
    return np.concatenate(tensors, axis=params.axis + 1)


SPEC = OpSpec("concat", Concat, infer, run, no_macs, source="ONNX Concat", arity=None)
