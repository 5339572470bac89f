"""Axes in another order (batch stays first)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Transpose:
    """For each output axis the input axis it comes from, without batch."""

    axes: tuple[int, ...]


def infer(params: Transpose, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if sorted(params.axes) != list(range(len(x.shape))):
        raise ValueError(f"axes {params.axes} do not permute a tensor of shape {x.shape}")
    return tuple(x.shape[a] for a in params.axes), x.type


def run(params: Transpose, x: IntArray) -> IntArray:
    return np.ascontiguousarray(x.transpose(0, *(a + 1 for a in params.axes)))


SPEC = OpSpec("transpose", Transpose, infer, run, no_macs, source="ONNX Transpose")
