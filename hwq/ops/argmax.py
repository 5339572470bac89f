"""Where the last axis has its maximum; the lowest index wins ties."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws import elementwise as law
from hwq.emit.layers import HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray


@dataclass(frozen=True)
class ArgMax:
    """No parameters; the axis stays with size one."""


def infer(_params: ArgMax, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    return (*x.shape[:-1], 1), IntType(0, x.shape[-1] - 1 if x.type.lo < x.type.hi else 0)


def run(_params: ArgMax, x: IntArray) -> IntArray:
    return np.asarray(x.argmax(axis=-1, keepdims=True), dtype=np.int64)


def emit(_params: ArgMax, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: a chain of comparisons."""
    shape = site.input.shape
    return (own_layer("HwqArgmax", {"n_in": prod(shape), "n_chan": shape[-1]}, site),)


SPEC = OpSpec(
    "argmax",
    ArgMax,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=law.argmax,
    source="ONNX ArgMax, select_last_index = 0",
)
