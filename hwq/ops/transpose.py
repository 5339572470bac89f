"""Axes in another order (batch stays first)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.cost.laws import shape as law
from hwq.emit.layers import HlsLayer, Site, axes_of, numbered, own_layer, reshape_layer, strides_of
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
    """A reshape where only axes of size one move; hls4ml's own transpose keeps a stream in registers."""
    shape = site.input.shape
    moved = [a for a in params.axes if shape[a] > 1]
    if moved == sorted(moved):
        return (reshape_layer(site.output.shape, site),)
    strides = strides_of(shape)
    lead = [0] * (4 - len(params.axes))
    attributes = {
        **numbered("size", axes_of(site.output.shape, site)),
        **numbered("from", [*lead, *(strides[a] for a in params.axes)]),
        "last_stays": params.axes[-1] == len(shape) - 1,
    }
    return (own_layer("HwqTranspose", attributes, site),)


SPEC = OpSpec(
    "transpose", Transpose, infer, run, no_macs, emit=emit, cost=law.transpose, source="ONNX Transpose"
)
