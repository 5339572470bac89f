"""Maximum over a window, channels last; padding never wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.cost.laws.pool import cost
from hwq.emit.layers import HlsLayer, Site
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
    """Padding of integers that are never negative is with zeros, which never win."""
    if params.dilations != (1, 1):
        raise site.refuse(f"dilation {params.dilations}; hls4ml builds only 1", "use a plain max pool")
    if site.stream and params.kernel != params.strides:
        raise site.refuse(
            f"window {params.kernel} with strides {params.strides}; io_stream needs them equal",
            "use kernel = stride, or generate with --io parallel",
        )
    if not any(params.pads):
        return (_pool(params, site, site.input.shape, params.pads),)
    if site.input.type.signed:
        if site.stream:
            raise site.refuse(
                "pads integers that can be negative, in io_stream",
                "put the activation before the pool, remove the padding, or generate with --io parallel",
            )
        return (_pool(params, site, site.input.shape, params.pads),)
    padded = _pad(params.pads, site)
    return padded, _pool(params, site, padded.shape, (0, 0, 0, 0))


def _pad(pads: Pads, site: Site) -> HlsLayer:
    h, w, c = site.input.shape
    top, left, bottom, right = pads
    shape = (h + top + bottom, w + left + right, c)
    attributes = {
        "data_format": "channels_last",
        "in_height": h,
        "in_width": w,
        "n_chan": c,
        "out_height": shape[0],
        "out_width": shape[1],
        "pad_top": top,
        "pad_left": left,
        "pad_bottom": bottom,
        "pad_right": right,
    }
    return HlsLayer("ZeroPadding2D", attributes, shape, {"result": site.input.type}, suffix="pad")


def _pool(params: MaxPool, site: Site, shape: tuple[int, ...], pads: Pads) -> HlsLayer:
    out_h, out_w, channels = site.output.shape
    attributes = {
        "data_format": "channels_last",
        "in_height": shape[0],
        "in_width": shape[1],
        "n_filt": channels,
        "out_height": out_h,
        "out_width": out_w,
        "pool_height": params.kernel[0],
        "pool_width": params.kernel[1],
        "stride_height": params.strides[0],
        "stride_width": params.strides[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
        "pad_bottom": pads[2],
        "pad_right": pads[3],
    }
    types = {"result": site.output.type, "accum": site.output.type}
    return HlsLayer("MaxPooling2D", attributes, site.output.shape, types)


SPEC = OpSpec("max_pool", MaxPool, infer, run, no_macs, emit=emit, cost=cost, source="ONNX MaxPool")
