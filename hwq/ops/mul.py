"""``y = a·b``, elementwise."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from hwq.cost.laws import elementwise as law
from hwq.emit.layers import HlsLayer, Site
from hwq.ir import IntType, Tensor
from hwq.ops.add import join_layer
from hwq.ops.spec import OpSpec, broadcast, narrow, product_interval
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Mul:
    """No parameters."""


def infer(_params: Mul, a: Tensor, b: Tensor) -> tuple[tuple[int, ...], IntType]:
    lo, hi = product_interval(a, b)
    if a.name == b.name:
        lo = 0 if a.type.lo <= 0 <= a.type.hi else min(a.type.lo**2, a.type.hi**2)
    return broadcast([a.shape, b.shape]), narrow(lo, hi)


def run(_params: Mul, a: IntArray, b: IntArray) -> IntArray:
    return a * b


def macs(_params: Mul, out: Tensor, *_inputs: Tensor) -> int:
    return prod(out.shape)


def emit(_params: Mul, site: Site) -> tuple[HlsLayer, ...]:
    """A join that multiplies."""
    a, b = site.inputs
    return (join_layer(a, b, site.output, site, None, (0, 1)),)


SPEC = OpSpec("mul", Mul, infer, run, macs, emit=emit, cost=law.mul, source="ONNX Mul", arity=2)
