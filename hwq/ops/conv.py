"""2-D convolution (cross-correlation, as in ONNX), channels last, with groups."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hwq.cost.laws.conv import cost
from hwq.emit.layers import HlsLayer, Site, conv2d
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, bounded, product_bounds, union
from hwq.ops.window import Pads, Pair, out_size, spread, spread_size, windows
from hwq.rounding import IntArray


@dataclass(frozen=True)
class Conv:
    """Integer weights (kernel_h, kernel_w, c_in / groups, c_out); padding is with zeros.

    An input dilation d puts d - 1 zeros between neighbouring pixels, before padding: transposed convolution.
    """

    weight: IntArray
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1
    input_dilations: Pair = (1, 1)

    @property
    def kernel(self) -> Pair:
        """Height and width."""
        return self.weight.shape[0], self.weight.shape[1]


def channel_bounds(params: Conv, interval: IntType) -> tuple[IntArray, IntArray]:
    """Smallest and largest sum a channel; padding adds zero to what a tap may read."""
    seen = IntType(min(interval.lo, 0), max(interval.hi, 0)) if any(params.pads) else interval
    c_out = params.weight.shape[3]
    rows, columns = (_taps_at_once(params, i) for i in (0, 1))
    parts = [params.weight[np.ix_(r, c)].reshape(-1, c_out) for r in rows for c in columns]
    lo, hi = zip(*(product_bounds(part, seen) for part in parts), strict=True)
    return np.min(lo, axis=0), np.max(hi, axis=0)


def _taps_at_once(params: Conv, axis: int) -> list[list[int]]:
    """The sets of taps along an axis that read pixels, not inserted zeros, at one position."""
    every = params.input_dilations[axis]
    by_offset: dict[int, list[int]] = {}
    for tap in range(params.kernel[axis]):
        by_offset.setdefault(-tap * params.dilations[axis] % every, []).append(tap)
    starts = {(o * params.strides[axis] - params.pads[axis]) % every for o in range(every)}
    some = [by_offset[s] for s in starts if s in by_offset]
    return some if len(some) == len(starts) else [*some, []]


def infer(params: Conv, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if len(x.shape) != 3 or params.weight.ndim != 4 or not params.weight.size or params.groups < 1:
        raise ValueError(
            f"conv of weight {params.weight.shape}, {params.groups} groups, reads a tensor of shape {x.shape}"
        )
    h, w, c = x.shape
    per_group, c_out = params.weight.shape[2:]
    if c != per_group * params.groups or c_out % params.groups:
        raise ValueError(f"conv of {per_group}x{params.groups} channels reads a tensor of shape {x.shape}")
    spaced = spread_size((h, w), params.input_dilations)
    size = out_size(spaced, params.kernel, params.strides, params.pads, params.dilations)
    return bounded((*size, c_out)), union(*channel_bounds(params, x.type))


def run(params: Conv, x: IntArray) -> IntArray:
    spaced = spread(x, params.input_dilations)
    view = windows(spaced, params.kernel, params.strides, params.pads, params.dilations)
    n, h, w = view.shape[:3]
    per_group, c_out = params.weight.shape[2:]
    taps = view.transpose(0, 1, 2, 4, 5, 3).reshape(n, h, w, -1, params.groups, per_group)
    weight = params.weight.reshape(-1, per_group, params.groups, c_out // params.groups)
    sums = np.einsum("nhwkgc,kcgo->nhwgo", taps, weight, optimize=True)
    return np.asarray(sums).reshape(n, h, w, c_out)


def macs(params: Conv, out: Tensor, *_inputs: Tensor) -> int:
    """Without those by inserted zeros."""
    return -(-out.shape[0] * out.shape[1] * params.weight.size // prod(params.input_dilations))


def emit(params: Conv, site: Site) -> tuple[HlsLayer, ...]:
    """One Conv2D; hls4ml pads with zeros itself."""
    if params.groups != 1:
        raise site.refuse(f"{params.groups} groups; only 1 can be built so far", "use groups=1")
    if params.dilations != (1, 1):
        raise site.refuse(f"dilation {params.dilations}; hls4ml builds only 1", "use a larger plain kernel")
    if params.input_dilations != (1, 1):
        raise site.refuse(
            "a transposed convolution has no HLS layer yet", "use an upsampling and a plain convolution"
        )
    return (conv2d(params.weight, params.strides, params.pads, site),)


SPEC = OpSpec("conv", Conv, infer, run, macs, emit=emit, cost=cost, source="ONNX Conv")
