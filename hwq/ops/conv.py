"""2-D convolution (cross-correlation, as in ONNX), channels last, with groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from hwq.cost.laws.conv import cost
from hwq.emit.layers import HlsLayer, Site, conv2d, own_layer, window_attributes
from hwq.ir import IntType, Tensor
from hwq.ops.pad import pad_layer
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


def is_depthwise(params: Conv) -> bool:
    """Whether each output channel reads the input channel of its own number alone."""
    per_group, c_out = params.weight.shape[2:]
    return params.groups > 1 and per_group == 1 and c_out == params.groups


def plain_weight(params: Conv) -> IntArray:
    """The weights of the same convolution without dilation and groups: with zeros (kernel_h, kernel_w, c_in, c_out)."""
    (kh, kw), (dh, dw), groups = params.kernel, params.dilations, params.groups
    per_group, c_out = params.weight.shape[2:]
    plain = np.zeros(((kh - 1) * dh + 1, (kw - 1) * dw + 1, per_group * groups, c_out), dtype=np.int64)
    share = c_out // groups
    for g in range(groups):
        channels, filters = slice(g * per_group, (g + 1) * per_group), slice(g * share, (g + 1) * share)
        plain[::dh, ::dw, channels, filters] = params.weight[..., filters]
    return plain


def emit(params: Conv, site: Site) -> tuple[HlsLayer, ...]:
    """A Conv2D, which pads with zeros itself, or our depthwise layer; transposed ones read a spread-out tensor."""
    if params.input_dilations == (1, 1):
        return (_convolution(params, site, params.pads),)
    h, w, c = site.input.shape
    height, width = spread_size((h, w), params.input_dilations)
    top, left, bottom, right = params.pads
    kind = IntType(min(site.input.type.lo, 0), max(site.input.type.hi, 0))
    spaced = Tensor("spaced", (height + top + bottom, width + left + right, c), kind)
    every = (1, *params.input_dilations, 1)
    first = pad_layer(site, spaced, (0, top, left, 0), every=every, suffix="spread")
    return first, _convolution(params, replace(site, inputs=(spaced,)), (0, 0, 0, 0))


def _convolution(params: Conv, site: Site, pads: Pads) -> HlsLayer:
    if is_depthwise(params):
        attributes = window_attributes(replace(params, pads=pads), site)
        return own_layer("HwqDepthwise", attributes, site, data={"weights": params.weight[:, :, 0]})
    return conv2d(plain_weight(params), params.strides, pads, site)


SPEC = OpSpec("conv", Conv, infer, run, macs, emit=emit, cost=cost, source="ONNX Conv")
