"""``y = x @ weight``: a matrix product on the last axis."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.cost.laws.dense import cost
from hwq.emit.layers import HlsLayer, Site, conv2d, matrix_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, product_bounds, union
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Dense:
    """Integer weights (n_in, n_out)."""

    weight: IntArray


def infer(params: Dense, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    n_in, n_out = params.weight.shape
    if x.shape[-1] != n_in:
        raise ValueError(f"dense of {n_in} inputs reads a tensor of shape {x.shape}")
    return (*x.shape[:-1], n_out), union(*product_bounds(params.weight, x.type))


def run(params: Dense, x: IntArray) -> IntArray:
    return x @ params.weight


def macs(params: Dense, out: Tensor, *_inputs: Tensor) -> int:
    positions = 1
    for size in out.shape[:-1]:
        positions *= size
    return positions * params.weight.size


def emit(params: Dense, site: Site) -> tuple[HlsLayer, ...]:
    """On an image, a 1x1 convolution."""
    n_in, n_out = params.weight.shape
    rank = len(site.input.shape)
    if rank == 3:
        return (conv2d(params.weight[None, None], (1, 1), (0, 0, 0, 0), site),)
    if rank != 1:
        raise site.refuse(f"reads a tensor of shape {site.input.shape}", "flatten it, or make it (H, W, C)")
    return (matrix_layer("Dense", {"n_in": n_in, "n_out": n_out}, params.weight, site),)


SPEC = OpSpec("dense", Dense, infer, run, macs, emit=emit, cost=cost, source="ONNX MatMul, Gemm")
