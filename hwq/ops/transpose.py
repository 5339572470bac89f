"""Axes in another order (batch stays first)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.emit.layers import HlsLayer, Site
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


def emit(params: Transpose, site: Site) -> tuple[HlsLayer, ...]:
    """A reshape, where only axes of size one move."""
    moved = [a for a in params.axes if site.input.shape[a] > 1]
    types = {"result": site.output.type}
    if moved == sorted(moved):
        return (HlsLayer("Reshape", {"target_shape": list(site.output.shape)}, site.output.shape, types),)
    return (HlsLayer("Transpose", {"perm": list(params.axes)}, site.output.shape, types),)


SPEC = OpSpec("transpose", Transpose, infer, run, no_macs, emit=emit, source="ONNX Transpose")
