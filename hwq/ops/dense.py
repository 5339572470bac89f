"""``y = x @ weight``: a matrix product on the last axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from hwq.cost.laws.dense import cost
from hwq.emit.layers import HlsLayer, Site, conv2d, matrix_layer, reshape_layer
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
    """On several vectors, a 1x1 convolution of the image that they make."""
    n_in, n_out = params.weight.shape
    shape = site.input.shape
    if len(shape) == 1:
        return (matrix_layer("Dense", {"n_in": n_in, "n_out": n_out}, params.weight, site),)
    image = shape if len(shape) == 3 else (1, prod(shape[:-1]), n_in)
    inner = replace(
        site,
        inputs=(replace(site.input, shape=image),),
        output=replace(site.output, shape=(*image[:2], n_out)),
    )
    product = conv2d(params.weight[None, None], (1, 1), (0, 0, 0, 0), inner)
    if len(shape) == 3:
        return (product,)
    return (reshape_layer(image, replace(site, output=site.input), suffix="in"), product)


SPEC = OpSpec("dense", Dense, infer, run, macs, emit=emit, cost=cost, source="ONNX MatMul, Gemm")
