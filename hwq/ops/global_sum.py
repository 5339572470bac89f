"""Sum over whole axes, which stay with size one."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws import pool as law
from hwq.emit.layers import HlsLayer, Site, axes_of, numbered, own_layer, strides_of
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, narrow, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class GlobalSum:
    """The axes, without batch, each once."""

    axes: tuple[int, ...]


def infer(params: GlobalSum, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    axes = set(params.axes)
    if not axes or len(axes) < len(params.axes) or not axes <= set(range(len(x.shape))):
        raise ValueError(f"sums axes {params.axes} of a tensor of shape {x.shape}")
    terms = prod(x.shape[a] for a in axes)
    shape = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    return shape, narrow(terms * x.type.lo, terms * x.type.hi)


def run(params: GlobalSum, x: IntArray) -> IntArray:
    return np.asarray(x.sum(axis=tuple(a + 1 for a in params.axes), keepdims=True))


def emit(_params: GlobalSum, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: a register for each element of the result."""
    out = axes_of(site.output.shape, site)
    attributes = {
        **numbered("size", axes_of(site.input.shape, site)),
        **numbered("stride", strides_of(out)),
        "n_out": prod(out),
    }
    return (own_layer("HwqGlobalSum", attributes, site),)


SPEC = OpSpec(
    "global_sum",
    GlobalSum,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=law.global_sum,
    source="ONNX GlobalAveragePool, ReduceMean, ReduceSum",
)
