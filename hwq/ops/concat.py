"""Tensors joined along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws import shape as law
from hwq.emit.layers import PREVIOUS, HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops import slice as slice_op
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


def emit(params: Concat, site: Site) -> tuple[HlsLayer, ...]:
    """Two tensors at a time; one alone is copied."""
    tensors, axis = site.inputs, params.axis
    if len(tensors) == 1:
        return slice_op.emit(slice_op.Slice(axis, 0, tensors[0].shape[axis]), site)
    layers: list[HlsLayer] = []
    for k in range(1, len(tensors)):
        final = k == len(tensors) - 1
        out = site.output if final else Tensor(f"part{k}", *infer(params, *tensors[: k + 1]))
        shape = tensors[k].shape
        attributes = {
            "outer": prod(shape[:axis]),
            "first_inner": (out.shape[axis] - shape[axis]) * prod(shape[axis + 1 :]),
            "second_inner": prod(shape[axis:]),
            "last": axis == len(shape) - 1,
        }
        reads = (PREVIOUS if layers else 0, k)
        suffix = "" if final else f"part{k}"
        layers.append(own_layer("HwqConcat", attributes, site, reads=reads, output=out, suffix=suffix))
    return tuple(layers)


SPEC = OpSpec(
    "concat", Concat, infer, run, no_macs, emit=emit, cost=law.concat, source="ONNX Concat", arity=None
)
