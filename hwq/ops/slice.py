"""Every step-th element from start to before stop, along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws import shape as law
from hwq.emit.layers import HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Slice:
    """Axis (without batch) and range, 0 <= start < stop <= size, step >= 1."""

    axis: int
    start: int
    stop: int
    step: int = 1


def infer(params: Slice, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    axis = params.axis
    if not 0 <= axis < len(x.shape):
        raise ValueError(f"slices axis {axis} of a tensor of shape {x.shape}")
    if not 0 <= params.start < params.stop <= x.shape[axis] or params.step < 1:
        raise ValueError(f"slices {params.start}:{params.stop}:{params.step} of axis {axis} of {x.shape}")
    size = len(range(params.start, params.stop, params.step))
    return (*x.shape[:axis], size, *x.shape[axis + 1 :]), x.type


def run(params: Slice, x: IntArray) -> IntArray:
    part = slice(params.start, params.stop, params.step)
    return np.ascontiguousarray(x[(slice(None),) * (params.axis + 1) + (part,)])


def emit(params: Slice, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: wires, or dropped pixels of a stream."""
    shape, axis = site.input.shape, params.axis
    attributes = {
        "outer": prod(shape[:axis]),
        "size": shape[axis],
        "inner": prod(shape[axis + 1 :]),
        "start": params.start,
        "step": params.step,
        "count": site.output.shape[axis],
        "last": axis == len(shape) - 1,
    }
    return (own_layer("HwqSlice", attributes, site),)


SPEC = OpSpec("slice", Slice, infer, run, no_macs, emit=emit, cost=law.slice_op, source="ONNX Slice, Split")
