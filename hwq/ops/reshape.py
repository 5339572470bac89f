"""The same integers in the same order under another shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from hwq.cost.laws import shape as law
from hwq.emit.layers import HlsLayer, Site, reshape_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Reshape:
    """The new shape, without batch."""

    shape: tuple[int, ...]


def infer(params: Reshape, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if prod(params.shape) != prod(x.shape):
        raise ValueError(f"cannot reshape {x.shape} to {params.shape}")
    return params.shape, x.type


def run(params: Reshape, x: IntArray) -> IntArray:
    return x.reshape(len(x), *params.shape)


def emit(params: Reshape, site: Site) -> tuple[HlsLayer, ...]:
    """In place in io_parallel, and for a flatten."""
    return (reshape_layer(params.shape, site),)


SPEC = OpSpec(
    "reshape", Reshape, infer, run, no_macs, emit=emit, cost=law.reshape, source="ONNX Reshape, Flatten"
)
