"""Nearest-neighbour upsampling, channels last: each pixel repeated."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.cost.laws import shape as law
from hwq.emit.layers import HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, bounded, no_macs
from hwq.ops.window import Pair
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Upsample:
    """How often each row and each column is repeated."""

    factors: Pair


def infer(params: Upsample, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if len(x.shape) != 3 or len(params.factors) != 2 or min(params.factors) < 1:
        raise ValueError(f"upsamples a tensor of shape {x.shape} by {params.factors}")
    h, w, c = x.shape
    return bounded((h * params.factors[0], w * params.factors[1], c)), x.type


def run(params: Upsample, x: IntArray) -> IntArray:
    return x.repeat(params.factors[0], axis=1).repeat(params.factors[1], axis=2)


def emit(params: Upsample, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: a stream keeps one row."""
    h, w, c = site.input.shape
    rows, columns = params.factors
    attributes = {"height": h, "width": w, "n_chan": c, "rows": rows, "columns": columns}
    return (own_layer("HwqUpsample", attributes, site),)


SPEC = OpSpec(
    "upsample",
    Upsample,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=law.upsample,
    source="ONNX Resize, Upsample: nearest, asymmetric",
)
