"""``y = a @ b`` of two tensors: (..., n, k) and (..., k, m)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws import elementwise as law
from hwq.emit.layers import HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, bounded, narrow, product_interval
from hwq.rounding import IntArray


@dataclass(frozen=True)
class MatMul:
    """No parameters."""


def infer(_params: MatMul, a: Tensor, b: Tensor) -> tuple[tuple[int, ...], IntType]:
    if len(a.shape) < 2 or a.shape[:-2] != b.shape[:-2] or a.shape[-1:] != b.shape[-2:-1]:
        raise ValueError(f"cannot multiply matrices of shape {a.shape} and {b.shape}")
    terms = a.shape[-1]
    lo, hi = product_interval(a, b)
    return bounded((*a.shape[:-1], b.shape[-1])), narrow(terms * lo, terms * hi)


def run(_params: MatMul, a: IntArray, b: IntArray) -> IntArray:
    return np.asarray(a @ b)


def macs(_params: MatMul, out: Tensor, *inputs: Tensor) -> int:
    """Without the input tensors, as if sums had one term."""
    return prod(out.shape) * (inputs[0].shape[-1] if inputs else 1)


def emit(_params: MatMul, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer, unrolled but for batch and, in io_stream, rows."""
    a, b = site.inputs
    attributes = {
        "batch": prod(a.shape[:-2]),
        "rows": a.shape[-2],
        "terms": a.shape[-1],
        "columns": b.shape[-1],
    }
    return (own_layer("HwqMatmul", attributes, site, reads=(0, 1)),)


SPEC = OpSpec(
    "matmul",
    MatMul,
    infer,
    run,
    macs,
    emit=emit,
    cost=law.matmul,
    source="ONNX MatMul of two activations",
    arity=2,
)
