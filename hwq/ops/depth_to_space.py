"""Channels become pixels, channels last: (H, W, C) to (H·b, W·b, C / b²)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.cost.laws import shape as law
from hwq.emit.layers import HlsLayer, Site, own_layer
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.rounding import IntArray

MODES = ("DCR", "CRD")


@dataclass(frozen=True)
class DepthToSpace:
    """Block b, and whether the channel axis holds (b, b, C / b²), DCR, or (C / b², b, b), CRD."""

    block: int
    mode: str


def infer(params: DepthToSpace, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    block = params.block
    if params.mode not in MODES:
        raise ValueError(f"depth to space in mode '{params.mode}'; there are {', '.join(MODES)}")
    if len(x.shape) != 3 or block < 1 or x.shape[2] % block**2:
        raise ValueError(f"depth to space by {block} of a tensor of shape {x.shape}")
    h, w, c = x.shape
    return (h * block, w * block, c // block**2), x.type


def run(params: DepthToSpace, x: IntArray) -> IntArray:
    n, h, w, c = x.shape
    b = params.block
    rest = c // b**2
    if params.mode == "DCR":
        moved = x.reshape(n, h, w, b, b, rest).transpose(0, 1, 3, 2, 4, 5)
    else:
        moved = x.reshape(n, h, w, rest, b, b).transpose(0, 1, 4, 2, 5, 3)
    return np.ascontiguousarray(moved).reshape(n, h * b, w * b, rest)


def emit(params: DepthToSpace, site: Site) -> tuple[HlsLayer, ...]:
    """Our own layer: a stream keeps one row."""
    h, w, _ = site.input.shape
    attributes = {
        "height": h,
        "width": w,
        "block": params.block,
        "depth": site.output.shape[2],
        "dcr": params.mode == "DCR",
    }
    return (own_layer("HwqDepthToSpace", attributes, site),)


SPEC = OpSpec(
    "depth_to_space",
    DepthToSpace,
    infer,
    run,
    no_macs,
    emit=emit,
    cost=law.depth_to_space,
    source="ONNX DepthToSpace",
)
