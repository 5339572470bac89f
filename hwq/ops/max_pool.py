"""Maximum over a window, channels last; padding never wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.cost.laws.pool import cost
from hwq.emit.layers import HlsLayer, Site, own_layer, window_attributes
from hwq.ir import IntType, Tensor
from hwq.ops.spec import OpSpec, no_macs
from hwq.ops.window import Pads, Pair, out_size, windows
from hwq.rounding import IntArray

_LOWEST = -(2**62)


@dataclass(frozen=True)
class MaxPool:
    """Window, strides and pads in (height, width)."""

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)


def infer(params: MaxPool, x: Tensor) -> tuple[tuple[int, ...], IntType]:
    if len(x.shape) != 3:
        raise ValueError(f"pools a tensor of shape {x.shape}, not (height, width, channels)")
    h, w, c = x.shape
    size = out_size((h, w), params.kernel, params.strides, params.pads, params.dilations)
    for i in (0, 1):
        first = np.arange(size[i]) * params.strides[i] - params.pads[i]
        skipped = np.maximum(-(first // params.dilations[i]), 0)
        inside = first + skipped * params.dilations[i]
        if (
            max(params.pads[i], params.pads[i + 2]) >= params.kernel[i]
            or (skipped >= params.kernel[i]).any()
            or (inside >= x.shape[i]).any()
        ):
            raise ValueError(
                f"a window would hold only padding: kernel {params.kernel}, pads {params.pads} on {(h, w)}"
            )
    return (*size, c), x.type


def run(params: MaxPool, x: IntArray) -> IntArray:
    view = windows(x, params.kernel, params.strides, params.pads, params.dilations, fill=_LOWEST)
    out: IntArray = view.max(axis=(4, 5))
    return out


def emit(params: MaxPool, site: Site) -> tuple[HlsLayer, ...]:
    """hls4ml's layer where it is exact, else our own, whose padding is the lowest value of the tensor."""
    plain = params.dilations == (1, 1) and not any(params.pads)
    if plain and (params.kernel == params.strides or not site.stream):
        return (_native(params, site),)
    attributes = window_attributes(params, site) | {"fill": site.input.type.lo, "maximum": True}
    factors = {
        "row_factor": np.ones(site.output.shape[0], dtype=np.int64),
        "column_factor": np.ones(site.output.shape[1], dtype=np.int64),
    }
    return (own_layer("HwqPool", attributes, site, data=factors),)


def _native(params: MaxPool, site: Site) -> HlsLayer:
    in_h, in_w, channels = site.input.shape
    attributes = {
        "data_format": "channels_last",
        "in_height": in_h,
        "in_width": in_w,
        "n_filt": channels,
        "out_height": site.output.shape[0],
        "out_width": site.output.shape[1],
        "pool_height": params.kernel[0],
        "pool_width": params.kernel[1],
        "stride_height": params.strides[0],
        "stride_width": params.strides[1],
        "pad_top": 0,
        "pad_left": 0,
        "pad_bottom": 0,
        "pad_right": 0,
    }
    types = {"result": site.output.type, "accum": site.output.type}
    return HlsLayer("MaxPooling2D", attributes, site.output.shape, types)


SPEC = OpSpec("max_pool", MaxPool, infer, run, no_macs, emit=emit, cost=cost, source="ONNX MaxPool")
